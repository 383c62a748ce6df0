//! What is told to whoever follows: one JSON object for each event, with names of the Elastic Common Schema.
//!
//! | `event.action` | what |
//! | --- | --- |
//! | `signal`, `exec`, `exit`, `oom`, `listen`, `stall`, `gap`, `resync` | as `trace` tells them, of processes of services, and of losses |
//! | `service-state`, `check-state` | a service, an instance or a check is in another state |
//! | `plan`, `outcome` | something is to be done, or was |
//! | `withheld`, `waits`, `overdue`, `role` | what was not done, what waits for consent, what is down for too long, who is primary |
//! | `incident-opened`, `incident-closed` | an incident began, or is over |
//! | `alert`, `alert-outcome` | somebody is told, and whether that worked |
//! | `policies`, `flag`, `trouble`, `daemon` | the daemon itself |

use std::sync::Arc;

use guard_core::event::Event;
use guard_core::incident::Incident;
use guard_core::policy::model::Severity;
use guard_core::supervise::{Notice, Plan, Subject, What};
use serde_json::{Map, Value, json};

use super::alerts::{Alert, Outcome};
use super::door::{Door, Told};
use crate::clock::Stamp;
use crate::show::compact;
use crate::show::json::JsonWriter;
use crate::timestamp;

/// Makes the lines, and numbers them.
#[derive(Debug)]
pub(super) struct Teller {
    door: Door,
    stamp: Stamp,
    writer: JsonWriter,
    number: u64,
    /// What is told with the next [`Teller::tell`]: a line of JSON takes as long as a system call, and what is dead is to be
    /// started first.
    waiting: Vec<Waiting>,
}

/// What waits to be told.
#[derive(Debug)]
enum Waiting {
    Event(Event, Option<Subject>),
    Incident(&'static str, u64, Incident),
}

/// Something to be told.
pub(super) struct Line<'a> {
    pub(super) time_ns: u64,
    pub(super) action: &'static str,
    pub(super) subject: Option<&'a Subject>,
    pub(super) message: String,
    /// Stands under `processguard`.
    pub(super) detail: Value,
}

impl Teller {
    pub(super) fn new(door: Door, stamp: Stamp) -> Self {
        Self { door, stamp, writer: JsonWriter::new(stamp), number: 0, waiting: Vec::new() }
    }

    pub(super) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(super) const fn set_utc_offset(&mut self, utc_offset_ns: i64) {
        self.stamp.utc_offset_ns = utc_offset_ns;
    }

    /// A kernel event of a service's process, as `trace` writes it; or of the stream itself. Told later.
    pub(super) fn event(&mut self, event: Event, whose: Option<Subject>) {
        self.waiting.push(Waiting::Event(event, whose));
    }

    /// An incident began or is over. Told later.
    pub(super) fn incident(&mut self, action: &'static str, time_ns: u64, incident: Incident) {
        self.waiting.push(Waiting::Incident(action, time_ns, incident));
    }

