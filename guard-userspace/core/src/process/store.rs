//! Where processes are kept: dense, and found by pid.
//!
//! What an event costs must not depend on how many processes live, so few cache lines are touched for it, and most of them lately.
//! A process is a slot: a head of one cache line with its identity, its links and a note (what its children ask for), and beside
//! it, in another array, the rest. A pid leads to the newest process that has it, that to the one before. A newcomer takes the
//! slot of the one that makes room for it.

use crate::ids::ProcId;
use crate::process::pids::{NONE, Pids};

/// Processes, alive or gone. When one more would exceed the limit, the one gone for longest makes room, and if none is gone the
/// one alive for longest. Of the gone there may be fewer than of all. All operations take constant time, but for processes that share a pid.
#[derive(Debug)]
pub(super) struct Store<N, V> {
    /// The slot of the newest process of each pid.
    newest: Pids,
    heads: Vec<Head<N>>,
    values: Vec<Option<V>>,
    alive: Queue,
    gone: Queue,
    /// Slots without a process.
    free: Queue,
    len: usize,
    limit: usize,
    /// Processes that are gone, and how many of them may be kept.
    are_gone: usize,
    gone_limit: usize,
}

#[derive(Debug)]
#[repr(align(64))]
struct Head<N> {
    /// [`ProcId::NONE`]: the slot is free.
    id: ProcId,
    /// The slot of the one that had the pid before.
    older: u32,
    /// Neighbours in its queue.
    before: u32,
    behind: u32,
    alive: bool,
    note: N,
}

/// Slots in the order in which they came to it.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

