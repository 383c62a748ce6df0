//! Taking up services where the daemon before left them: which of their processes live, and how the others ended.
//!
//! ```text
//! what was put down: the main process of each instance, and its room       what the kernel has: rooms, and who is in them
//!                       |                                                      |
//!                       +---> newer rooms that are not empty: a start whose answer was not read: it lives
//!                       +---> the main process lives                         : it goes on
//!                       +---> it has ended                                   : its record in the recording, or the kernel's tombstone
//!                       +---> no trace                                       : counted as a failure
//! ```

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use guard_core::event::{Action, Event, Exit, ExitStatus, Process};
use guard_core::ids::ProcId;
use guard_core::supervise::{Life, Subject};
use serde::{Deserialize, Serialize};

use super::ends::{End, Ends};
use super::hands::rooms::{Room, RoomName};
use crate::holder::Holder;

/// What is put down of an instance besides what the supervisor saves: who its main process is, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Main {
    pub(super) instance: u32,
    pub(super) process: ProcId,
    /// The name of its room; `None`: somebody else started it.
    pub(super) room: Option<String>,
}

/// What became of instances.
#[derive(Debug, Default)]
pub(super) struct Found {
    lives: HashMap<Subject, Life>,
    /// The rooms of those that live.
    pub(super) rooms: HashMap<ProcId, Arc<Room>>,
}

impl Found {
    /// Of an instance.
    pub(super) fn life(&self, subject: &Subject) -> Life {
        self.lives.get(subject).cloned().unwrap_or(Life::NeverStarted)
    }

    /// The ends that nobody has told yet, the oldest first.
    pub(super) fn ends(&self) -> Vec<(&Subject, Event)> {
        let event = |life: &Life| match life {
            Life::Ended { id, time_ns, exit } => {
                let process = Process { id: *id, ns_pid: id.pid, ..Process::default() }.into();
                let action = Action::Exit { process, exit: exit.clone() };
                Some(Event { time_ns: *time_ns, cpu: 0, sequence: 0, action })
            }
            _ => None,
        };
        let mut ends: Vec<_> =
            self.lives.iter().filter_map(|(subject, life)| Some((subject, event(life)?))).collect();
        ends.sort_by_key(|(_, event)| event.time_ns);
        ends
    }

    /// Those that live.
    pub(super) fn living(&self) -> impl Iterator<Item = (&Subject, &Arc<Process>)> {
        self.lives.iter().filter_map(|(subject, life)| match life {
            Life::Alive(process) => Some((subject, process)),
            _ => None,
        })
    }
}

/// Finds out what became of these.
pub(super) fn find(
    holder: &Holder,
    recording: &Path,
    mains: &HashMap<Subject, Main>,
    rooms: Vec<Room>,
    mut seen: Ends,
) -> Found {
    let mut of_subject: HashMap<Subject, Vec<(u64, Arc<Room>)>> = HashMap::new();
    for room in rooms {
        if let RoomName::Life { service, instance, life } = room.name() {
            let subject = Subject { service: Arc::clone(service), instance: Some(*instance) };
            let life = *life;
            of_subject.entry(subject).or_default().push((life, Arc::new(room)));
        }
    }
    seen.look_through(recording);
    let mut found = Found::default();
    let subjects: HashSet<&Subject> = mains.keys().chain(of_subject.keys()).collect();
    for subject in subjects {
        let mut rooms = of_subject.get(subject).cloned().unwrap_or_default();
        rooms.sort_by_key(|(life, _)| std::cmp::Reverse(*life));
        let (life, room) = one(holder, mains.get(subject), &rooms, &seen);
        if let (Life::Alive(process), Some(room)) = (&life, room) {
            found.rooms.insert(process.id, room);
        }
        found.lives.insert(subject.clone(), life);
    }
    found
}

/// What is to be looked up in the recording: the ends of these main processes, and of whoever was first in a room that is younger
/// than what was put down.
pub(super) fn wanted(mains: &HashMap<Subject, Main>, rooms: &[Room]) -> Ends {
    let processes = mains.values().map(|main| main.process).collect();
    let is_younger = |room: &&Room| match room.name() {
        RoomName::Life { service, instance, life } => {
            let subject = Subject { service: Arc::clone(service), instance: Some(*instance) };
            mains.get(&subject).is_none_or(|main| main.life() < Some(*life))
        }
        _ => false,
    };
    let groups = rooms.iter().filter(is_younger).filter(|room| room.is_empty()).map(Room::id).collect();
    Ends::wanted(processes, groups)
}

impl Main {
    fn life(&self) -> Option<u64> {
        match RoomName::parse(self.room.as_deref()?)? {
            RoomName::Life { life, .. } => Some(life),
            _ => None,
        }
    }
}

fn one(
    holder: &Holder,
    main: Option<&Main>,
    rooms: &[(u64, Arc<Room>)],
    seen: &Ends,
) -> (Life, Option<Arc<Room>>) {
    let known = main.and_then(Main::life);
    // The newest first: a start whose answer was not read.
    for (life, room) in rooms.iter().filter(|(life, _)| known.is_none_or(|known| *life > known)) {
        if let Some(process) = eldest(holder, room) {
            return (Life::Alive(process), Some(Arc::clone(room)));
        }
        if let Some(end) = seen.of_group(room.id()) {
            tracing::info!("a process that was started in room {life} has ended since");
            return (ended(end), None);
        }
    }
    let Some(main) = main else { return (Life::NeverStarted, None) };
    let room = rooms.iter().find(|(life, _)| Some(*life) == known).map(|(_, room)| Arc::clone(room));
    let table = holder.core().processes();
    if let Some(process) = table.get(main.process).filter(|process| table.is_alive(process.id)) {
        return (Life::Alive(Arc::clone(process)), room);
    }
    let life = match (seen.of_process(main.process), holder.tombstone(main.process)) {
        (Some(end), _) => ended(end),
        (None, Some((time_ns, status))) => ended(&tomb(main.process, time_ns, status)),
        (None, None) => Life::Gone,
    };
    (life, room)
}

/// The process of a room that began first: whoever else is there descends from it.
fn eldest(holder: &Holder, room: &Room) -> Option<Arc<Process>> {
    let table = holder.core().processes();
    let members = room.pids().into_iter().filter_map(|pid| table.current(pid).cloned());
    members.min_by_key(|process| process.id.start_ns)
}

fn ended(end: &End) -> Life {
    Life::Ended { id: end.id, time_ns: end.time_ns, exit: end.exit.clone() }
}

fn tomb(id: ProcId, time_ns: u64, status: ExitStatus) -> End {
    let cause = guard_core::event::Cause::Unknown;
    let lifetime_ns = time_ns.saturating_sub(id.start_ns);
    let exit =
        Exit { status, cause, lifetime_ns, fork_to_exec_ns: None, exec_to_listen_ns: None, usage: None };
    End { id, time_ns, exit: Box::new(exit) }
}
