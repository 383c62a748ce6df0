//! The page about one process, living or dead, or one group.

use std::sync::Arc;

use guard_core::event::{Action, Process};
use guard_core::ids::ProcId;
use guard_core::resources::{Pressure, Resources};
use ratatui::text::{Line, Span};

use super::groups::Group;
use super::model::{Death, Row, Timeline};
use super::order::{self, Item};
use super::text::{self, count, escaped, lifetime, percent, pieces};
use super::view::Scene;
use crate::show::compact::{cause_of_death, short_duration, short_size, story};

/// Columns of the names in front of the values.
const NAME_COLUMNS: usize = 13;

/// Ancestors that are shown at most.
const ANCESTORS: usize = 16;

/// The page's lines, none wider than `width`.
pub(super) fn text(scene: &Scene<'_>, item: &Item, width: u16) -> Vec<Line<'static>> {
    let mut page = Page { lines: Vec::new(), scene, width: width.into() };
    match item {
        Item::Process(id) => match (scene.model.rows.get(id), scene.model.death(*id)) {
            (Some(row), _) => page.living(row),
            (None, Some(death)) => page.dead(death),
            (None, None) => {
                page.heading("This process has ended, and its death is no longer among the recent ones.")
            }
        },
        Item::Group(key) => match scene.model.groups.get(key) {
            Some(group) => page.group(key, group),
            None => page.heading("This group has no processes any more."),
        },
    }
    page.lines
}

/// Lines in the making.
struct Page<'a> {
    lines: Vec<Line<'static>>,
    scene: &'a Scene<'a>,
    width: usize,
}

