//! Watch groups: whom each follows, and what was told of its waits.

use rustc_hash::FxHashMap;

use crate::ids::ProcId;
use crate::latency::{GroupLatency, Latency};

/// The groups that follow a process.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: FxHashMap<u16, Group>,
    told: u64,
}

#[derive(Debug)]
struct Group {
    /// Whom it follows.
    root: ProcId,
    /// What was told already, and when.
    told: GroupLatency,
    told_ns: u64,
}

impl Groups {
    /// A group follows a process from now on. One that several processes share is known by the first.
    pub(crate) fn add(&mut self, now_ns: u64, group: u16, root: ProcId) {
        let told = GroupLatency::default();
        self.groups.entry(group).or_insert(Group { root, told, told_ns: now_ns });
    }

    /// The number of the next news, from 1.
    pub(crate) fn count(&mut self) -> u64 {
        self.told += 1;
        self.told
    }

    /// What a group waited since this was last asked, with its root. `None` if it did not wait, or nobody
    /// said whom it follows. The interval begins where the last one ended, told or not.
    pub(crate) fn news(
        &mut self,
        now_ns: u64,
        number: u16,
        waits: &GroupLatency,
    ) -> Option<(ProcId, Latency)> {
        let group = self.groups.get_mut(&number)?;
        let new = waits.since(&group.told);
        let interval_ns = now_ns.saturating_sub(group.told_ns);
        (group.told, group.told_ns) = (*waits, now_ns);
        (!new.is_empty()).then_some((group.root, Latency { group: number, interval_ns, waits: new }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_is_told() {
        let root = ProcId { pid: 7, start_ns: 70 };
        let mut groups = Groups::default();
        let mut waits = GroupLatency::default();
        waits.run_queue.buckets[3] = 5;
        assert_eq!(groups.news(10, 1, &waits), None, "nobody knows this group");
        groups.add(10, 1, root);
        groups.add(20, 1, ProcId::NONE);
        let told = Latency { group: 1, interval_ns: 100, waits };
        assert_eq!(groups.news(110, 1, &waits), Some((root, told)));
        assert_eq!(groups.news(210, 1, &waits), None);
        waits.run_queue.buckets[4] = 1;
        let (_, told) = groups.news(310, 1, &waits).unwrap();
        assert_eq!((told.interval_ns, told.waits.run_queue.count()), (100, 1));
    }
}
