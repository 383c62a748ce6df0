//! All policies of a host.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Host, Service};

mod check;
mod claims;
mod cycles;
mod load;
mod overlap;
mod pairs;

pub(super) use load::load;

/// Policies that were checked against each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// In order of name. Shared, so that a service whose policy did not change costs nothing on a reload.
    pub services: Vec<Arc<Service>>,
    /// What holds for the host.
    pub host: Host,
    /// The numbers of users that selectors name, as far as the host knows them: looked up by the shell when the set is put to use,
    /// empty before. A selector whose user is not here (and no number itself) matches nobody.
    pub users: BTreeMap<String, u32>,
}

#[cfg(test)]
mod tests;
