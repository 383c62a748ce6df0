//! What programs and webhooks are told: one JSON object, in the shape of the Elastic Common Schema, without a line end.
//!
//! | field | what |
//! | --- | --- |
//! | `@timestamp` | when it was decided, UTC |
//! | `message` | what is wrong |
//! | `event.kind`, `event.category`, `event.type`, `event.action` | `alert`, `[process]`, `[info]`, `alert` |
//! | `event.id` | the same for each try to tell it, and never for another alert |
//! | `event.reason` | why it is told |
//! | `event.reference` | the runbook |
//! | `log.level`, `log.syslog.severity.code` | `info` 6, `warning` 4, `critical` 2 |
//! | `host.hostname`, `labels`, `service.name` | |
//! | `service.node.name` | the instance: `checkout/0` |
//! | `processguard.boottime_ns` | when it was decided, in nanoseconds since boot |
//! | `processguard.alert` | `id` (the action's), `severity` |
//! | `processguard.service` | `instance`, `owner`, `impact`, `rto_ns` |
//! | `processguard.because` | `what`, `since_ns`, `step.{ladder,number,of}`, `restarts_left.{left,of}` |
//! | `processguard.incident` | the incident as far as it has come, as `processguard incidents --json` shows it |
//!
//! What is not known or does not apply is absent.

use guard_core::policy::model::{Impact, Severity};
use serde_json::{Map, Value, json};

use super::Alert;
use crate::show::escape;
use crate::timestamp;

/// The document.
#[must_use]
pub fn text(alert: &Alert, host: &str) -> String {
    let (severity, code) = severity(alert.severity);
    let because = &alert.because;
    let step = because.step.as_ref();
    let step = step.map(|(ladder, number, of)| json!({ "ladder": ladder, "number": number, "of": of }));
    let left = because.restarts_left.map(|(left, of)| json!({ "left": left, "of": of }));
    let node = alert.instance.map(|instance| json!({ "name": format!("{}/{instance}", alert.service) }));
    let document = json!({
        "@timestamp": timestamp::utc(alert.unix_ns),
        "message": alert.message,
        "event": {
            "kind": "alert",
            "category": ["process"],
            "type": ["info"],
            "action": "alert",
            "id": format!("{}-{}", alert.unix_ns, alert.id),
            "reason": because.to_string(),
            "reference": alert.about.runbook,
        },
        "log": { "level": severity, "syslog": { "severity": { "code": code } } },
        "host": { "hostname": host },
        "labels": alert.about.labels,
        "service": { "name": &*alert.service, "node": node },
        "processguard": {
            "boottime_ns": alert.time_ns,
            "alert": { "id": alert.id, "severity": severity },
            "service": {
                "instance": alert.instance,
                "owner": alert.about.owner,
                "impact": impact(alert.about.impact),
                "rto_ns": alert.about.rto_ns,
            },
            "because": { "what": because.what, "since_ns": because.since_ns, "step": step, "restarts_left": left },
            "incident": alert.incident,
        },
    });
    known(document).to_string()
}

/// The most important of it, for programs that read no JSON.
pub(super) fn environment(alert: &Alert) -> Vec<(String, String)> {
    let about = &alert.about;
    let all = [
        ("ALERT", Some(alert.id.to_string())),
        ("SERVICE", Some(alert.service.to_string())),
        ("INSTANCE", alert.instance.map(|instance| instance.to_string())),
        ("SEVERITY", Some(severity(alert.severity).0.to_owned())),
        ("MESSAGE", Some(alert.message.clone())),
        ("BECAUSE", Some(alert.because.to_string())),
        ("IMPACT", Some(impact(about.impact).to_owned())),
        ("OWNER", about.owner.clone()),
        ("RUNBOOK", about.runbook.clone()),
        ("INCIDENT", alert.incident.as_ref().map(|incident| incident.id.to_string())),
    ];
    let told = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    told.map(|(name, value)| (format!("PROCESSGUARD_{name}"), escape::message(&value))).collect()
}

/// Its name, and its number in syslog.
pub(super) const fn severity(severity: Severity) -> (&'static str, u8) {
    match severity {
        Severity::Info => ("info", 6),
        Severity::Warning => ("warning", 4),
        Severity::Critical => ("critical", 2),
    }
}

const fn impact(impact: Impact) -> &'static str {
    match impact {
        Impact::Low => "low",
        Impact::Medium => "medium",
        Impact::High => "high",
        Impact::Critical => "critical",
    }
}

/// Without what is null, and without what is empty then.
fn known(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, known(value)));
            let is_known =
                |value: &Value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty());
            Value::Object(fields.filter(|(_, value)| is_known(value)).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(known).collect()),
        other => other,
    }
}