impl Page<'_> {
    fn living(&mut self, row: &Row) {
        let process = &row.process;
        self.heading(&format!("Process {} {}", process.id.pid, escaped(process.name.as_bytes())));
        self.identity(process);
        let age = self.scene.model.now_ns.saturating_sub(process.id.start_ns);
        self.field("age", &short_duration(age));
        self.ancestors(process);
        self.place(process);
        self.field(
            "restarts",
            &format!("{} of this executable in its group", self.scene.model.restarts(row)),
        );
        match &row.resources {
            Some(resources) => self.resources(resources, row.cpu_percent()),
            None => self.field("resources", "- (not sampled yet)"),
        }
        self.waits(self.scene.model.group(row));
        self.timeline(&row.timeline);
    }

    fn dead(&mut self, death: &Death) {
        let Death { process, exit, .. } = death;
        self.heading(&format!("Process {} {}: dead", process.id.pid, escaped(process.name.as_bytes())));
        self.field("cause", &cause_of_death(exit));
        let ended = self.scene.context.precise_time_of_day(death.time_ns);
        self.field("ended", &format!("{ended} after {}", lifetime(exit)));
        if let Some(usage) = &exit.usage {
            let (user, system) = (short_duration(usage.user_ns), short_duration(usage.system_ns));
            self.field("cpu", &format!("{user} in user mode, {system} in the kernel"));
            self.field("peak memory", &short_size(usage.peak_rss_bytes));
        }
        self.identity(process);
        self.ancestors(process);
        self.place(process);
        self.timeline(&death.timeline);
    }

    fn group(&mut self, key: &Arc<str>, group: &Group) {
        self.heading(&format!("Group {}", escaped(group.name.as_bytes())));
        self.field("cgroup", &escaped(group.path.as_bytes()));
        self.field("processes", &count(group.processes.into()));
        let sum = order::sums(self.scene.model).remove(key).unwrap_or_default();
        self.field(
            "cpu",
            &sum.cpu_percent.map_or_else(unknown, |used| format!("{}% of one CPU", percent(used))),
        );
        self.field(
            "memory",
            &sum.rss_bytes.map_or_else(unknown, |bytes| format!("{} resident", short_size(bytes))),
        );
        self.field("restarts", &sum.restarts.to_string());
        self.waits(Some(group));
        if let Some(whole) = &group.resources {
            let limit = whole
                .memory_limit_bytes
                .map_or_else(|| "no limit".to_owned(), |limit| format!("limit {}", short_size(limit)));
            let used = whole.memory_bytes.map_or_else(unknown, short_size);
            self.field("as a whole", &format!("memory {used}, {limit}"));
            for (name, pressure) in [
                ("cpu stalls", &whole.cpu_pressure),
                ("memory stalls", &whole.memory_pressure),
                ("io stalls", &whole.io_pressure),
            ] {
                self.field(name, &pressure.as_ref().map_or_else(unknown, stalls));
            }
        }
        self.heading("PROCESSES");
        let mut members: Vec<_> = self.scene.model.rows.values().filter(|row| row.group == *key).collect();
        members.sort_by(|one, other| {
            let cpu = |row: &Row| row.cpu_percent().unwrap_or(0.0);
            cpu(other).total_cmp(&cpu(one)).then_with(|| one.process.id.cmp(&other.process.id))
        });
        for row in members {
            let used = row.cpu_percent().map_or_else(unknown, |used| format!("{}%", percent(used)));
            let memory = row.resources.map_or_else(unknown, |used| short_size(used.rss_bytes));
            let line =
                format!("{:>7} {used:>6} {memory:>7}  {}", row.process.id.pid, text::command(&row.process));
            self.lines.push(Line::raw(pieces(&line, self.width).swap_remove(0)));
        }
    }

    fn identity(&mut self, process: &Process) {
        let context = self.scene.context;
        if let Some(program) = &process.program {
            let gone = if program.flags.executable_deleted { " (deleted)" } else { "" };
            self.field("executable", &format!("{}{gone}", escaped(&program.executable)));
            self.field("arguments", &text::command(process));
            self.field("directory", &escaped(&program.working_directory));
        } else {
            self.field("arguments", &text::command(process));
        }
        let user = context.users.name(process.uid);
        let effective = if process.euid == process.uid {
            String::new()
        } else {
            format!(", effective {}", context.users.name(process.euid))
        };
        self.field("user", &format!("{user} ({}){effective}, group {}", process.uid, process.gid));
        if process.id.start_ns != 0 {
            self.field("started", &context.precise_time_of_day(process.id.start_ns));
        }
        if process.ns_pid != process.id.pid && process.ns_pid != 0 {
            self.field("pid inside", &format!("{} in its pid namespace", process.ns_pid));
        }
        self.field("identity", &context.stamp.boot.entity_id(process.id));
    }

    /// The parent, its parent and so on.
    fn ancestors(&mut self, process: &Process) {
        let mut chain = Vec::new();
        let (mut parent, mut name) = (process.parent, process.parent_name);
        while parent.is_some() && chain.len() < ANCESTORS {
            let known = self.scene.model.rows.get(&parent);
            let ended = if known.is_none() && !self.is_outside(parent) { " (ended)" } else { "" };
            let shown = known.map_or(name, |row| row.process.name);
            chain.push(format!("{}[{}]{ended}", escaped(shown.as_bytes()), parent.pid));
            let Some(row) = known else { break };
            (parent, name) = (row.process.parent, row.process.parent_name);
        }
        let text = if chain.is_empty() { "the kernel".to_owned() } else { chain.join(" < ") };
        self.field("parents", &text);
    }

    /// Whether a process that has no row may be alive all the same: above the trees that are shown.
    fn is_outside(&self, id: ProcId) -> bool {
        self.scene.model.is_partial() && self.scene.model.death(id).is_none()
    }

    fn place(&mut self, process: &Process) {
        let cgroup = &process.cgroup;
        if let Some(container) = &cgroup.container {
            let runtime = container.runtime.unwrap_or("container");
            self.field("container", &format!("{runtime} {}", escaped(container.id.as_bytes())));
        }
        if let Some(unit) = &cgroup.unit {
            self.field("unit", &escaped(unit.as_bytes()));
        }
        let path = cgroup.path.as_deref().map_or_else(unknown, |path| escaped(path.as_bytes()));
        self.field("cgroup", &path);
    }

    fn resources(&mut self, used: &Resources, cpu_percent: Option<f64>) {
        let share = cpu_percent.map_or_else(unknown, |used| format!("{}% of one CPU", percent(used)));
        let cpu = short_duration(used.cpu_ns);
        let delay = used.run_delay_ns.map_or_else(unknown, short_duration);
        self.field("cpu", &format!("{share}, {cpu} in all, waited {delay} for a CPU"));
        let (resident, swapped) = (short_size(used.rss_bytes), short_size(used.swap_bytes));
        self.field("memory", &format!("{resident} resident, {swapped} swapped out"));
        self.field("threads", &count(used.threads.into()));
        let limit = used
            .open_files_limit
            .map_or_else(|| "no limit".to_owned(), |limit| format!("of {}", count(limit)));
        self.field("open files", &format!("{} {limit}", count(used.open_files.into())));
        if let (Some(read), Some(written)) = (used.read_bytes, used.write_bytes) {
            self.field("storage", &format!("{} read, {} written", short_size(read), short_size(written)));
        }
    }

    fn waits(&mut self, group: Option<&Group>) {
        let wait =
            |share| group.and_then(|group| group.run_queue_ns(share)).map_or_else(unknown, short_duration);
        let name = group.map_or_else(unknown, |group| escaped(group.name.as_bytes()));
        let (p50, p99) = (wait(0.5), wait(0.99));
        self.field("run queue", &format!("p50 {p50}, p99 {p99} in group {name}"));
    }

    fn timeline(&mut self, timeline: &Timeline) {
        self.heading("TIMELINE");
        if timeline.moments.is_empty() {
            self.lines.push(Line::raw("nothing since the start of this program"));
        }
        for (index, moment) in timeline.moments.iter().enumerate() {
            if index == 1 && timeline.cut {
                self.lines.push(Line::raw("(some left out)"));
            }
            let time = self.scene.context.precise_time_of_day(moment.time_ns);
            let front = format!("{time}  {:<6}  ", moment.action.name());
            let story = match &moment.action {
                // Its own way is on the page already.
                Action::Fork { process } => {
                    let parent = escaped(process.parent_name.as_bytes());
                    format!("by {parent}[{}]", process.parent.pid)
                }
                action => story(action),
            };
            self.wrapped(&front, &story, self.scene.context.palette.dim());
        }
    }

    fn heading(&mut self, text: &str) {
        for piece in pieces(text, self.width) {
            self.lines.push(Line::styled(piece, self.scene.context.palette.bold()));
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        self.wrapped(&format!("{name:>NAME_COLUMNS$}  "), value, self.scene.context.palette.dim());
    }

    /// A value of any length behind what stands in front of it.
    fn wrapped(&mut self, front: &str, value: &str, style: ratatui::style::Style) {
        let columns = front.chars().count();
        let mut front = front.to_owned();
        for piece in pieces(value, self.width.saturating_sub(columns)) {
            self.lines.push(Line::from(vec![Span::styled(front, style), Span::raw(piece)]));
            front = " ".repeat(columns);
        }
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// `some 12.50%, all 3.00% of the last 10 s`
fn stalls(pressure: &Pressure) -> String {
    let all = pressure.full.map_or_else(unknown, |full| format!("{}%", full.avg10));
    format!("some tasks {}%, all {all} of the last 10 s", pressure.some.avg10)
}
