//! All processes that are known, the living and the recently ended.
//!
//! A process enters by the snapshot at start or by the first record about it: every record
//! carries the whole process. The snapshot is taken after the programs were attached, so the
//! records that follow it tell part of the same story again. That is harmless: a process already
//! known is only brought up to date, and the last record about it wins.
//!
//! ```text
//!            snapshot, fork, any record       exit; missing in a resync; a newer one has the pid
//!  (unknown) --------------------------> Alive -----------------------------------------> Gone
//!                                          |  no room, nobody is gone                      | no room
//!                                          +-----------------> (forgotten) <---------------+
//! ```

use std::sync::Arc;

use crate::event::{Cgroup, Exec, Name, Process, Program};
use crate::ids::ProcId;
use crate::limits::FORK_DELAY_NS;
use crate::process::cause::Evidence;
use crate::process::store::Store;
use crate::process::{convert, program};
use guard_common::decode;
use guard_common::wire::{self, EXEC_SECURE, ProcKey, TASK_FILTERED, Task, UNKNOWN};

/// The process table.
#[derive(Debug)]
pub struct Table {
    pub(super) entries: Store<Heritage, Entry>,
}

/// What a process's children ask for, kept where it is found fast: as it is in [`Entry::process`].
#[derive(Debug, Default)]
pub(super) struct Heritage {
    name: Name,
    pub(super) exec_count: u64,
    pub(super) program: Option<Arc<Program>>,
}

impl Heritage {
    fn of(process: &Process) -> Self {
        Self { name: process.name, exec_count: process.exec_count, program: process.program.clone() }
    }

    /// Takes over what is new in a process.
    fn update(&mut self, process: &Process) {
        (self.name, self.exec_count) = (process.name, process.exec_count);
        let same = match (&self.program, &process.program) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.program.clone_from(&process.program);
        }
    }
}

/// One process.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it was when last seen; shared with the events that show it so.
    pub(super) process: Arc<Process>,
    /// Who was its parent when it was first seen: unlike the parent, it never changes.
    pub(super) origin: ProcId,
    birth: Birth,
    milestones: Milestones,
    /// Time of the record that brought it in; 0: it was there before.
    pub(super) first_ns: u64,
    /// Time of the last record about it.
    pub(super) last_ns: u64,
    /// Its end was told. It can be gone before that: when a newer process has its pid.
    pub(super) ended: bool,
    /// The sensor's filters leave it out: its end makes no record.
    pub(super) filtered: bool,
    /// What may explain its death; dropped then.
    evidence: Option<Box<Evidence>>,
}

/// How much of a process's beginning was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    /// No fork record.
    Unseen,
    /// A fork record, and no exec since.
    Forked,
    /// A fork record and an exec.
    Execed,
}

/// What the exit record will say of a process's beginning. All times are since boot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Milestones {
    /// From start to the first exec, if both were seen.
    pub(crate) fork_to_exec_ns: Option<u64>,
    first_exec_ns: Option<u64>,
    first_listen_ns: Option<u64>,
}

impl Milestones {
    /// From the first exec that was seen to the first listening socket after it.
    pub(crate) fn exec_to_listen_ns(self) -> Option<u64> {
        Some(self.first_listen_ns?.saturating_sub(self.first_exec_ns?))
    }
}

/// A process that has just ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As it was at its end.
    pub(crate) process: Arc<Process>,
    /// What may explain its death.
    pub(crate) evidence: Option<Box<Evidence>>,
    pub(crate) milestones: Milestones,
}

impl Table {
    /// Of at most `limit` processes, of whom at most `ended` have ended.
    pub(crate) fn new(limit: usize, ended: usize) -> Self {
        Self { entries: Store::keeping(limit, ended) }
    }

    /// How many processes are known, ended ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no process is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A process as it was when last seen.
    #[must_use]
    pub fn get(&self, id: ProcId) -> Option<&Arc<Process>> {
        self.entries.get(id).map(|entry| &entry.process)
    }

    /// The process that has a pid, or had it last.
    #[must_use]
    pub fn current(&self, pid: u32) -> Option<&Arc<Process>> {
        self.get(self.entries.newest(pid)?)
    }

    /// The process that had a pid at a time. Looks at every process if it is not the current one.
    pub(crate) fn at(&self, pid: u32, time_ns: u64) -> Option<&Arc<Process>> {
        let begun = |process: &&Arc<Process>| process.id.start_ns <= time_ns;
        self.current(pid).filter(begun).or_else(|| {
            let processes = self.entries.iter().map(|(_, entry, _)| &entry.process);
            processes.filter(|process| process.id.pid == pid).filter(begun).max_by_key(|process| process.id)
        })
    }

