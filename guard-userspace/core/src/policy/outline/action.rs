//! `actions` and `failover`.

use super::{Keys, Outline, nothing, single, texts, word};
use crate::names::SignalName;
use crate::policy::model::{Act, Failover, Hook, Ladder, Severity, Step};

pub(super) fn ladder(ladder: &Ladder) -> Outline {
    let mut keys = Keys::default();
    keys.put("steps", Outline::List(ladder.steps.iter().map(step).collect()));
    let mut breaker = Keys::default();
    breaker.word("tries", ladder.breaker.tries);
    breaker.span("within", ladder.breaker.within);
    breaker.maybe("fallback", ladder.breaker.fallback.as_deref().map(act));
    keys.put("breaker", breaker.done());
    keys.done()
}

fn step(step: &Step) -> Outline {
    let (name, value) = named(&step.act);
    let mut keys = Keys::default();
    keys.put(name, value);
    keys.span("after", step.after);
    if let Some(still) = step.if_still {
        keys.span("if_still", still);
    }
    if let Some(approval) = step.approval {
        let mut inner = Keys::default();
        inner.span("within", approval.within);
        keys.put("approval", inner.done());
    }
    keys.maybe("when", step.when.as_ref().map(|guard| Outline::Text(guard.source().to_owned())));
    keys.done()
}

fn act(act: &Act) -> Outline {
    let (name, value) = named(act);
    single(name, value)
}

fn named(act: &Act) -> (&'static str, Outline) {
    let mut keys = Keys::default();
    match act {
        Act::Restart => ("restart", nothing()),
        Act::Stop => ("stop", nothing()),
        Act::Failover => ("failover", nothing()),
        Act::Freeze => ("freeze", nothing()),
        Act::Thaw => ("thaw", nothing()),
        Act::Renice(nice) => ("renice", word(nice)),
        Act::Requeue(hook) => ("requeue", self::hook(hook)),
        Act::Exec(hook) => ("exec", self::hook(hook)),
        Act::Signal(signalled) => {
            keys.word("signal", SignalName(signalled.signal.into()));
            keys.word("all", signalled.all);
            ("signal", keys.done())
        }
        Act::Scale(scaling) => {
            keys.word("by", scaling.by);
            keys.span("cooldown", scaling.cooldown);
            ("scale", keys.done())
        }
        Act::Alert(alert) => {
            let severity = match alert.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            };
            keys.word("severity", severity);
            keys.maybe("message", alert.message.clone().map(Outline::Text));
            ("alert", keys.done())
        }
    }
}

fn hook(hook: &Hook) -> Outline {
    let mut keys = Keys::default();
    keys.put("command", texts(&hook.command));
    keys.span("timeout", hook.timeout);
    keys.done()
}

pub(super) fn failover(failover: &Failover) -> Outline {
    let mut keys = Keys::default();
    keys.put("standbys", texts(&failover.standbys));
    if let Some(demote) = &failover.demote {
        let mut inner = Keys::default();
        inner.put("command", texts(&demote.hook.command));
        inner.span("timeout", demote.hook.timeout);
        inner.word("required", demote.required);
        keys.put("demote", inner.done());
    }
    keys.put("fence", hook(&failover.fence));
    keys.put("promote", hook(&failover.promote));
    keys.word("budget", failover.budget);
    keys.done()
}
