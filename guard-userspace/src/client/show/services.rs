//! Services, instances, checks; and what nobody guards.

use std::fmt::Write as _;

use guard_core::policy::model::span;

use super::table::{Cell, Table, plain, styled};
use super::{BAD, BOLD, DIM, Look, UNSURE, check_style, impact_style, length, safe, state_style, word};
use crate::daemon::view::{Check, Daemon, Instance, Inventory, Mode, Origin, Service, State, Status, Used};
use crate::show::compact::{short_duration, short_size};

/// The daemon and all services.
#[must_use]
pub fn status(look: &Look, status: &Status) -> String {
    let mut text = daemon(look, &status.daemon);
    if status.services.is_empty() {
        text.push_str(
            "\nno policies hold: see `processguard inventory`, `processguard inventory --draft PID`\n",
        );
        return text;
    }
    let heads = ["SERVICE", "STATE", ">READY", "SINCE", ">RESTARTS LEFT", ">CPU", ">MEMORY", "WHY"];
    let mut table = Table::new(&heads);
    for service in &status.services {
        let budget = service.budget;
        let left = if budget.left == 0 && budget.of > 0 { BAD } else { anstyle::Style::new() };
        let (cpu, memory) = usage(&service.instances);
        table.row(vec![
            styled(safe(&service.name), BOLD),
            state(service.state),
            plain(format!("{}/{}", service.ready, service.target)),
            plain(look.ago(&service.since)),
            styled(format!("{}/{}", budget.left, budget.of), left),
            plain(cpu),
            plain(memory),
            plain(why(service)),
        ]);
    }
    let _ = write!(text, "\n{}", table.text(look));
    text
}

fn daemon(look: &Look, daemon: &Daemon) -> String {
    let age = short_duration(daemon.started.before_ns(look.now_ns));
    let mut text = format!(
        "processguard {}, process {}, up for {age}; policies: generation {}; {} records lost\n",
        safe(&daemon.version),
        daemon.pid,
        daemon.generation,
        daemon.lost
    );
    if !daemon.certain {
        let line =
            "records were lost: who lives is being found out, and nothing is done to the living until then";
        let _ = writeln!(text, "{}", look.paint(UNSURE, line));
    }
    for trouble in &daemon.troubles {
        let _ = writeln!(text, "{}", look.paint(BAD, &format!("trouble: {}", safe(trouble))));
    }
    text
}

fn why(service: &Service) -> String {
    let mut why = safe(&service.why);
    if service.mode == Mode::Observe {
        why.push_str(" (only observed)");
    }
    if !service.approvals.is_empty() {
        let _ = write!(why, " ({} waits for approval)", service.approvals.len());
    }
    why
}

fn state(state: State) -> Cell {
    styled(word(state), state_style(state))
}

fn usage(instances: &[Instance]) -> (String, String) {
    let used: Vec<Used> = instances.iter().filter_map(|instance| instance.used).collect();
    if used.is_empty() {
        return ("-".to_owned(), "-".to_owned());
    }
    let cpu: f64 = used.iter().map(|used| used.cpu_percent).sum();
    (format!("{cpu:.1}%"), short_size(used.iter().map(|used| used.resident_bytes).sum()))
}

/// One service, with all that is known of it.
#[must_use]
pub fn service(look: &Look, service: &Service) -> String {
    let mut text = format!(
        "{}  {} since {}: {}\n",
        look.paint(BOLD, &safe(&service.name)),
        look.paint(state_style(service.state), word(service.state)),
        look.local(&service.since.utc),
        why(service)
    );
    for (name, value) in about(look, service) {
        let _ = writeln!(text, "  {}  {value}", look.paint(DIM, &format!("{name:<9}")));
    }
    text.push_str(&instances(look, service));
    text.push_str(&checks(look, service));
    for approval in &service.approvals {
        let line = format!(
            "waits for approval {0}: {1}; `processguard approvals approve {0}` lets it be done",
            approval.id,
            safe(&approval.deed)
        );
        let _ = write!(text, "\n{}\n", look.paint(UNSURE, &line));
    }
    text
}

