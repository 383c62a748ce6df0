//! Control groups by id, and what their paths tell.

use std::sync::Arc;

use guard_common::decode;
use guard_common::wire::{self, CGROUP_REMOVED};

use crate::aged::Aged;
use crate::event::Cgroup;
use crate::process::cgroup_path;

/// Node id of every hierarchy's root: the first that kernfs gives out.
const ROOT_ID: u64 = 1;

/// Removed control groups that are kept. Records that name one come within a moment: a group is removed once nobody is in it.
const REMOVED: usize = 1_024;

/// All control groups seen, the latest removed ones among them: exit records of their last processes come later.
#[derive(Debug)]
pub(crate) struct Cgroups {
    known: Aged<(u32, u64), Arc<Cgroup>>,
    /// Of processes whose control group the kernel did not give.
    none: Arc<Cgroup>,
}

impl Cgroups {
    pub(crate) fn new(limit: usize) -> Self {
        Self { known: Aged::keeping(limit, REMOVED), none: Arc::default() }
    }

    /// The control group of an id; without a path until that is learned.
    pub(crate) fn get(&mut self, hierarchy: u32, id: u64) -> Arc<Cgroup> {
        if id == 0 {
            return Arc::clone(&self.none);
        }
        if let Some(cgroup) = self.known.get((hierarchy, id)) {
            return Arc::clone(cgroup);
        }
        let cgroup = Arc::new(Cgroup { id, hierarchy, ..Cgroup::default() });
        self.known.insert((hierarchy, id), Arc::clone(&cgroup), true);
        cgroup
    }

    /// The path of a control group, if it is known.
    pub(crate) fn path(&self, hierarchy: u32, id: u64) -> Option<&str> {
        self.known.get((hierarchy, id))?.path.as_deref()
    }

    /// The control group of an id, unless it is the root or none.
    pub(crate) fn below_root(&mut self, hierarchy: u32, id: u64) -> Option<Arc<Cgroup>> {
        (id > ROOT_ID).then(|| self.get(hierarchy, id))
    }

    /// A control group that exists has this path.
    pub(crate) fn learn(&mut self, hierarchy: u32, id: u64, path: &str) {
        self.put(hierarchy, id, path, true);
    }

    /// A control group came, went or changed its name.
    pub(crate) fn change(&mut self, record: &decode::Cgroup<'_>) {
        let wire::Cgroup { hierarchy, id, change, .. } = record.fixed;
        let path = String::from_utf8_lossy(record.path);
        let alive = change != CGROUP_REMOVED;
        if path.is_empty() {
            self.known.set_alive((hierarchy, id), alive);
        } else {
            self.put(hierarchy, id, &path, alive);
        }
    }

    /// Those not known to be removed, in no order.
    pub(crate) fn living(&self) -> impl Iterator<Item = &Arc<Cgroup>> {
        self.known.iter().filter_map(|(_, cgroup, alive)| alive.then_some(cgroup))
    }

    fn put(&mut self, hierarchy: u32, id: u64, path: &str, alive: bool) {
        if id == 0 {
            return;
        }
        let key = (hierarchy, id);
        match self.known.get_mut(key) {
            Some(known) if known.path.as_deref() == Some(path) => {}
            Some(known) => *known = Arc::new(cgroup_path::describe(hierarchy, id, path)),
            None => {
                let cgroup = Arc::new(cgroup_path::describe(hierarchy, id, path));
                self.known.insert(key, cgroup, alive);
            }
        }
        self.known.set_alive(key, alive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    const PATH: &str = "/system.slice/nginx.service";

    #[test]
    fn a_path_learned_later_shows_from_then_on() {
        let mut cgroups = Cgroups::new(8);
        assert_eq!(cgroups.get(0, 77).path, None);
        cgroups.learn(0, 77, PATH);
        assert_eq!(cgroups.get(0, 77).path.as_deref(), Some(PATH));
        assert_eq!(cgroups.get(3, 77).path, None, "ids belong to their hierarchy");
    }

    #[test]
    fn a_removed_one_is_kept_while_there_is_room_and_renaming_replaces() {
        let mut cgroups = Cgroups::new(2);
        let record = testkit::cgroup(77, wire::CGROUP_MADE, PATH);
        cgroups.change(&record.decoded());
        cgroups.change(&testkit::cgroup(77, wire::CGROUP_RENAMED, "/b").decoded());
        assert_eq!(cgroups.get(0, 77).path.as_deref(), Some("/b"));
        cgroups.change(&testkit::cgroup(77, CGROUP_REMOVED, "").decoded());
        assert_eq!(cgroups.get(0, 77).path.as_deref(), Some("/b"));
        cgroups.learn(0, 78, "/c");
        cgroups.learn(0, 79, "/d");
        assert_eq!(cgroups.get(0, 78).path.as_deref(), Some("/c"), "the removed one went first");
    }

    #[test]
    fn a_path_need_not_be_text() {
        let mut cgroups = Cgroups::new(2);
        let mut record = testkit::cgroup(77, wire::CGROUP_MADE, "");
        record.path = b"/a\xff".to_vec();
        cgroups.change(&record.decoded());
        assert_eq!(cgroups.get(0, 77).path.as_deref(), Some("/a\u{fffd}"));
    }

    #[test]
    fn root_and_none_are_not_below_the_root() {
        let mut cgroups = Cgroups::new(2);
        assert!(cgroups.below_root(0, 0).is_none());
        assert!(cgroups.below_root(0, 1).is_none());
        assert_eq!(cgroups.below_root(4, 9).map(|cgroup| (cgroup.hierarchy, cgroup.id)), Some((4, 9)));
    }
}