    /// Whether a process is known and not known to have ended.
    #[must_use]
    pub fn is_alive(&self, id: ProcId) -> bool {
        self.entries.is_alive(id)
    }

    /// All processes not known to have ended, in no order.
    pub fn living(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.entries.iter().filter_map(|(_, entry, alive)| alive.then_some(&entry.process))
    }

    /// Identity of a process in a record. A hook that could not give the start time means the
    /// process that has the pid now.
    pub(crate) fn resolve(&self, key: ProcKey) -> ProcId {
        if key.start_ns != 0 || key.tgid == 0 {
            return ProcId::from(key);
        }
        self.entries.newest(key.tgid).unwrap_or(ProcId::from(key))
    }

    /// Takes in a process that the task iterator found.
    pub(crate) fn snapshot(&mut self, task: &Task, program: Option<Arc<Program>>, cgroup: Arc<Cgroup>) {
        let id = self.resolve(task.key);
        self.observe(id, 0, task, cgroup, program, |entry, _| {
            entry.filtered = task.flags & TASK_FILTERED != 0;
        });
    }

    /// Takes in a process that the kernel lists in a comparison, unless the table knows better.
    pub(super) fn list(&mut self, id: ProcId, time_ns: u64, task: &Task, cgroup: Arc<Cgroup>) {
        let filtered = task.flags & TASK_FILTERED != 0;
        match self.entries.get_mut(id) {
            Some((_, entry)) if entry.last_ns > time_ns => entry.filtered = filtered,
            _ => {
                self.observe(id, time_ns, task, cgroup, None, |entry, _| entry.filtered = filtered);
            }
        }
    }

    /// Takes in a program that was read after its exec record was lost.
    pub(crate) fn learn(&mut self, id: ProcId, exec_count: u64, program: Arc<Program>) {
        let Some((heritage, entry)) = self.entries.get_mut(id).filter(|(_, entry)| !entry.ended) else {
            return;
        };
        if entry.process.exec_count == exec_count && entry.process.program.is_none() {
            Arc::make_mut(&mut entry.process).program = Some(program);
            heritage.update(&entry.process);
        }
    }

    /// Takes in a fork. The child runs its parent's program.
    pub(crate) fn fork(&mut self, record: &wire::Fork, cgroup: Arc<Cgroup>) -> Arc<Process> {
        let task = &record.child;
        let id = self.forked(record);
        let parent = self.resolve(task.parent);
        let (parent_name, inherited) = match self.entries.note(parent) {
            // Another number: an exec of the parent was lost, or is told after this.
            Some(parent) if parent.exec_count != task.exec_count => (parent.name, None),
            Some(parent) => (parent.name, parent.program.clone()),
            None => (Name::default(), None),
        };
        let child = |program| convert::process(id, task, (parent, parent_name), cgroup, program);
        if let Some((_, entry)) = self.entries.get_mut(id) {
            // The snapshot saw it later than this record: it knows better what the process is
            // now, the record knows how it began.
            if entry.birth == Birth::Unseen {
                entry.birth = Birth::Forked;
                entry.origin = parent;
            }
            return Arc::new(child(entry.process.program.clone().or(inherited)));
        }
        let process = Arc::new(child(inherited));
        let start_ns = if id.start_ns == 0 { record.header.time_ns } else { id.start_ns };
        self.insert(id, start_ns, Entry::new(Arc::clone(&process), Birth::Forked, record.header.time_ns));
        process
    }

    /// Takes in an exec.
    pub(crate) fn exec(&mut self, record: &decode::Exec<'_>, cgroup: Arc<Cgroup>) -> (Arc<Process>, Exec) {
        let fixed = &record.fixed;
        let task = &fixed.task;
        let id = self.resolve(task.key);
        let program = Some(Arc::new(program::of(record)));
        let time_ns = fixed.header.time_ns;
        let (process, (since_fork_ns, before)) =
            self.observe(id, time_ns, task, cgroup, program, |entry, before| {
                let mut since_fork_ns = None;
                if entry.birth == Birth::Forked {
                    entry.birth = Birth::Execed;
                    since_fork_ns =
                        (id.start_ns != 0).then(|| fixed.header.time_ns.saturating_sub(id.start_ns));
                    entry.milestones.fork_to_exec_ns = since_fork_ns;
                }
                entry.milestones.first_exec_ns.get_or_insert(fixed.header.time_ns);
                (since_fork_ns, before)
            });
        let exec = Exec {
            calling_thread: fixed.old_tid,
            caps_gained: match fixed.caps_gained {
                UNKNOWN => before.map_or(0, |before| task.caps_effective & !before),
                gained => gained,
            },
            secure: fixed.flags & EXEC_SECURE != 0,
            since_fork_ns,
        };
        (process, exec)
    }

