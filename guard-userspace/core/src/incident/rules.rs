//! What incidents need to know of policies.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::PolicySet;
use crate::policy::model::{Act, Ladder, Span};

/// By service.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<String, Rule>);

#[derive(Debug)]
struct Rule {
    rto_ns: Option<Span>,
    /// Checks that say whether it is well: not those that only change the number of instances.
    of_health: BTreeSet<String>,
}

impl Rules {
    pub(super) fn new(set: &PolicySet) -> Self {
        let only_scales = |ladder: &Ladder| ladder.steps.iter().all(|step| matches!(step.act, Act::Scale(_)));
        let rule = |service: &crate::policy::model::Service| {
            let well = |name: &str| !service.actions.get(name).is_some_and(only_scales);
            let names = service.checks.iter().map(|check| check.name.clone());
            Rule { rto_ns: service.rto, of_health: names.filter(|name| well(name)).collect() }
        };
        Self(set.services.iter().map(|service| (service.name.clone(), rule(service))).collect())
    }

    /// Whether it has a policy.
    pub(super) fn knows(&self, service: &str) -> bool {
        self.0.contains_key(service)
    }

    /// How long it may be down.
    pub(super) fn rto_ns(&self, service: &str) -> Option<u64> {
        self.0.get(service)?.rto_ns
    }

    /// Whether a check that fails means that the service is not well.
    pub(super) fn is_of_health(&self, service: &str, check: &str) -> bool {
        self.0.get(service).is_some_and(|rule| rule.of_health.contains(check))
    }
}