impl<N: Default, V> Store<N, V> {
    /// For at most `limit` processes, and at least one, of whom at most `gone_limit` are gone.
    pub(super) fn keeping(limit: usize, gone_limit: usize) -> Self {
        Self {
            newest: Pids::default(),
            heads: vec![],
            values: vec![],
            alive: Queue::EMPTY,
            gone: Queue::EMPTY,
            free: Queue::EMPTY,
            len: 0,
            limit: limit.clamp(1, NONE as usize),
            are_gone: 0,
            gone_limit: gone_limit.max(1),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The newest process of a pid.
    pub(super) fn newest(&self, pid: u32) -> Option<ProcId> {
        self.head(self.newest.get(pid)).map(|head| head.id)
    }

    pub(super) fn get(&self, id: ProcId) -> Option<&V> {
        self.values.get(self.find(id)? as usize)?.as_ref()
    }

    /// What is noted in a process's head.
    pub(super) fn note(&self, id: ProcId) -> Option<&N> {
        self.head(self.find(id)?).map(|head| &head.note)
    }

    /// The slot of the newest process of a pid, or [`NONE`].
    pub(super) fn slot(&self, pid: u32) -> u32 {
        self.newest.get(pid)
    }

    /// What is noted in the head of a slot.
    pub(super) fn note_at(&self, slot: u32) -> Option<&N> {
        self.head(slot).map(|head| &head.note)
    }

    /// The rest of what a slot holds.
    pub(super) fn value_at(&self, slot: u32) -> Option<&V> {
        self.values.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ProcId) -> Option<(&mut N, &mut V)> {
        let slot = self.find(id)? as usize;
        Some((&mut self.heads.get_mut(slot)?.note, self.values.get_mut(slot)?.as_mut()?))
    }

    pub(super) fn is_alive(&self, id: ProcId) -> bool {
        self.find(id).and_then(|slot| self.head(slot)).is_some_and(|head| head.alive)
    }

    /// All processes and whether they are alive, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ProcId, &V, bool)> {
        let slots = self.heads.iter().zip(&self.values);
        slots.filter_map(|(head, value)| Some((head.id, value.as_ref()?, head.alive)))
    }

    /// Inserts a process, replacing one of the same identity. `current`: it is the newest of its pid from now on. Returns who had
    /// to go for it. One without a pid is not kept.
    pub(super) fn insert(
        &mut self,
        id: ProcId,
        note: N,
        value: V,
        alive: bool,
        current: bool,
    ) -> Option<ProcId> {
        if !id.is_some() {
            return None;
        }
        self.remove(id);
        let evicted = if self.len >= self.limit { self.evict() } else { None };
        let slot = self.room();
        let newest = self.newest.get(id.pid);
        let mut older = newest;
        match self.head_mut(newest) {
            Some(newest) if !current => older = std::mem::replace(&mut newest.older, slot),
            _ => self.newest.set(id.pid, slot),
        }
        if let (Some(head), Some(room)) =
            (self.heads.get_mut(slot as usize), self.values.get_mut(slot as usize))
        {
            *head = Head { id, older, before: NONE, behind: NONE, alive, note };
            *room = Some(value);
        }
        self.enqueue(slot, if alive { Which::Alive } else { Which::Gone });
        self.len += 1;
        if !alive {
            self.one_more_is_gone();
        }
        evicted
    }

    pub(super) fn remove(&mut self, id: ProcId) -> Option<V> {
        self.clear(self.find(id)?)
    }

    /// Marks a process as gone or as alive again. Nothing changes if it is so already.
    pub(super) fn set_alive(&mut self, id: ProcId, alive: bool) {
        let Some(slot) = self.find(id) else { return };
        let Some(head) = self.head_mut(slot).filter(|head| head.alive != alive) else { return };
        head.alive = alive;
        let [from, to] = if alive { [Which::Gone, Which::Alive] } else { [Which::Alive, Which::Gone] };
        self.dequeue(slot, from);
        self.enqueue(slot, to);
        if alive {
            self.are_gone -= 1;
        } else {
            self.one_more_is_gone();
        }
    }

    fn one_more_is_gone(&mut self) {
        self.are_gone += 1;
        if self.are_gone > self.gone_limit {
            self.clear(self.gone.first);
        }
    }

    fn evict(&mut self) -> Option<ProcId> {
        let slot = if self.gone.first == NONE { self.alive.first } else { self.gone.first };
        let id = self.head(slot)?.id;
        self.clear(slot);
        Some(id)
    }

    /// The slot of a process: along those that share its pid.
    fn find(&self, id: ProcId) -> Option<u32> {
        let mut slot = self.newest.get(id.pid);
        loop {
            let head = self.head(slot)?;
            if head.id == id {
                return Some(slot);
            }
            slot = head.older;
        }
    }

    /// Takes a process out of its slot.
    fn clear(&mut self, slot: u32) -> Option<V> {
        let &Head { id, older, alive, .. } = self.head(slot)?;
        self.dequeue(slot, if alive { Which::Alive } else { Which::Gone });
        self.are_gone -= usize::from(!alive);
        if self.newest.get(id.pid) == slot {
            self.newest.set(id.pid, older);
        } else {
            let mut newer = self.newest.get(id.pid);
            while let Some(head) = self.head_mut(newer) {
                if head.older == slot {
                    head.older = older;
                    break;
                }
                newer = head.older;
            }
        }
        let head = self.head_mut(slot)?;
        (head.id, head.note) = (ProcId::NONE, N::default());
        self.enqueue(slot, Which::Free);
        self.len -= 1;
        self.values.get_mut(slot as usize)?.take()
    }

    /// A slot to put a process in.
    fn room(&mut self) -> u32 {
        let free = self.free.last;
        if free != NONE {
            self.dequeue(free, Which::Free);
            return free;
        }
        let head = Head {
            id: ProcId::NONE,
            older: NONE,
            before: NONE,
            behind: NONE,
            alive: false,
            note: N::default(),
        };
        self.heads.push(head);
        self.values.push(None);
        // The limit is below `NONE`.
        u32::try_from(self.heads.len() - 1).unwrap_or(NONE)
    }

    fn enqueue(&mut self, slot: u32, which: Which) {
        let last = std::mem::replace(&mut self.queue(which).last, slot);
        match self.head_mut(last) {
            Some(last) => last.behind = slot,
            None => self.queue(which).first = slot,
        }
        if let Some(head) = self.head_mut(slot) {
            (head.before, head.behind) = (last, NONE);
        }
    }

    fn dequeue(&mut self, slot: u32, which: Which) {
        let Some(&Head { before, behind, .. }) = self.head(slot) else { return };
        match self.head_mut(before) {
            Some(before) => before.behind = behind,
            None => self.queue(which).first = behind,
        }
        match self.head_mut(behind) {
            Some(behind) => behind.before = before,
            None => self.queue(which).last = before,
        }
    }

    const fn queue(&mut self, which: Which) -> &mut Queue {
        match which {
            Which::Alive => &mut self.alive,
            Which::Gone => &mut self.gone,
            Which::Free => &mut self.free,
        }
    }

    fn head(&self, slot: u32) -> Option<&Head<N>> {
        self.heads.get(slot as usize)
    }

    fn head_mut(&mut self, slot: u32) -> Option<&mut Head<N>> {
        self.heads.get_mut(slot as usize)
    }
}

/// One of the queues.
#[derive(Clone, Copy, Debug)]
enum Which {
    Alive,
    Gone,
    Free,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::aged::Aged;

