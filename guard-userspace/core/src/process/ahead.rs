//! Looking ahead: what the next records will ask for is fetched at once, so that it is not waited for one by one.
//!
//! On a host with 100,000 processes most of them are in no cache. A record then waits for memory three times, and each place is
//! known only when the one before has come: the pid's slot, the slot's head, what hangs on it. Of many records together the first
//! places are all known, then all the second ones, then all the third, and the processor waits for many of them at once. So the
//! loops here are short, and each takes one step for all before the next takes another.

use std::hint::black_box;
use std::sync::Arc;

use guard_common::decode;
use guard_common::wire::Kind;

use crate::process::pids::NONE;
use crate::process::table::{Heritage, Table};

/// Records to look ahead at once: about 50 KiB of the ring, which must still be near when their turn comes. With 100,000 processes
/// that spawn in turn a record takes 239 ns with 32, 220 with 128, and 360 to 440 without.
pub const AHEAD: usize = 128;

/// Pids, or the slots that they lead to.
#[derive(Debug)]
struct Numbers {
    room: [u32; AHEAD],
    count: usize,
}

impl Numbers {
    const EMPTY: Self = Self { room: [NONE; AHEAD], count: 0 };

    fn push(&mut self, number: u32) {
        if let Some(room) = self.room.get_mut(self.count) {
            *room = number;
            self.count += 1;
        }
    }

    fn all(&mut self) -> &mut [u32] {
        self.room.get_mut(..self.count).unwrap_or_default()
    }
}

impl Table {
    /// Looks at what the next records, as they lie in the ring, will ask for; at [`AHEAD`] of them at most. It changes nothing, and
    /// nothing depends on it: a record that was not looked at just takes longer.
    pub fn look_ahead<'a>(&self, records: impl Iterator<Item = &'a [u8]>) {
        let (mut parents, mut subjects) = asked_for(records);
        self.fetch_heads(parents.all());
        self.fetch_heads(subjects.all());
        let rest = subjects.all().iter().filter_map(|&slot| self.entries.value_at(slot));
        black_box(rest.fold(0, |sum, entry| sum ^ Arc::strong_count(&entry.process)));
    }

    /// Looks at what is noted of processes, and turns their pids into slots.
    fn fetch_heads(&self, numbers: &mut [u32]) {
        for number in numbers.iter_mut() {
            *number = self.entries.slot(*number);
        }
        let heads = || numbers.iter().filter_map(|&slot| self.entries.note_at(slot));
        black_box(heads().fold(0, |sum, heritage| sum ^ heritage.exec_count));
        // Where the count is: who shares a program changes it.
        let shared = |heritage: &Heritage| heritage.program.as_ref().map_or(0, Arc::strong_count);
        black_box(heads().fold(0, |sum, heritage| sum ^ shared(heritage)));
    }
}

/// The pids of those whose children records tell of, and of those whom the other records are about.
fn asked_for<'a>(records: impl Iterator<Item = &'a [u8]>) -> (Numbers, Numbers) {
    let (mut parents, mut subjects) = (Numbers::EMPTY, Numbers::EMPTY);
    for (kind, subject, parent) in records.take(AHEAD).filter_map(decode::kin) {
        if kind == Kind::FORK {
            parents.push(parent.tgid);
        } else {
            subjects.push(subject.tgid);
        }
    }
    (parents, subjects)
}

#[cfg(test)]
mod tests {
    use guard_common::wire::{self, Task};

    use super::*;
    use crate::testkit;

    fn child(pid: u32, parent: u32) -> Task {
        Task { parent: testkit::key(parent, 10), ..testkit::task(pid, 20) }
    }

    #[test]
    fn a_fork_asks_for_the_parent_and_all_others_for_their_subject() {
        let (target, sender) = (child(6, 1), child(7, 1));
        let records: [Vec<u8>; 9] = [
            testkit::bytes(&testkit::fork(child(2, 1))).to_vec(),
            testkit::exec(child(3, 1)).encode(),
            testkit::bytes(&testkit::exit(child(4, 1), 0)).to_vec(),
            testkit::bytes(&testkit::listen(child(5, 1), 80)).to_vec(),
            testkit::bytes(&testkit::signal(target, 15, sender)).to_vec(),
            testkit::bytes(&testkit::oom(child(8, 1), 0)).to_vec(),
            testkit::cgroup(77, wire::CGROUP_MADE, "/a").encode(),
            vec![0; 40],
            testkit::bytes(&testkit::fork(child(9, 2))).to_vec(),
        ];
        let (mut parents, mut subjects) = asked_for(records.iter().map(Vec::as_slice));
        assert_eq!(parents.all(), [1, 2]);
        assert_eq!(subjects.all(), [3, 4, 5, 6, 8]);
        let many = records.iter().cycle().take(9 * AHEAD).map(Vec::as_slice);
        let (parents, subjects) = asked_for(many);
        assert!(
            (AHEAD / 2..=AHEAD).contains(&(parents.count + subjects.count)),
            "no more than are looked at"
        );
    }

    #[test]
    fn pids_become_slots_and_strangers_none() {
        let mut table = Table::new(8, 8);
        for pid in [3, 5] {
            table.fork(&testkit::fork(child(pid, 1)), Arc::default());
        }
        let mut numbers = [5, 4, 3, u32::MAX];
        table.fetch_heads(&mut numbers);
        assert_eq!(numbers, [1, NONE, 0, NONE]);
    }
}
