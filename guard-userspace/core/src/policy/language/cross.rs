//! What must hold between the parts of a service, and what is risky.

use super::actions::LadderKeys;
use super::checks::CheckKeys;
use super::service::ServiceKeys;
use super::texts::Name;
use crate::policy::model::{Act, CheckKind, Impact, Ladder, Origin, Readiness, RestartOn, Service, Signal};
use crate::policy::read::{Placed, Reader, listed, suggest};
use crate::policy::yaml::{Data, Node, Spot, shown};
use crate::policy::{Code, Diagnostic};

/// Tells what does not go together in a service, as it was written and as it was read.
pub(crate) fn check(keys: &ServiceKeys, service: &Service, reader: &mut Reader) {
    for (name, check) in &keys.checks.0 {
        if let CheckKeys::Threshold(threshold) = check {
            timed_probe(keys, name, threshold.probe(), reader);
        }
    }
    memory_share(keys, service, reader);
    for (name, ladder) in &keys.actions.0 {
        for (place, act) in acts(ladder, service.actions.get(&*name.0)) {
            possible(act, place, keys, service, reader);
        }
    }
    unused_failover(keys, service, reader);
    risks(keys, service, reader);
}

/// All that a ladder does, and where it says so.
fn acts<'a>(keys: &LadderKeys, ladder: Option<&'a Ladder>) -> Vec<(Spot, &'a Act)> {
    let Some(ladder) = ladder else { return Vec::new() };
    let steps = keys.steps.0.iter().map(|step| step.place()).zip(ladder.steps.iter().map(|step| &step.act));
    let fallback =
        keys.breaker.fallback.as_ref().map(|act| act.place()).zip(ladder.breaker.fallback.as_deref());
    steps.chain(fallback).collect()
}

/// What can be told of a service before it is read: placeholders, and names of actions.
pub(crate) fn check_nodes(service: &Node, reader: &mut Reader) {
    placeholders(service, reader);
    names_of_actions(service, reader);
}

/// Actions stand under the names of checks.
fn names_of_actions(service: &Node, reader: &mut Reader) {
    let entries = |key: &str| service.get(key).map(Node::entries).unwrap_or_default();
    let mut known: Vec<&str> = entries("checks").iter().map(|entry| &*entry.key).collect();
    known.push(Ladder::HELD);
    for entry in entries("actions").iter().filter(|entry| !known.contains(&&*entry.key)) {
        let message = format!("there is no check `{}`", shown(&entry.key));
        let diagnostic = Diagnostic::new(Code::UnknownCheck, entry.spot.into(), message);
        reader.say(or_list(suggest(diagnostic, &entry.key, &known), &known));
    }
}

/// Where something stands.
fn at(placed: &dyn Placed) -> Spot {
    placed.at()
}

fn or_list(diagnostic: Diagnostic, known: &[&str]) -> Diagnostic {
    if diagnostic.help.is_some() || known.is_empty() {
        return diagnostic;
    }
    diagnostic.help(format!("there is {}", listed(known)))
}

/// The answers that are timed are those of a probe.
fn timed_probe(
    keys: &ServiceKeys,
    name: &Name,
    of: Option<&crate::policy::read::At<Name>>,
    reader: &mut Reader,
) {
    let Some(of) = of else { return };
    if matches!(keys.checks.0.get(&of.value), Some(CheckKeys::Probe(_))) {
        return;
    }
    let probes = keys.checks.0.iter().filter(|(_, check)| matches!(check, CheckKeys::Probe(_)));
    let known: Vec<&str> = probes.map(|(name, _)| &*name.0).collect();
    let (said, own) = (shown(&of.value.0), of.value == *name);
    let message = match keys.checks.0.get(&of.value) {
        _ if own => format!("the check `{said}` cannot time its own answers: it asks nothing"),
        Some(_) => format!("the check `{said}` asks nothing: there are no answers to time"),
        None => format!("there is no check `{said}`"),
    };
    let diagnostic = Diagnostic::new(Code::UnknownCheck, of.spot.into(), message);
    let diagnostic = suggest(diagnostic, &of.value.0, &known);
    reader.say(if known.is_empty() {
        diagnostic.help("add a check with a probe, such as `api: { http: ... }`, and name it here")
    } else {
        or_list(diagnostic, &known)
    });
}