    #[derive(Clone, Debug)]
    enum Turn {
        Insert { id: ProcId, alive: bool, current: bool },
        Remove(ProcId),
        SetAlive(ProcId, bool),
    }

    fn turn() -> impl Strategy<Value = Turn> {
        let id = || (0_u32..6, 0_u64..4).prop_map(|(pid, start_ns)| ProcId { pid, start_ns });
        prop_oneof![
            4 => (id(), any::<bool>(), any::<bool>())
                .prop_map(|(id, alive, current)| Turn::Insert { id, alive, current }),
            1 => id().prop_map(Turn::Remove),
            3 => (id(), any::<bool>()).prop_map(|(id, alive)| Turn::SetAlive(id, alive)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Like a map with queues, and lists of who had which pid, the newest first.
        #[test]
        fn stores_what_a_map_stores(turns in proptest::collection::vec(turn(), 0..60), limit in 0_usize..8, gone in 0_usize..8) {
            let mut store: Store<u32, u32> = Store::keeping(limit, gone);
            let mut model = Aged::keeping(limit, gone);
            let mut pids: BTreeMap<u32, Vec<ProcId>> = BTreeMap::new();
            for (number, turn) in (0_u32..).zip(turns) {
                match turn {
                    Turn::Insert { id, alive, current } => {
                        if id.pid == 0 {
                            prop_assert_eq!(store.insert(id, number, number, alive, current), None);
                            continue;
                        }
                        let evicted = model.insert(id, number, alive);
                        prop_assert_eq!(store.insert(id, number, number, alive, current), evicted);
                        for gone in [Some(id), evicted].into_iter().flatten() {
                            pids.entry(gone.pid).or_default().retain(|&other| other != gone);
                        }
                        let same = pids.entry(id.pid).or_default();
                        same.insert(usize::from(!current && !same.is_empty()), id);
                    }
                    Turn::Remove(id) => {
                        prop_assert_eq!(store.remove(id), model.remove(id));
                        pids.entry(id.pid).or_default().retain(|&other| other != id);
                    }
                    Turn::SetAlive(id, alive) => {
                        store.set_alive(id, alive);
                        model.set_alive(id, alive);
                    }
                }
                prop_assert_eq!(store.len(), model.iter().count());
                let mut kept: Vec<_> = store.iter().map(|(id, &value, alive)| (id, value, alive)).collect();
                let mut expected: Vec<_> = model.iter().map(|(id, &value, alive)| (id, value, alive)).collect();
                kept.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(&kept, &expected);
                for (id, value, alive) in kept {
                    prop_assert_eq!(store.get(id), Some(&value));
                    prop_assert_eq!(store.note(id), Some(&value));
                    prop_assert_eq!(store.is_alive(id), alive);
                }
                for (&pid, ids) in &mut pids {
                    // Who had to go because too many are gone is told by nobody.
                    ids.retain(|&id| model.get(id).is_some());
                    prop_assert_eq!(store.newest(pid), ids.first().copied());
                }
                prop_assert!(store.heads.len() <= limit.max(1), "slots are used again");
            }
        }
    }
}
