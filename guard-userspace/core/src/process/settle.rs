//! The table against the kernel's own list of processes.

use guard_common::wire::{Snapshot, TASK_ENDING, TASK_FILTERED, TASK_NEW, Task};
use rustc_hash::FxHashSet;

use crate::event::{Drift, Process};
use crate::ids::ProcId;
use crate::process::Cgroups;
use crate::process::table::{Ended, Table};

/// The host's first process: it cannot end, the kernel would panic.
const INIT: u32 = 1;

/// What came of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Living processes in the kernel's list.
    pub(crate) found: u64,
    /// How the table differed.
    pub(crate) drift: Drift,
    /// Those whose exit record was lost, in the order of their births, with what may explain it.
    pub(crate) ended: Vec<Ended>,
    /// Living processes whose program is not known.
    pub(crate) unread: Vec<(ProcId, u64)>,
    /// Those whose fork record may be yet to come: that they were not known is no loss.
    newborn: FxHashSet<ProcId>,
}

impl Table {
    /// Makes the table equal to the kernel's list, whose reading began at `taken_ns`. Every record
    /// from before its end must have been taken in: what the table then holds as living and the
    /// list lacks has ended unseen. The reverse is not so: what is not in the list may have been
    /// born since.
    pub(crate) fn settle(&mut self, taken_ns: u64, found: &[Snapshot], cgroups: &mut Cgroups) -> Settled {
        let mut settled = Settled::default();
        let mut listed = FxHashSet::default();
        for snapshot in found {
            listed.insert(self.resolve(snapshot.task.key));
            if snapshot.task.flags & TASK_ENDING == 0 {
                self.compare(snapshot, cgroups, &mut settled);
            }
        }
        self.end_missing(taken_ns, &listed, &mut settled);
        settled.unread = self
            .living()
            .filter(|process| !process.kernel_thread && process.program.is_none() && process.id.start_ns != 0)
            .map(|process| (process.id, process.exec_count))
            .collect();
        settled.unread.sort_unstable();
        let unread = settled.unread.iter().filter(|(id, _)| !settled.newborn.contains(id));
        settled.drift.programs = unread.count() as u64;
        settled
    }

    /// Takes in one listed process, unless a record said something newer about it.
    fn compare(&mut self, snapshot: &Snapshot, cgroups: &mut Cgroups, settled: &mut Settled) {
        let (time_ns, task) = (snapshot.header.time_ns, &snapshot.task);
        let told = task.flags & TASK_FILTERED == 0;
        let id = self.resolve(task.key);
        let cgroup = cgroups.get(task.cgroup_hierarchy, task.cgroup_id);
        let drift = &mut settled.drift;
        match self.entries.get(id) {
            Some(entry) if entry.ended => return,
            Some(entry) => {
                if entry.last_ns <= time_ns && told {
                    add_changes(drift, &entry.process, task, self.resolve(task.parent));
                }
            }
            None if self.is_provisional(id) => {}
            None if task.flags & TASK_NEW != 0 => {
                settled.newborn.insert(id);
            }
            None => drift.inserted += u64::from(told),
        }
        settled.found += u64::from(told);
        self.list(id, time_ns, task, cgroup);
    }

    /// Ends those that are not in the list, and those that were followed by another process with
    /// the same pid. The filtered end in silence: nobody was told of their lives.
    fn end_missing(&mut self, taken_ns: u64, listed: &FxHashSet<ProcId>, settled: &mut Settled) {
        let missing = self.entries.iter().filter(|(id, entry, alive)| {
            id.pid != INIT && !entry.ended && (!alive || entry.first_ns < taken_ns && !listed.contains(id))
        });
        let mut missing: Vec<_> = missing.map(|(id, entry, _)| (id.start_ns, id, entry.filtered)).collect();
        missing.sort_unstable();
        for (_, id, filtered) in missing {
            let Some(ended) = self.end(id) else { continue };
            if !filtered {
                settled.ended.push(ended);
            }
        }
        settled.drift.ended = settled.ended.len() as u64;
    }
}

/// Counts how a process differs from what the table held of it.
fn add_changes(drift: &mut Drift, known: &Process, task: &Task, parent: ProcId) {
    let users = [known.uid, known.gid, known.euid, known.egid];
    drift.parents += u64::from(known.parent != parent);
    drift.users += u64::from(users != [task.uid, task.gid, task.euid, task.egid]);
    drift.capabilities += u64::from(known.caps_effective != task.caps_effective);
    drift.names += u64::from(known.name != crate::event::Name::new(task.comm));
    drift.cgroups +=
        u64::from((known.cgroup.hierarchy, known.cgroup.id) != (task.cgroup_hierarchy, task.cgroup_id));
}
