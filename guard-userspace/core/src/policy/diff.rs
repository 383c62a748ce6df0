//! What would change from one set of policies to another.

use std::collections::BTreeMap;

use super::model::{Origin, Service};
use super::outline;
use super::set::PolicySet;
use crate::supervise::{Disturbance, first_target};

/// A service, or what holds for the host, that is not the same in both sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The service's name; `None`: the host.
    pub service: Option<String>,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone: its instances are stopped, if we started them.
    Removed,
    /// Some of its keys have other values.
    Changed {
        /// Those, in the language's order.
        keys: Vec<KeyChange>,
        /// What becomes of its processes.
        processes: Processes,
    },
}

/// What a change does to the processes of a service: the supervisor's own judgement, see [`Disturbance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// They go on.
    GoOn,
    /// They go on, and others are started, or the last ones ended. A step may have scaled the service meanwhile: these are the
    /// policies' own numbers.
    Scaled {
        /// So many before.
        from: u32,
        /// So many after.
        to: u32,
    },
    /// They are ended and started anew, one after the other.
    Restarted,
    /// Others are looked for. What we started is stopped.
    Searched,
}

impl Processes {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GoOn => "go-on",
            Self::Scaled { .. } => "scale",
            Self::Restarted => "restart",
            Self::Searched => "search",
        }
    }

    fn between(old: &Service, new: &Service) -> Self {
        let (from, to) = (first_target(old), first_target(new));
        match Disturbance::between(old, new) {
            Disturbance::Restarted => Self::Restarted,
            Disturbance::Searched => Self::Searched,
            Disturbance::None if from != to && matches!(new.origin, Origin::Run(_)) => {
                Self::Scaled { from, to }
            }
            Disturbance::None => Self::GoOn,
        }
    }
}

/// A key with another value; `None`: it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The way to it, such as `checks.api.every`.
    pub key: String,
    /// In the first set.
    pub old: Option<String>,
    /// In the second set.
    pub new: Option<String>,
}

/// All differences, in order of name, the host last.
#[must_use]
pub fn diff(old: &PolicySet, new: &PolicySet) -> Vec<Difference> {
    let by_name = |set: &PolicySet| -> BTreeMap<String, Service> {
        set.services.iter().map(|service| (service.name.clone(), (**service).clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let change = match (before.get(name), after.get(name)) {
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (Some(one), Some(other)) if one != other => Some(Change::Changed {
                keys: keys(&outline::service(one).leaves(), &outline::service(other).leaves()),
                processes: Processes::between(one, other),
            }),
            _ => None,
        };
        differences.extend(change.map(|change| Difference { service: Some(name.clone()), change }));
    }
    if old.host != new.host {
        let keys = keys(&outline::host(&old.host).leaves(), &outline::host(&new.host).leaves());
        let change = Change::Changed { keys, processes: Processes::GoOn };
        differences.push(Difference { service: None, change });
    }
    differences
}

/// Keys with another value. Those that are new stand behind the one that they follow.
fn keys(old: &[(String, String)], new: &[(String, String)]) -> Vec<KeyChange> {
    let before: BTreeMap<&str, &str> =
        old.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let after: BTreeMap<&str, &str> = new.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let removed = old.iter().filter(|(key, _)| !after.contains_key(key.as_str()));
    let removed =
        removed.map(|(key, value)| KeyChange { key: key.clone(), old: Some(value.clone()), new: None });
    let changed = new.iter().filter_map(|(key, value)| {
        let old = before.get(key.as_str()).map(|old| (*old).to_owned());
        (old.as_ref() != Some(value)).then(|| KeyChange { key: key.clone(), old, new: Some(value.clone()) })
    });
    changed.chain(removed).collect()
}
