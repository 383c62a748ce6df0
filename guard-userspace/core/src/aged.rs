//! A map of bounded size that forgets the gone first.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Entries are alive or gone. When one more would exceed the limit, the one gone for longest
/// makes room, and if none is gone the one alive for longest. Of the gone there may be fewer than of all.
/// All operations take constant time, amortised.
#[derive(Debug)]
pub(crate) struct Aged<K, V> {
    slots: FxHashMap<K, Slot<V>>,
    alive: VecDeque<(u64, K)>,
    gone: VecDeque<(u64, K)>,
    stamps: u64,
    limit: usize,
    /// Entries that are gone, and how many of them may be kept.
    are_gone: usize,
    gone_limit: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    alive: bool,
    /// Tells the slot's one valid place in the queues from its outdated ones.
    stamp: u64,
}

impl<K: Copy + Eq + Hash, V> Aged<K, V> {
    /// An empty map for at most `limit` entries, and at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self::keeping(limit, limit)
    }

    /// The same, of which at most so many are gone.
    pub(crate) fn keeping(limit: usize, gone_limit: usize) -> Self {
        Self {
            slots: FxHashMap::default(),
            alive: VecDeque::new(),
            gone: VecDeque::new(),
            stamps: 0,
            limit: limit.max(1),
            are_gone: 0,
            gone_limit: gone_limit.max(1),
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.slots.get(&key).map(|slot| &slot.value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.slots.get_mut(&key).map(|slot| &mut slot.value)
    }

    /// All entries and whether they are alive, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V, bool)> {
        self.slots.iter().map(|(&key, slot)| (key, &slot.value, slot.alive))
    }

    /// Inserts an entry, replacing one of the same key. Returns the key that had to go for it.
    pub(crate) fn insert(&mut self, key: K, value: V, alive: bool) -> Option<K> {
        let full = self.slots.len() >= self.limit && !self.slots.contains_key(&key);
        let evicted = if full { self.evict() } else { None };
        self.remove(key);
        let stamp = self.enqueue(key, alive);
        self.slots.insert(key, Slot { value, alive, stamp });
        if !alive {
            self.one_more_is_gone();
        }
        evicted
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.remove(&key)?;
        self.are_gone -= usize::from(!slot.alive);
        Some(slot.value)
    }

    /// Marks an entry as gone or as alive again. Nothing changes if it is so already.
    pub(crate) fn set_alive(&mut self, key: K, alive: bool) {
        let stamp = self.stamps + 1;
        let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.alive != alive) else { return };
        (slot.alive, slot.stamp) = (alive, stamp);
        self.enqueue(key, alive);
        if alive {
            self.are_gone -= 1;
        } else {
            self.one_more_is_gone();
        }
    }

    fn one_more_is_gone(&mut self) {
        self.are_gone += 1;
        if self.are_gone > self.gone_limit {
            Self::pop(&mut self.gone, &mut self.slots);
            self.are_gone -= 1;
        }
    }

    /// Puts a key at the end of its queue and gives its place's stamp.
    fn enqueue(&mut self, key: K, alive: bool) -> u64 {
        let queue = if alive { &mut self.alive } else { &mut self.gone };
        // At most as many places are valid as there are entries, so at least as many outdated ones were added, or
        // entries removed, since the last time: constant time for each.
        if queue.len() > 2 * self.slots.len() + 16 {
            queue.retain(|&(stamp, key)| self.slots.get(&key).is_some_and(|slot| slot.stamp == stamp));
        }
        self.stamps += 1;
        queue.push_back((self.stamps, key));
        self.stamps
    }

    fn evict(&mut self) -> Option<K> {
        let gone = Self::pop(&mut self.gone, &mut self.slots);
        self.are_gone -= usize::from(gone.is_some());
        gone.or_else(|| Self::pop(&mut self.alive, &mut self.slots))
    }

    /// Removes the entry whose place in this queue is the oldest valid one.
    fn pop(queue: &mut VecDeque<(u64, K)>, slots: &mut FxHashMap<K, Slot<V>>) -> Option<K> {
        while let Some((stamp, key)) = queue.pop_front() {
            if let Entry::Occupied(slot) = slots.entry(key)
                && slot.get().stamp == stamp
            {
                slot.remove();
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gone_go_first_and_the_oldest_of_them() {
        let mut map = Aged::new(4);
        for key in 0..4 {
            assert_eq!(map.insert(key, (), true), None);
        }
        map.set_alive(2, false);
        map.set_alive(1, false);
        let evicted: Vec<_> = (4..9).filter_map(|key| map.insert(key, (), true)).collect();
        assert_eq!(evicted, [2, 1, 0, 3, 4]);
        assert_eq!(map.slots.len(), 4);
    }

    #[test]
    fn fewer_may_be_gone_than_alive() {
        let mut map = Aged::keeping(8, 2);
        for key in 0..6 {
            map.insert(key, (), true);
        }
        for key in [3, 1, 4] {
            map.set_alive(key, false);
        }
        map.insert(6, (), false);
        let mut left: Vec<_> = map.iter().map(|(key, _, alive)| (key, alive)).collect();
        left.sort_unstable();
        assert_eq!(left, [(0, true), (2, true), (4, false), (5, true), (6, false)]);
        map.set_alive(4, true);
        map.remove(6);
        assert_eq!(map.are_gone, 0);
    }

    #[test]
    fn the_revived_are_alive() {
        let mut map = Aged::new(2);
        map.insert(0, (), true);
        map.insert(1, (), true);
        map.set_alive(0, false);
        map.set_alive(0, true);
        assert_eq!(map.insert(2, (), true), Some(1));
        assert!(map.slots[&0].alive);
    }

    #[test]
    fn queues_stay_bounded_however_often_entries_come_and_go() {
        let mut map = Aged::new(8);
        for round in 0..1000 {
            let key = round % 3;
            map.remove(key);
            map.insert(key, (), true);
            map.set_alive(key, false);
            map.set_alive(key, true);
        }
        assert_eq!(map.slots.len(), 3);
        assert!(map.alive.len() <= 32 && map.gone.len() <= 32);
    }

    #[test]
    fn a_limit_of_zero_still_holds_the_newest() {
        let mut map = Aged::new(0);
        assert_eq!(map.insert('a', (), true), None);
        assert_eq!(map.insert('b', (), true), Some('a'));
    }
}
