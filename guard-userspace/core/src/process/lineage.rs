//! Who descends from whom.
//!
//! Two answers exist once a parent has died: the kernel hands its children to init or a
//! subreaper, but they still come from where they came. [`Table::ancestors`] gives the first,
//! [`Table::origins`] the second.

use std::sync::Arc;

use crate::event::Process;
use crate::ids::ProcId;
use crate::process::table::Table;

impl Table {
    /// The known ancestors of a process, its present parent first. A process whose parent died is
    /// below the dead one until a record tells its new parent.
    pub fn ancestors(&self, id: ProcId) -> impl Iterator<Item = &Arc<Process>> {
        self.upwards(id, |table, id| table.get(id).map(|process| process.parent))
    }

    /// The known processes that a process came from, the parent at its birth first.
    pub fn origins(&self, id: ProcId) -> impl Iterator<Item = &Arc<Process>> {
        self.upwards(id, |table, id| table.entries.get(id).map(|entry| entry.origin))
    }

    /// The living children of a process, in no order. Looks at every process: not for hot paths.
    pub fn children(&self, id: ProcId) -> impl Iterator<Item = &Arc<Process>> {
        self.living().filter(move |process| id.is_some() && process.parent == id)
    }

    /// Whether a process came from another or is below it now. No process descends from itself.
    #[must_use]
    pub fn is_descendant(&self, id: ProcId, of: ProcId) -> bool {
        let is_of = |process: &Arc<Process>| process.id == of;
        id != of && (self.origins(id).any(is_of) || self.ancestors(id).any(is_of))
    }

    /// Follows `above` until it leads to nobody known. The number of known processes bounds the
    /// way: records are not trusted to be free of circles.
    fn upwards(
        &self,
        id: ProcId,
        above: impl Fn(&Self, ProcId) -> Option<ProcId>,
    ) -> impl Iterator<Item = &Arc<Process>> {
        let mut below = id;
        std::iter::from_fn(move || {
            let process = self.get(above(self, below)?)?;
            below = process.id;
            Some(process)
        })
        .take(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit;

    fn id(pid: u32) -> ProcId {
        ProcId { pid, start_ns: u64::from(pid) * 10 }
    }

    fn pids<'a>(processes: impl Iterator<Item = &'a Arc<Process>>) -> Vec<u32> {
        let mut pids: Vec<_> = processes.map(|process| process.id.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// 1 -> 2 -> 3 -> 4
    fn family() -> Table {
        let mut table = Table::new(16, 16);
        for pid in 1..=4 {
            let mut task = testkit::task(pid, u64::from(pid) * 10);
            task.parent = testkit::key(pid - 1, u64::from(pid - 1) * 10);
            table.fork(&testkit::fork(task), Arc::default());
        }
        table
    }

    #[test]
    fn up_and_down() {
        let table = family();
        assert_eq!(table.ancestors(id(4)).map(|p| p.id.pid).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(pids(table.children(id(2))), [3]);
        assert_eq!(pids(table.children(ProcId::NONE)), Vec::<u32>::new());
        assert!(table.is_descendant(id(4), id(1)));
        assert!(!table.is_descendant(id(1), id(4)));
        assert!(!table.is_descendant(id(4), id(4)));
        assert_eq!(table.ancestors(id(99)).count(), 0);
    }

    #[test]
    fn the_adopted_still_come_from_where_they_came() {
        let mut table = family();
        let task = |pid, parent: u32| {
            let mut task = testkit::task(pid, u64::from(pid) * 10);
            task.parent = testkit::key(parent, u64::from(parent) * 10);
            task
        };
        table.exit(0, &task(3, 2), Arc::default());
        assert_eq!(pids(table.ancestors(id(4))), [1, 2, 3], "nobody told otherwise yet");
        table.see(0, &task(4, 1), Arc::default());
        assert_eq!(pids(table.ancestors(id(4))), [1]);
        assert_eq!(pids(table.origins(id(4))), [1, 2, 3]);
        assert!(table.is_descendant(id(4), id(2)));
        assert_eq!(pids(table.children(id(1))), [2, 4]);
    }

    #[test]
    fn circles_end() {
        let mut table = Table::new(16, 16);
        for (pid, parent) in [(1, 2), (2, 1)] {
            let mut task = testkit::task(pid, 10);
            task.parent = testkit::key(parent, 10);
            table.fork(&testkit::fork(task), Arc::default());
        }
        assert_eq!(table.ancestors(ProcId { pid: 1, start_ns: 10 }).count(), 2);
    }
}