    /// Tells what waits.
    pub(super) fn tell(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Event(event, whose) => self.tell_event(&event, whose.as_ref()),
                Waiting::Incident(action, time_ns, incident) => {
                    self.tell_incident(action, time_ns, &incident);
                }
            }
        }
    }

    fn tell_event(&mut self, event: &Event, whose: Option<&Subject>) {
        self.number += 1;
        if !self.door.is_followed() {
            return;
        }
        let mut line = Vec::new();
        self.writer.event(&mut line, &self.stamp, event);
        let mut text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.ends_with('}') {
            text.pop();
            text.push_str(&format!(r#","message":{}"#, Value::from(in_words(event))));
            text.extend(whose.map(|subject| format!(r#","service":{}"#, service(subject))));
            text.push('}');
        }
        self.send(whose.map(|subject| Arc::clone(&subject.service)), text);
    }

    /// Anything else, after what waits.
    pub(super) fn line(&mut self, line: Line<'_>) {
        self.tell();
        self.put(line);
    }

    fn put(&mut self, line: Line<'_>) {
        self.number += 1;
        if !self.door.is_followed() {
            return;
        }
        let mut own = match line.detail {
            Value::Object(own) => own,
            Value::Null => Map::new(),
            other => Map::from_iter([("detail".to_owned(), other)]),
        };
        own.insert("boottime_ns".to_owned(), line.time_ns.into());
        let mut object = json!({
            "@timestamp": timestamp::utc(self.stamp.unix_ns(line.time_ns)),
            "event": {
                "kind": if line.action == "alert" { "alert" } else { "event" },
                "category": ["process"],
                "type": ["info"],
                "action": line.action,
                "sequence": self.number,
            },
            "message": line.message,
            "processguard": own,
        });
        if let (Some(subject), Some(object)) = (line.subject, object.as_object_mut()) {
            object.insert("service".to_owned(), service(subject));
        }
        self.send(line.subject.map(|subject| Arc::clone(&subject.service)), object.to_string());
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        let subject = &notice.subject;
        let (action, message, detail) = match &notice.what {
            What::State { from, to, why } => (
                "service-state",
                format!("{subject} is {}: {why}", to.name()),
                json!({ "from": from.name(), "to": to.name(), "reason": why }),
            ),
            What::Check { check, state, why } => (
                "check-state",
                format!("{subject}: {check} is {}: {why}", state.name()),
                json!({ "check": &**check, "state": state.name(), "reason": why }),
            ),
            What::Waits { id, deed, until_ns } => (
                "waits",
                format!("{subject}: waits for approval {}: {deed}", id.0),
                json!({ "action_id": id.0, "deed": deed, "until_boottime_ns": until_ns }),
            ),
            What::Withheld { deed, why } => (
                "withheld",
                format!("{subject}: {deed} was withheld: {why}"),
                json!({ "deed": deed, "reason": why }),
            ),
            What::Outcome { id, failed } => (
                "outcome",
                match failed {
                    Some(why) => format!("{subject}: action {} failed: {why}", id.0),
                    None => format!("{subject}: action {} is done", id.0),
                },
                json!({ "action_id": id.0, "failed": failed }),
            ),
            What::Overdue { since_ns } => (
                "overdue",
                format!("{subject} is down for longer than its rto"),
                json!({ "since_boottime_ns": since_ns }),
            ),
            What::Role { token } => {
                ("role", format!("{subject} holds the primary role"), json!({ "token": token }))
            }
        };
        self.line(Line { time_ns: notice.time_ns, action, subject: Some(subject), message, detail });
    }

    pub(super) fn plan(&mut self, plan: &Plan) {
        let verb = if plan.act { "plan" } else { "observed" };
        let message = format!("{}: {}: {}", plan.subject, plan.deed, plan.because);
        let detail = json!({
            "action_id": plan.id.0,
            "deed": plan.deed.to_string(),
            "reason": plan.because.what,
            "act": plan.act,
            "outcome": if plan.act { Value::Null } else { verb.into() },
        });
        self.line(Line {
            time_ns: plan.time_ns,
            action: "plan",
            subject: Some(&plan.subject),
            message,
            detail,
        });
    }

    fn tell_incident(&mut self, action: &'static str, time_ns: u64, incident: &Incident) {
        let subject = Subject { service: incident.service.as_str().into(), instance: incident.instance };
        let message = match &incident.outcome {
            Some(outcome) => format!("{subject}: incident {} is over: {outcome}", incident.id),
            None => format!("{subject}: incident {}: {}", incident.id, incident.cause),
        };
        let detail = json!({ "incident": incident });
        self.put(Line { time_ns, action, subject: Some(&subject), message, detail });
    }

    pub(super) fn alert(&mut self, alert: &Alert, subject: &Subject) {
        let severity = severity(alert.severity);
        let message = format!("alert ({severity}): {}", alert.message);
        let detail = json!({ "action_id": alert.id, "severity": severity, "owner": alert.about.owner, "runbook": alert.about.runbook });
        self.line(Line { time_ns: alert.time_ns, action: "alert", subject: Some(subject), message, detail });
    }

    pub(super) fn alerted(&mut self, outcome: &Outcome) {
        let failed = outcome.result.as_ref().err();
        let message = match failed {
            Some(why) => format!("alert {} was not told by {}: {why}", outcome.alert, outcome.channel),
            None => format!("alert {} was told by {}", outcome.alert, outcome.channel),
        };
        let detail =
            json!({ "action_id": outcome.alert, "channel": outcome.channel.to_string(), "failed": failed });
        let time_ns = crate::clock::boot_ns();
        self.line(Line { time_ns, action: "alert-outcome", subject: None, message, detail });
    }

    fn send(&self, service: Option<Arc<str>>, json: String) {
        self.door.tell(Told { number: self.number, service, json });
    }
}

/// An event as `trace` tells it.
fn in_words(event: &Event) -> String {
    let name = event.action.name();
    match event.action.process() {
        Some(process) => format!("{name} {}: {}", process.id.pid, compact::story(&event.action)),
        None => name.to_owned(),
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn service(subject: &Subject) -> Value {
    match subject.instance {
        Some(instance) => json!({ "name": &*subject.service, "node": { "name": instance.to_string() } }),
        None => json!({ "name": &*subject.service }),
    }
}
