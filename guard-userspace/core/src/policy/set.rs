//! All policies of a host.

use std::sync::Arc;

use super::model::{Host, Service};

/// Policies that were checked against each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// In order of name. Shared, so that a service whose policy did not change costs nothing on a reload.
    pub services: Vec<Arc<Service>>,
    /// What holds for the host.
    pub host: Host,
}