/// A share of a limit needs one.
fn memory_share(keys: &ServiceKeys, service: &Service, reader: &mut Reader) {
    let Origin::Run(run) = &service.origin else { return };
    if run.limits.memory.is_some() {
        return;
    }
    for check in &service.checks {
        let CheckKind::Threshold(threshold) = &check.kind else { continue };
        if threshold.signal != Signal::MemoryShare {
            continue;
        }
        let found = keys.checks.0.iter().find(|(name, _)| *name.0 == *check.name);
        let Some((_, CheckKeys::Threshold(written))) = found else { continue };
        let message = "`memory.share` is the share of a limit, and this service has none";
        let diagnostic = Diagnostic::new(Code::Impossible, written.signal.spot.into(), message);
        reader.say(diagnostic.help("set `run.limits.memory`, or use `memory.rss`"));
    }
}

/// Some acts need more than themselves.
fn possible(act: &Act, place: Spot, keys: &ServiceKeys, service: &Service, reader: &mut Reader) {
    let impossible =
        |message: &str, help: &str| Diagnostic::new(Code::Impossible, place.into(), message).help(help);
    let fault = match (act, &service.origin) {
        (Act::Failover, _) if service.failover.is_none() => impossible(
            "who would take over? This service has no `failover`",
            "say so under `failover:`, with `standbys`, `fence` and `promote`",
        ),
        (Act::Restart, Origin::Adopt(adopt)) if adopt.restart_via.is_none() => impossible(
            "how would it be restarted? It was started by somebody else",
            "say so under `adopt.restart_via`, such as `{ unit: nginx.service }`",
        ),
        (Act::Scale(_), Origin::Adopt(_)) => impossible(
            "only services that we `run` can have more or fewer instances",
            "use `exec` with a program that scales it",
        ),
        (Act::Scale(_), Origin::Run(run)) if run.instances.min == run.instances.max => {
            let message = format!("it always has {} instances: `min` is `max`", run.instances.min);
            let at = keys.run.as_ref().map_or(place, |run| run.instances.at);
            impossible(&message, "raise `run.instances.max`").related(at.into(), "its bounds")
        }
        _ => return,
    };
    reader.say(fault);
}

fn unused_failover(keys: &ServiceKeys, service: &Service, reader: &mut Reader) {
    let Some(failover) = &keys.failover else { return };
    let does = |act: &Act| *act == Act::Failover;
    let used = service.actions.values().any(|ladder| {
        ladder.steps.iter().any(|step| does(&step.act))
            || ladder.breaker.fallback.as_deref().is_some_and(does)
    });
    if !used {
        let message = "no action does this";
        let diagnostic = Diagnostic::new(Code::Unused, at(failover).into(), message);
        reader.say(
            diagnostic.help("add the step `failover` to an action, such as `actions: { api: [failover] }`"),
        );
    }
}

/// Nanoseconds of a day: a budget that holds a service for longer is not meant so.
const DAY: u64 = 86_400_000_000_000;

/// What can be used, but should be looked at.
fn risks(keys: &ServiceKeys, service: &Service, reader: &mut Reader) {
    let restart = &service.restart;
    if restart.on != RestartOn::Never && restart.budget.within > DAY {
        let place = keys.restart.budget.spot;
        let message = "once it is spent, this budget holds the service for days";
        let diagnostic = Diagnostic::new(Code::LongBudget, place.into(), message);
        reader.say(diagnostic.help("a shorter window, such as `5/10m`, catches the same crash loops"));
    }
    if restart.on != RestartOn::Never && never_spent(service) {
        let message = "this budget is never spent: the waits alone take longer than its window";
        let diagnostic = Diagnostic::new(Code::EndlessBudget, keys.restart.budget.spot.into(), message)
            .related(at(&keys.restart.backoff).into(), "the waits")
            .label("a service that crashes at once is restarted for ever")
            .help("a longer window, fewer restarts, or a shorter `backoff.max`");
        reader.say(diagnostic);
    }
    if service.stop.timeout == 0 {
        let message = "it is killed at once, without time to end what it does";
        let diagnostic = Diagnostic::new(Code::HardStop, keys.stop.timeout.spot.into(), message);
        reader.say(diagnostic.help("such as `timeout: 10s`; if it is meant so, `signal: SIGKILL` says so"));
    }
    let grave = service.impact >= Impact::High;
    let place = if keys.impact.name == keys.at { keys.service.spot } else { keys.impact.spot };
    if grave && service.runbook.is_none() {
        let message = "whoever is told of this service in the night finds nothing to read";
        let diagnostic = Diagnostic::new(Code::NoRunbook, place.into(), message);
        reader.say(diagnostic.help("add `runbook: https://...`"));
    }
    let started = matches!(&service.origin, Origin::Run(_)) && service.ready.by == Readiness::Started;
    if grave && started {
        let message = "it counts as up as soon as its program runs, before it can do anything";
        let diagnostic = Diagnostic::new(Code::NoReadiness, place.into(), message);
        reader
            .say(diagnostic.help("add `ready`, such as `ready: { listen: \"{port}\" }` or `ready: notify`"));
    }
}