    /// Takes in the end of a process and gives what may explain it. The event keeps the program,
    /// the table does not: thousands of the ended with kilobytes of arguments each are no bound.
    pub(crate) fn exit(&mut self, time_ns: u64, task: &Task, cgroup: Arc<Cgroup>) -> Ended {
        let id = self.resolve(task.key);
        let (process, (evidence, milestones)) =
            self.observe(id, time_ns, task, cgroup, None, |entry, _| (entry.end(), entry.milestones));
        self.entries.set_alive(id, false);
        Ended { process, evidence, milestones }
    }

    /// Takes in a socket that starts to listen.
    pub(crate) fn listen(&mut self, record: &wire::Listen, cgroup: Arc<Cgroup>) -> Arc<Process> {
        let id = self.resolve(record.task.key);
        let (process, ()) =
            self.observe(id, record.header.time_ns, &record.task, cgroup, None, |entry, _| {
                // A socket from before the exec tells nothing of what the program needs to begin.
                if entry.milestones.first_exec_ns.is_some() {
                    entry.milestones.first_listen_ns.get_or_insert(record.header.time_ns);
                }
            });
        process
    }

    /// Ends a process without a record.
    pub(super) fn end(&mut self, id: ProcId) -> Option<Ended> {
        let (heritage, entry) = self.entries.get_mut(id)?;
        let process = Arc::clone(&entry.process);
        let (evidence, milestones) = (entry.end(), entry.milestones);
        heritage.update(&entry.process);
        self.entries.set_alive(id, false);
        Some(Ended { process, evidence, milestones })
    }

    /// Takes in a process that a record of another kind is about.
    pub(crate) fn see(&mut self, time_ns: u64, task: &Task, cgroup: Arc<Cgroup>) -> Arc<Process> {
        let id = self.resolve(task.key);
        self.observe(id, time_ns, task, cgroup, None, |_, _| ()).0
    }

    /// Takes in where a process is, from who looked at all that live. `None` if it is not known to live: its first
    /// record is to come or was lost, or its last one has just come.
    pub(crate) fn place(&mut self, id: ProcId, cgroup: Arc<Cgroup>) -> Option<Arc<Process>> {
        if let Some(mut entry) = self.take_provisional(id) {
            entry.process = Arc::new(Process { id, ..Process::clone(&entry.process) });
            self.insert(id, id.start_ns, entry);
        }
        let alive = self.entries.is_alive(id);
        let (_, entry) = self.entries.get_mut(id).filter(|_| alive)?;
        if entry.process.cgroup != cgroup {
            let moved = Process { cgroup, ..Process::clone(&entry.process) };
            update(&mut entry.process, moved);
        }
        Some(Arc::clone(&entry.process))
    }

    /// Where to remember what may explain the death of a process that did not end yet.
    pub(crate) fn evidence(&mut self, id: ProcId) -> Option<&mut Evidence> {
        let (_, entry) = self.entries.get_mut(id).filter(|(_, entry)| !entry.ended)?;
        Some(entry.evidence.get_or_insert_default())
    }

