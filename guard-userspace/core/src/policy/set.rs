//! All policies of a host.

use super::model::{Host, Service};

/// Policies that were checked against each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// In order of name.
    pub services: Vec<Service>,
    /// What holds for the host.
    pub host: Host,
}