/// Whether the waits before as many restarts as the budget has, each as short as jitter makes it, take longer than its window. A
/// service that ends at once never has as many in it, and is restarted for ever.
#[expect(clippy::cast_precision_loss, reason = "spans of years in nanoseconds fit well enough")]
fn never_spent(service: &Service) -> bool {
    let restart = &service.restart;
    let (backoff, window) = (&restart.backoff, restart.budget.within as f64);
    let (mut wait, mut sum) = (backoff.initial as f64, 0.0);
    // The restart that finds the budget spent comes after as many as it has.
    for _ in 0..restart.budget.count {
        sum += wait * (1.0 - backoff.jitter);
        if sum > window {
            return true;
        }
        wait = (wait * backoff.factor).min(backoff.max as f64);
    }
    false
}

/// `{port}` and `{instance}` where there is none, and what was probably meant to be one of them.
fn placeholders(service: &Node, reader: &mut Reader) {
    let ports = service.get("run").and_then(|run| run.get("ports")).is_some();
    let adopted = service.get("run").is_none();
    walk(service, &mut |node, text, shared| {
        for (name, (start, end)) in braces(text) {
            let meant =
                ["port", "instance"].into_iter().find(|word| strsim::damerau_levenshtein(name, word) <= 2);
            let (code, message, help) = match name {
                "port" if !ports && !adopted => (
                    Code::Placeholder,
                    "which port? This service has no `run.ports`",
                    "add `ports: { first: 8080 }` under `run`",
                ),
                "port" | "instance" if adopted => (
                    Code::Placeholder,
                    "an adopted service has no ports or instances of ours",
                    "write the port itself",
                ),
                "port" | "instance" if shared => (
                    Code::Placeholder,
                    "a check of the whole service has no instance",
                    "leave `scope: service` out, or ask one address for all",
                ),
                "port" | "instance" => continue,
                _ => match meant {
                    Some("port") => (Code::OddPlaceholder, "this is not replaced", "did you mean `{port}`?"),
                    Some(_) => (Code::OddPlaceholder, "this is not replaced", "did you mean `{instance}`?"),
                    None => continue,
                },
            };
            let mut place = crate::policy::Place::from(node.spot);
            // The part itself, if the text stands in the file as it is.
            let quotes = place.range.len().checked_sub(text.len());
            let mut instead = None;
            if let Some(quotes @ (0 | 2)) = quotes {
                let begin = place.range.start + quotes / 2;
                place.range = begin + start..begin + end;
                instead = meant.filter(|_| code == Code::OddPlaceholder);
            }
            let diagnostic = Diagnostic::new(code, place, message).help(help);
            reader.say(match instead {
                Some(word) => diagnostic.replacement(format!("{{{word}}}")),
                None => diagnostic,
            });
        }
    });
}

/// All texts of a node; and whether each belongs to a check of the whole service.
fn walk(node: &Node, found: &mut dyn FnMut(&Node, &str, bool)) {
    fn inner(node: &Node, shared: bool, found: &mut dyn FnMut(&Node, &str, bool)) {
        match &node.data {
            Data::Scalar(scalar) => found(node, &scalar.text, shared),
            Data::List(nodes) => nodes.iter().for_each(|node| inner(node, shared, found)),
            Data::Map(entries) => entries.iter().for_each(|entry| inner(&entry.value, shared, found)),
        }
    }
    for entry in node.entries() {
        if &*entry.key != "checks" {
            inner(&entry.value, false, found);
            continue;
        }
        for check in entry.value.entries() {
            let scope = check.value.get("scope").map(|scope| &scope.data);
            let shared = matches!(scope, Some(Data::Scalar(scalar)) if &*scalar.text == "service");
            inner(&check.value, shared, found);
        }
    }
}

/// Lower-case words in braces, and which bytes they are with these.
fn braces(text: &str) -> impl Iterator<Item = (&str, (usize, usize))> {
    text.match_indices('{').filter_map(|(start, _)| {
        let rest = text.get(start + 1..)?;
        let name = rest.get(..rest.find('}')?)?;
        let fits = !name.is_empty()
            && name.len() <= 16
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        fits.then_some((name, (start, start + name.len() + 2)))
    })
}
