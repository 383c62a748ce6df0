//! Restarts: a program that ended and came again.
//!
//! A death is remembered until a process with the same executable starts, in the same group or
//! under the same parent; the two together are one restart of that executable in that group. A
//! supervised service, a worker that its master replaces and a loop in a script all look alike.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use guard_core::ids::ProcId;

/// Executables that are remembered at most.
const EXECUTABLES: usize = 4_096;

/// Deaths of one executable that wait for a successor at most.
const DEATHS: usize = 64;

/// Deaths without successor, and restarts so far, by executable.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    /// Hashed with a secret: paths are what anybody chooses.
    executables: HashMap<Box<[u8]>, Executable>,
}

#[derive(Clone, Debug, Default)]
struct Executable {
    ended: VecDeque<Ended>,
    /// Restarts by group.
    restarts: Vec<(Arc<str>, u32)>,
}

#[derive(Clone, Debug)]
struct Ended {
    parent: ProcId,
    group: Arc<str>,
}

impl Restarts {
    /// A process ended.
    pub(super) fn ended(&mut self, executable: &[u8], parent: ProcId, group: &Arc<str>) {
        if !self.executables.contains_key(executable) {
            if self.executables.len() >= EXECUTABLES {
                self.executables.retain(|_, known| !known.restarts.is_empty());
            }
            if self.executables.len() >= EXECUTABLES {
                return;
            }
            self.executables.insert(executable.into(), Executable::default());
        }
        if let Some(known) = self.executables.get_mut(executable) {
            if known.ended.len() >= DEATHS {
                known.ended.pop_front();
            }
            known.ended.push_back(Ended { parent, group: Arc::clone(group) });
        }
    }

    /// A process started: whether that makes good for a death.
    pub(super) fn started(&mut self, executable: &[u8], parent: ProcId, group: &Arc<str>) -> bool {
        let Some(known) = self.executables.get_mut(executable) else { return false };
        let replaced = |ended: &Ended| ended.group == *group || (parent.is_some() && ended.parent == parent);
        let Some(ended) = known.ended.iter().position(replaced).and_then(|at| known.ended.remove(at)) else {
            return false;
        };
        let before = known.count(&ended.group);
        match known.restarts.iter_mut().find(|(of, _)| of == group) {
            Some((_, count)) => *count += 1,
            // It came back elsewhere (a new scope for each run): its history comes along.
            None => known.restarts.push((Arc::clone(group), before + 1)),
        }
        true
    }

    /// Restarts of an executable in a group so far.
    pub(super) fn of(&self, executable: &[u8], group: &str) -> u32 {
        self.executables.get(executable).map_or(0, |known| known.count(group))
    }

    /// Forgets the groups that are no more.
    pub(super) fn keep_groups(&mut self, exists: impl Fn(&str) -> bool) {
        for known in self.executables.values_mut() {
            // Who still has a death to make good for may come back elsewhere.
            let waits = |group: &Arc<str>| known.ended.iter().any(|ended| ended.group == *group);
            known.restarts.retain(|(group, _)| exists(group) || waits(group));
        }
    }
}

impl Executable {
    fn count(&self, group: &str) -> u32 {
        self.restarts.iter().find(|(of, _)| **of == *group).map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: ProcId = ProcId { pid: 10, start_ns: 1 };
    const OTHER: ProcId = ProcId { pid: 20, start_ns: 2 };

    #[test]
    fn a_start_makes_good_for_one_death() {
        let (web, db) = (Arc::from("web"), Arc::from("db"));
        let mut restarts = Restarts::default();
        assert!(!restarts.started(b"/bin/x", MASTER, &web), "the first start of all");
        restarts.ended(b"/bin/x", MASTER, &web);
        assert!(!restarts.started(b"/bin/y", MASTER, &web), "another program");
        assert!(!restarts.started(b"/bin/x", OTHER, &db), "another parent and group");
        assert!(restarts.started(b"/bin/x", OTHER, &web), "the same group");
        assert!(!restarts.started(b"/bin/x", MASTER, &web), "the death is made good for");
        assert_eq!((restarts.of(b"/bin/x", "web"), restarts.of(b"/bin/x", "db")), (1, 0));
    }

    #[test]
    fn history_moves_with_a_program_to_its_parents_next_group() {
        let mut restarts = Restarts::default();
        for run in 1..=3 {
            let (from, to): (Arc<str>, Arc<str>) =
                (format!("run-{run}.scope").into(), format!("run-{}.scope", run + 1).into());
            restarts.ended(b"/bin/x", MASTER, &from);
            assert!(restarts.started(b"/bin/x", MASTER, &to));
            restarts.keep_groups(|group| group == &*to);
            assert_eq!(restarts.of(b"/bin/x", &to), run);
            assert_eq!(restarts.of(b"/bin/x", &from), 0);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let group = Arc::from("g");
        let mut restarts = Restarts::default();
        for number in 0..2 * EXECUTABLES {
            let executable = number.to_string();
            restarts.ended(executable.as_bytes(), MASTER, &group);
            restarts.ended(executable.as_bytes(), MASTER, &group);
            restarts.started(executable.as_bytes(), MASTER, &group);
        }
        assert_eq!(restarts.executables.len(), EXECUTABLES);
        for _ in 0..2 * DEATHS {
            restarts.ended(b"0", MASTER, &group);
        }
        assert_eq!(restarts.executables.get(b"0".as_slice()).map(|known| known.ended.len()), Some(DEATHS));
    }
}
