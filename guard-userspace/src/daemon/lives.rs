//! The processes that stand for instances: where each lives, and so whom a deed may touch.

use std::collections::HashMap;
use std::sync::Arc;

use guard_core::ids::ProcId;
use guard_core::supervise::Subject;

use super::hands::rooms::Room;

/// A main process of an instance, living or ended.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) subject: Subject,
    /// Its control group, which others of it may outlive it in; `None`: somebody else started it.
    pub(super) room: Option<Arc<Room>>,
    /// It has ended.
    pub(super) is_over: bool,
}

/// All of them: one for each living main process, and those that ended as long as somebody may ask for their rooms.
#[derive(Debug, Default)]
pub(super) struct Lives {
    lives: HashMap<ProcId, Life>,
    /// The latest of each instance.
    latest: HashMap<Subject, ProcId>,
}

impl Lives {
    /// An instance has this main process from now on. Gives the rooms of those before it, which are not needed any more once
    /// they are empty.
    pub(super) fn begin(
        &mut self,
        subject: Subject,
        main: ProcId,
        room: Option<Arc<Room>>,
    ) -> Vec<Arc<Room>> {
        self.latest.insert(subject.clone(), main);
        let is_past = |id: &ProcId, life: &Life| life.is_over && life.subject == subject && *id != main;
        let past: Vec<ProcId> =
            self.lives.iter().filter(|(id, life)| is_past(id, life)).map(|(id, _)| *id).collect();
        let rooms = past.iter().filter_map(|id| self.lives.remove(id)?.room).collect();
        self.lives.insert(main, Life { subject, room, is_over: false });
        rooms
    }

    /// A main process has ended. Its room is kept: the plan that clears it, and the start that waits for it, name this process.
    pub(super) fn end(&mut self, main: ProcId) -> Option<&Life> {
        let life = self.lives.get_mut(&main)?;
        life.is_over = true;
        Some(life)
    }

    /// An instance is gone for good. Gives the rooms that it had.
    pub(super) fn drop_instance(&mut self, subject: &Subject) -> Vec<Arc<Room>> {
        self.latest.remove(subject);
        let of_it: Vec<ProcId> = self
            .lives
            .iter()
            .filter(|(_, life)| life.subject == *subject && life.is_over)
            .map(|(id, _)| *id)
            .collect();
        of_it.iter().filter_map(|id| self.lives.remove(id)?.room).collect()
    }

    pub(super) fn get(&self, main: ProcId) -> Option<&Life> {
        self.lives.get(&main)
    }

    /// Where a main process lives, or lived.
    pub(super) fn room(&self, main: ProcId) -> Option<&Room> {
        self.lives.get(&main)?.room.as_deref()
    }

    /// The rooms that somebody may still ask for.
    pub(super) fn holds(&self, room: u64) -> bool {
        self.lives.values().any(|life| life.room.as_ref().is_some_and(|held| held.id() == room))
    }
}
