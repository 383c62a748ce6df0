//! How processes ended while no daemon was there, or before it had put that down: looked up in the recording.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use guard_core::event::{Action, Event, Exit};
use guard_core::ids::ProcId;

use crate::recording::directory;
use crate::recording::player::Player;
use crate::recording::reader::Reader;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// The end of a process.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) id: ProcId,
    pub(super) time_ns: u64,
    pub(super) exit: Box<Exit>,
}

/// Ends that are asked for: of processes, and of the first process of a control group.
#[derive(Debug, Default)]
pub(super) struct Ends {
    processes: HashSet<ProcId>,
    groups: HashSet<u64>,
    by_process: HashMap<ProcId, End>,
    by_group: HashMap<u64, End>,
}

impl Ends {
    /// These are asked for; nothing is known of them yet.
    pub(super) fn wanted(processes: HashSet<ProcId>, groups: HashSet<u64>) -> Self {
        Self { processes, groups, ..Self::default() }
    }

    /// Takes note of an event, if it is an end that is asked for.
    pub(super) fn see(&mut self, event: &Event) {
        let Action::Exit { process, exit } = &event.action else { return };
        let end = || End { id: process.id, time_ns: event.time_ns, exit: exit.clone() };
        if self.processes.contains(&process.id) {
            self.by_process.insert(process.id, end());
        }
        if self.groups.contains(&process.cgroup.id) {
            let first = self.by_group.entry(process.cgroup.id).or_insert_with(end);
            if process.id.start_ns < first.id.start_ns {
                *first = end();
            }
        }
    }

    /// Looks through the recording, the newest file first, until all that is asked for is found. A file that cannot be read any
    /// further has nothing more to say: what stays unknown counts as a failure.
    pub(super) fn look_through(&mut self, recording: &Path) {
        let mut segments = directory::segments(recording).unwrap_or_default();
        while let Some(segment) = segments.pop() {
            let missing = self.processes.iter().any(|id| !self.by_process.contains_key(id))
                || self.groups.iter().any(|group| !self.by_group.contains_key(group));
            if !missing {
                return;
            }
            if let Err(error) = self.look_into(&segment.path) {
                tracing::warn!("{}: {error}", segment.path.display());
            }
        }
    }

    fn look_into(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = File::open(path)?;
        let (mut reader, mut player) = (Reader::default(), Player::default());
        let mut piece = vec![0; PIECE];
        loop {
            let bytes = file.read(&mut piece)?;
            if bytes == 0 {
                return Ok(());
            }
            reader.space().extend_from_slice(piece.get(..bytes).unwrap_or_default());
            while let Ok(Some(Ok(()))) = reader.next(|frame| player.play(frame)) {
                while let Some((_, event)) = player.poll_event() {
                    self.see(&event);
                }
            }
        }
    }

    pub(super) fn of_process(&self, id: ProcId) -> Option<&End> {
        self.by_process.get(&id)
    }

    pub(super) fn of_group(&self, group: u64) -> Option<&End> {
        self.by_group.get(&group)
    }
}
