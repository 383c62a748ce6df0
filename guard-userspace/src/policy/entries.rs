//! Rehearsals as JSON: one object for each thing that happened.

use guard_core::rehearse::{Entry, Told};
use guard_core::supervise::{Clock, What};
use serde_json::{Value, json};

use crate::timestamp;

/// An entry: ECS names where there are some, the rest under `processguard`.
#[must_use]
pub fn json(clock: Clock, entry: &Entry) -> Value {
    let unix_ns = clock.boot_ns.saturating_add_unsigned(entry.time_ns);
    let (action, id, because) = match &entry.what {
        Told::World(_) => ("policy_world", None, None),
        Told::Plan(plan) => ("policy_plan", Some(plan.id.0), Some(plan.because.at(clock).to_string())),
        Told::Notice(what) => match &**what {
            What::State { .. } => ("policy_state", None, None),
            What::Check { .. } => ("policy_check", None, None),
            What::Waits { id, .. } => ("policy_waits", Some(id.0), None),
            What::Withheld { .. } => ("policy_withheld", None, None),
            What::Outcome { id, .. } => ("policy_outcome", Some(id.0), None),
            What::Overdue { .. } => ("policy_overdue", None, None),
            What::Role { .. } => ("policy_role", None, None),
        },
    };
    let act = match &entry.what {
        Told::Plan(plan) => Some(plan.act),
        _ => None,
    };
    json!({
        "@timestamp": timestamp::utc(unix_ns),
        "event": { "kind": "event", "action": action },
        "service": { "name": entry.subject.as_ref().map(|subject| &*subject.service) },
        "message": entry.message(clock),
        "processguard": {
            "boottime_ns": entry.time_ns,
            "instance": entry.subject.as_ref().and_then(|subject| subject.instance),
            "action_id": id,
            "act": act,
            "because": because,
        },
    })
}
