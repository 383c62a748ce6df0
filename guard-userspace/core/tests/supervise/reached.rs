//! What random lives got to: a rule that nothing ever comes near is not tested.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::supervise::{ActionId, Command, Deed, Notice, Plan, ServiceState, What};

/// What lives must get to, each many times in a run. `Reached` counts all of them.
pub(crate) const ALL: [&str; 43] = [
    "start",
    "restart",
    "a start that counts against no budget",
    "stop by signal",
    "kill of what ignored its signal",
    "start that fails",
    "waiting for what it depends on",
    "ready",
    "a check fails",
    "a check passes",
    "a check is unknown",
    "a ladder's step",
    "backoff",
    "a second backoff, which may not be shorter",
    "backoff reset",
    "budget of a service spent",
    "budget of a group spent",
    "budget of the host spent",
    "slow try",
    "never to be restarted",
    "a job that succeeded",
    "approval asked",
    "approval granted",
    "approval refused",
    "approval too late",
    "breaker open",
    "fallback of a breaker",
    "scale up",
    "scale down",
    "scale to the most",
    "scale to the fewest",
    "cooldown",
    "failover",
    "demote",
    "fence",
    "fence that fails",
    "promotion",
    "promotion that fails",
    "a gap withholds",
    "adoption",
    "restart by somebody else",
    "only observed",
    "replaced by a reload",
];

/// How often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    counts: BTreeMap<&'static str, u64>,
    approved: BTreeSet<ActionId>,
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.counts.iter().try_for_each(|(what, count)| writeln!(f, "{count:>8} {what}"))
    }
}

impl Reached {
    /// What the lives of a run got to less often than this.
    pub(crate) fn lacks(&self, least: u64) -> Vec<String> {
        let count = |what: &&'static str| self.counts.get(what).copied().unwrap_or_default();
        let rare = ALL.iter().filter(|what| count(what) < least);
        rare.map(|what| format!("{what}: {} times", count(what))).collect()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// Once more.
    pub(crate) fn count(&mut self, what: &'static str) {
        debug_assert!(ALL.contains(&what), "{what} is not in the list");
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn command(&mut self, command: &Command) {
        if let Command::Approve(id) = command {
            self.approved.insert(*id);
        }
    }

    pub(crate) fn plan(&mut self, plan: &Plan) {
        if !plan.act {
            return self.count("only observed");
        }
        if self.approved.contains(&plan.id) {
            self.count("approval granted");
        }
        let because = &plan.because;
        if because.step.is_some() {
            self.count("a ladder's step");
        }
        if because.what.contains("one try every") && matches!(plan.deed, Deed::Start { .. }) {
            self.count("slow try");
        }
        if let Some((from, to)) = scaled(&because.what) {
            self.count(if from < to { "scale up" } else { "scale down" });
        }
        match &plan.deed {
            Deed::Start { .. } => {
                self.count("start");
                let restart = because.restarts_left.is_some();
                self.count(if restart { "restart" } else { "a start that counts against no budget" });
                if because.what.contains("runs something else now") {
                    self.count("replaced by a reload");
                }
            }
            Deed::RestartVia { .. } => self.count("restart by somebody else"),
            Deed::Signal { .. } => self.count("stop by signal"),
            Deed::Kill { .. } => self.count("kill of what ignored its signal"),
            Deed::Run { purpose: "exec", .. } => self.count("fallback of a breaker"),
            Deed::Run { purpose: "demote", .. } => {
                self.count("failover");
                self.count("demote");
            }
            _ => {}
        }
    }

    pub(crate) fn hook(&mut self, purpose: &str, works: bool) {
        match (purpose, works) {
            ("fence", true) => self.count("fence"),
            ("fence", false) => self.count("fence that fails"),
            ("promote", true) => self.count("promotion"),
            ("promote", false) => self.count("promotion that fails"),
            _ => {}
        }
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        match &notice.what {
            What::State { from, to, why } => self.state(*from, *to, why),
            What::Check { state, .. } => self.count(match state {
                guard_core::health::CheckState::Passing => "a check passes",
                guard_core::health::CheckState::Failing => "a check fails",
                guard_core::health::CheckState::Unknown => "a check is unknown",
            }),
            What::Waits { .. } => self.count("approval asked"),
            What::Withheld { why, .. } => self.withheld(why),
            What::Outcome { failed: Some(why), .. } if why == "no such file" => {
                self.count("start that fails")
            }
            _ => {}
        }
    }

    fn state(&mut self, from: ServiceState, to: ServiceState, why: &str) {
        match to {
            ServiceState::Waiting => self.count("waiting for what it depends on"),
            ServiceState::Healthy if from == ServiceState::Starting => {
                self.count("ready");
            }
            ServiceState::BackingOff => self.count("backoff"),
            ServiceState::Stopped if why.contains("exit code 0") => self.count("a job that succeeded"),
            ServiceState::Held if why.contains("did not help") => self.count("breaker open"),
            ServiceState::Held if why.contains("must not be restarted") => {
                self.count("never to be restarted");
            }
            ServiceState::Held if why.contains("are spent") => self.count(if why.contains("for the group") {
                "budget of a group spent"
            } else if why.contains("for the host") {
                "budget of the host spent"
            } else {
                "budget of a service spent"
            }),
            _ => {}
        }
    }

    fn withheld(&mut self, why: &str) {
        let known = [
            ("it was denied", "approval refused"),
            ("nobody approved it in time", "approval too late"),
            ("the most that its policy allows", "scale to the most"),
            ("the fewest that its policy allows", "scale to the fewest"),
            ("it was scaled lately", "cooldown"),
            ("records were lost", "a gap withholds"),
        ];
        for (text, what) in known {
            if why.contains(text) {
                self.count(what);
            }
        }
    }
}

/// `...: from 2 to 3 instances`
fn scaled(why: &str) -> Option<(u32, u32)> {
    let (_, numbers) = why.strip_suffix(" instances")?.rsplit_once(" from ")?;
    let (from, to) = numbers.split_once(" to ")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