    /// Brings a process up to date with a record, or inserts it, and lets `with` look at its entry
    /// and the effective capabilities that it had before, if it was known. The process keeps its
    /// program unless a new one is given, or an exec was missed.
    fn observe<R>(
        &mut self,
        id: ProcId,
        time_ns: u64,
        task: &Task,
        cgroup: Arc<Cgroup>,
        program: Option<Arc<Program>>,
        with: impl FnOnce(&mut Entry, Option<u64>) -> R,
    ) -> (Arc<Process>, R) {
        let parent = self.resolve(task.parent);
        let parent_name = self.entries.note(parent).map(|parent| parent.name);
        let fresh = |old: Option<&Process>| {
            let named = old.filter(|old| old.parent == parent).map(|old| old.parent_name);
            let parent_name = parent_name.or(named).unwrap_or_default();
            let program =
                program.or_else(|| old.filter(|old| old.exec_count == task.exec_count)?.program.clone());
            convert::process(id, task, (parent, parent_name), cgroup, program)
        };
        let mut newcomer = None;
        let mut unused = Heritage::default();
        let known = match self.entries.get_mut(id) {
            Some(known) => Some(known),
            None => {
                newcomer = self.take_provisional(id);
                newcomer.as_mut().map(|entry| (&mut unused, entry))
            }
        };
        let seen = if let Some((heritage, entry)) = known {
            // Who became another user has, as a rule, lost what they had.
            let same_user = entry.process.uid == task.uid;
            let before = if same_user { entry.process.caps_effective } else { 0 };
            let process = fresh(Some(&entry.process));
            update(&mut entry.process, process);
            entry.last_ns = entry.last_ns.max(time_ns);
            entry.filtered = false;
            let seen = (Arc::clone(&entry.process), with(entry, Some(before)));
            heritage.update(&entry.process);
            seen
        } else {
            let entry = newcomer.insert(Entry::new(Arc::new(fresh(None)), Birth::Unseen, time_ns));
            (Arc::clone(&entry.process), with(entry, None))
        };
        if let Some(newcomer) = newcomer {
            self.insert(id, id.start_ns, newcomer);
        }
        seen
    }

    /// Inserts a process that is not known and makes it its pid's current one, unless a newer one
    /// is: then this is a late word about one that has ended. `start_ns` is the identity's, or
    /// about that if the identity has none.
    fn insert(&mut self, id: ProcId, start_ns: u64, entry: Entry) {
        let newest = self.entries.newest(id.pid);
        let late = newest.is_some_and(|newest| newest.start_ns > start_ns);
        if let Some(older) = newest.filter(|_| !late) {
            self.entries.set_alive(older, false);
        }
        self.entries.insert(id, Heritage::of(&entry.process), entry, !late, !late);
    }

    /// Identity of a forked child. Without its start time it is the process that the snapshot
    /// found under this pid, if that began just before the record; else one whose start is
    /// learned from its next record.
    fn forked(&mut self, record: &wire::Fork) -> ProcId {
        let key = record.child.key;
        if key.start_ns != 0 {
            return ProcId::from(key);
        }
        let provisional = ProcId { pid: key.tgid, start_ns: 0 };
        let Some(current) = self.entries.newest(key.tgid) else { return provisional };
        let age = record.header.time_ns.checked_sub(current.start_ns);
        let just_begun = age.is_some_and(|age| age <= FORK_DELAY_NS);
        let found = self.entries.get(current).is_some_and(|entry| entry.birth == Birth::Unseen);
        if just_begun && found && self.entries.is_alive(current) {
            return current;
        }
        self.entries.remove(provisional);
        provisional
    }

    /// Removes the living process with this pid and an unknown start: it is the one meant.
    fn take_provisional(&mut self, id: ProcId) -> Option<Entry> {
        let provisional = ProcId { pid: id.pid, start_ns: 0 };
        self.is_provisional(id).then(|| self.entries.remove(provisional)).flatten()
    }

    /// Whether a process is known only under its pid, with an unknown start.
    pub(super) fn is_provisional(&self, id: ProcId) -> bool {
        id.start_ns != 0 && self.entries.is_alive(ProcId { pid: id.pid, start_ns: 0 })
    }
}

impl Entry {
    fn new(process: Arc<Process>, birth: Birth, time_ns: u64) -> Self {
        Self {
            origin: process.parent,
            process,
            birth,
            milestones: Milestones::default(),
            first_ns: time_ns,
            last_ns: time_ns,
            ended: false,
            filtered: false,
            evidence: None,
        }
    }

    /// Ends it: gives what may explain that and drops the program, which the event keeps.
    fn end(&mut self) -> Option<Box<Evidence>> {
        self.ended = true;
        if self.process.program.is_some() {
            self.process = Arc::new(Process { program: None, ..Process::clone(&self.process) });
        }
        self.evidence.take()
    }
}

/// Puts a process's new state in place of the old: shared with past events if nothing changed, in
/// place if no event holds the old one any more.
fn update(process: &mut Arc<Process>, fresh: Process) {
    if **process == fresh {
        return;
    }
    match Arc::get_mut(process) {
        Some(unshared) => *unshared = fresh,
        None => *process = Arc::new(fresh),
    }
}