fn about(look: &Look, service: &Service) -> Vec<(&'static str, String)> {
    let budget = service.budget;
    let origin = match service.origin {
        Origin::Run => "run by the daemon",
        Origin::Adopt => "adopted: somebody else starts it",
    };
    let mode = match service.mode {
        Mode::Act => "",
        Mode::Observe => "; only observed",
    };
    let within = span(budget.within_ns);
    let mut about = vec![
        ("impact", service.impact.name().to_owned()),
        ("origin", format!("{origin}{mode}")),
        ("instances", format!("{} of {} ready", service.ready, service.target)),
        ("restarts", format!("{} of {} left in {within}", budget.left, budget.of)),
    ];
    let rto = service.rto_ns.map(|rto_ns| ("rto", span(rto_ns)));
    about.extend(service.down_since.as_ref().map(|down| ("down", format!("since {}", look.ago(down)))));
    about.extend(rto);
    about.extend(service.primary_token.map(|token| ("primary", format!("of its group, with token {token}"))));
    about.extend(service.owner.as_deref().map(|owner| ("owner", safe(owner))));
    about.extend(service.runbook.as_deref().map(|runbook| ("runbook", safe(runbook))));
    if !service.labels.is_empty() {
        let labels: Vec<String> =
            service.labels.iter().map(|(name, value)| format!("{}={}", safe(name), safe(value))).collect();
        about.push(("labels", labels.join(" ")));
    }
    about
}

fn instances(look: &Look, service: &Service) -> String {
    let heads =
        [">INSTANCE", "STATE", ">PID", "SINCE", ">PORT", ">CPU", ">MEMORY", ">FILES", ">THREADS", "WHY"];
    let mut table = Table::new(&heads);
    for instance in &service.instances {
        let or = |text: Option<String>| plain(text.unwrap_or_else(|| "-".to_owned()));
        let used = instance.used;
        let mut why = safe(&instance.why);
        if let Some(next) = &instance.next_at {
            let _ = write!(why, "; next try {}", look.until(next));
        }
        table.row(vec![
            plain(instance.number.to_string()),
            state(instance.state),
            or(instance.main.as_ref().map(|main| main.pid.to_string())),
            plain(look.ago(&instance.since)),
            or(instance.port.map(|port| port.to_string())),
            or(used.map(|used| format!("{:.1}%", used.cpu_percent))),
            or(used.map(|used| short_size(used.resident_bytes))),
            or(used.map(|used| used.open_files.to_string())),
            or(used.map(|used| used.threads.to_string())),
            plain(why),
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.text(look)) }
}

fn checks(look: &Look, service: &Service) -> String {
    let mut table = Table::new(&["CHECK", "OF", "STATE", "SEEN"]);
    let mut row = |of: String, check: &Check| {
        table.row(vec![
            plain(safe(&check.name)),
            plain(of),
            styled(check.state.name(), check_style(check.state)),
            plain(safe(&check.why)),
        ]);
    };
    service.checks.iter().for_each(|check| row("service".to_owned(), check));
    for instance in &service.instances {
        instance.checks.iter().for_each(|check| row(instance.number.to_string(), check));
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.text(look)) }
}

/// Services by how bad it is when they are down; then what nobody guards.
#[must_use]
pub fn inventory(look: &Look, inventory: &Inventory) -> String {
    let mut text = String::new();
    let mut guarded = Table::new(&["SERVICE", "IMPACT", ">RTO", "OWNER", "STATE"]);
    for known in &inventory.services {
        guarded.row(vec![
            styled(safe(&known.name), BOLD),
            styled(known.impact.name(), impact_style(known.impact)),
            plain(length(known.rto_ns)),
            plain(known.owner.as_deref().map_or_else(|| "-".to_owned(), safe)),
            state(known.state),
        ]);
    }
    if !guarded.is_empty() {
        text.push_str(&guarded.text(look));
    }
    if inventory.unguarded.is_empty() {
        text.push_str("every process that listens is guarded by a policy\n");
        return text;
    }
    let mut unguarded = Table::new(&[">PID", "PORTS", "UNIT", "COMMAND"]).indented(2);
    for process in &inventory.unguarded {
        let ports: Vec<String> = process.ports.iter().map(u16::to_string).collect();
        unguarded.row(vec![
            plain(process.pid.to_string()),
            plain(ports.join(",")),
            plain(process.unit.as_deref().map_or_else(|| "-".to_owned(), safe)),
            plain(safe(&process.command)),
        ]);
    }
    let between = if text.is_empty() { "" } else { "\n" };
    let _ = write!(
        text,
        "{between}listening, and guarded by no policy; `processguard inventory --draft PID` writes one:\n{}",
        unguarded.text(look)
    );
    text
}
