//! All selectors at once.

use crate::event::Process;
use crate::policy::model::Origin;
use crate::policy::set::PolicySet;
use crate::select::matcher::{Matcher, Subject};

/// Place of a service in [`PolicySet::services`].
pub type Place = usize;

/// The selectors of all adopted services.
#[derive(Debug, Default)]
pub struct Index {
    matchers: Vec<(Place, Matcher)>,
}

impl Index {
    /// Compiles the selectors of a set.
    #[must_use]
    pub fn new(set: &PolicySet) -> Self {
        let adopted = set.services.iter().enumerate().filter_map(|(place, service)| match &service.origin {
            Origin::Adopt(adopt) => Some((place, Matcher::new(&adopt.matching, set)?)),
            Origin::Run(_) => None,
        });
        Self { matchers: adopted.collect() }
    }

    /// The services that a process belongs to, by what it runs and who it is; in order of name. `ports`: where it is known to
    /// listen.
    #[must_use]
    pub fn find(&self, process: &Process, ports: &[u16]) -> Vec<Place> {
        let subject = Subject::new(process, ports);
        let matching = self.matchers.iter().filter(|(_, matcher)| matcher.matches(&subject));
        matching.map(|&(place, _)| place).collect()
    }
}
