//! What a scenario names, held against its policies.

use super::texts::Whom;
use crate::policy::model::{CheckKind, Origin, Service, Signal};
use crate::policy::read::suggest;
use crate::policy::yaml::Spot;
use crate::policy::{Code, Diagnostic, PolicySet};
use crate::rehearse::scenario::Scenario;
use crate::supervise::Subject;

/// Something that is named.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) spot: Spot,
    pub(super) what: Mentioned,
}

/// What can be named.
#[derive(Clone, Debug)]
pub(super) enum Mentioned {
    Subject(Subject),
    /// A check of a subject, and whether it is answered by a number.
    Check(Subject, String, bool),
    Queue(String),
}

impl Mention {
    pub(super) fn of(whom: &Whom) -> Self {
        Self::subject(whom.subject.clone(), whom.spot)
    }

    pub(super) const fn subject(subject: Subject, spot: Spot) -> Self {
        Self { spot, what: Mentioned::Subject(subject) }
    }
}

pub(super) fn check(mentions: &[Mention], scenario: &Scenario, set: &PolicySet) -> Vec<Diagnostic> {
    let mut said: Vec<Diagnostic> =
        mentions.iter().filter_map(|mention| one(mention, scenario, set)).collect();
    said.sort_by(Diagnostic::order);
    said
}

fn one(mention: &Mention, scenario: &Scenario, set: &PolicySet) -> Option<Diagnostic> {
    let say = |message: String| Diagnostic::new(Code::UnknownName, mention.spot.into(), message);
    match &mention.what {
        Mentioned::Queue(name) if scenario.queues.contains_key(name) => None,
        Mentioned::Queue(name) => {
            let known: Vec<&str> = scenario.queues.keys().map(String::as_str).collect();
            Some(suggest(say(format!("the scenario has no queue `{name}`")), name, &known))
        }
        Mentioned::Subject(subject) => match service(set, subject) {
            Some(service) => instance(service, subject).map(say),
            None => {
                let known: Vec<&str> = set.services.iter().map(|service| service.name.as_str()).collect();
                let name = &subject.service;
                Some(suggest(say(format!("the policies have no service `{name}`")), name, &known))
            }
        },
        Mentioned::Check(subject, name, number) => {
            let service = service(set, subject)?;
            let Some(found) = service.checks.iter().find(|check| check.name == *name) else {
                let known: Vec<&str> = service.checks.iter().map(|check| check.name.as_str()).collect();
                let message = format!("`{}` has no check `{name}`", service.name);
                return Some(suggest(say(message), name, &known));
            };
            let wanted = match &found.kind {
                CheckKind::Probe(_) => false,
                CheckKind::Threshold(threshold) => match &threshold.signal {
                    Signal::Number(_) => true,
                    Signal::Progress { .. } => return None,
                    other => {
                        let message = format!("`{name}` measures {}", other.name());
                        return Some(
                            say(message)
                                .help("say it under `signals:`, or of the probe that it is taken from"),
                        );
                    }
                },
            };
            (wanted != *number).then(|| {
                let what = if wanted { "asks for a number" } else { "is a probe, and gives no number" };
                say(format!("`{name}` {what}"))
            })
        }
    }
}

fn service<'a>(set: &'a PolicySet, subject: &Subject) -> Option<&'a Service> {
    set.services.iter().find(|service| *service.name == *subject.service).map(AsRef::as_ref)
}

/// Why there is no such instance.
fn instance(service: &Service, subject: &Subject) -> Option<String> {
    let Origin::Run(run) = &service.origin else { return None };
    let instance = subject.instance.filter(|instance| *instance >= run.instances.max)?;
    let (name, max) = (&service.name, run.instances.max);
    Some(format!("`{name}` has {max} instances at most, counted from 0: there is no instance {instance}"))
}
