//! Which process belongs to which instance: a main process and all that descend from it.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::event::{ExitStatus, Process};
use crate::ids::ProcId;

use super::shared::Slot;

/// Events that are remembered while a start is under way: its process may fork, listen and die before the answer that names it
/// is read. More than a storm of two cores makes in the few milliseconds that a start takes.
const EARLY_EVENTS: usize = 4_096;

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) slot: Slot,
    pub(super) instance: u32,
}

/// The processes of all instances.
#[derive(Debug, Default)]
pub(super) struct Members {
    of: FxHashMap<ProcId, Member>,
    /// By instance, for those that must be named.
    by: FxHashMap<(Slot, u32), BTreeSet<ProcId>>,
    /// Starts under way.
    starting: u32,
    early: VecDeque<Early>,
}

/// Something that happened to a process while a start was under way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Early {
    Born { child: ProcId, parent: ProcId },
    Listens { id: ProcId, port: u16 },
    Ended { id: ProcId, time_ns: u64, status: ExitStatus },
}

impl Members {
    /// Whose this is.
    pub(super) fn get(&self, id: ProcId) -> Option<Member> {
        self.of.get(&id).copied()
    }

    /// A start is under way, or not any more.
    pub(super) fn starting(&mut self, more: bool) {
        self.starting = if more { self.starting + 1 } else { self.starting.saturating_sub(1) };
        if self.starting == 0 {
            self.early.clear();
        }
    }

    pub(super) fn add(&mut self, id: ProcId, member: Member) {
        self.of.insert(id, member);
        self.by.entry((member.slot, member.instance)).or_default().insert(id);
    }

    /// A process has ended.
    pub(super) fn remove(&mut self, id: ProcId) -> Option<Member> {
        let member = self.of.remove(&id)?;
        if let Some(ids) = self.by.get_mut(&(member.slot, member.instance)) {
            ids.remove(&id);
        }
        Some(member)
    }

    /// An instance has ended: what is left of it is nobody's.
    pub(super) fn disband(&mut self, slot: Slot, instance: u32) {
        for id in self.by.remove(&(slot, instance)).unwrap_or_default() {
            self.of.remove(&id);
        }
    }

    /// A service is gone.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.of.retain(|_, member| member.slot != slot);
        self.by.retain(|(whose, _), _| *whose != slot);
    }

    /// The processes of an instance, in order.
    pub(super) fn of(&self, slot: Slot, instance: u32) -> impl Iterator<Item = ProcId> {
        self.by.get(&(slot, instance)).into_iter().flatten().copied()
    }

    /// How many processes are known.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// A fork: the child is whose the parent is.
    pub(super) fn born(&mut self, child: &Process) -> Option<Member> {
        self.remember(Early::Born { child: child.id, parent: child.parent });
        let member = self.get(child.parent)?;
        self.add(child.id, member);
        Some(member)
    }

    /// Remembers for a start that is under way.
    pub(super) fn remember(&mut self, early: Early) {
        if self.starting == 0 {
            return;
        }
        if self.early.len() >= EARLY_EVENTS {
            self.early.pop_front();
        }
        self.early.push_back(early);
    }

    /// What already happened to a process that a start brought, and to its descendants: those that live are members from now
    /// on. Gives the ports that they listen on, and the main process's end.
    pub(super) fn catch_up(&mut self, main: ProcId, member: Member) -> CaughtUp {
        let mut caught = CaughtUp::default();
        self.add(main, member);
        for early in std::mem::take(&mut self.early) {
            match early {
                Early::Born { child, parent } if self.get(parent) == Some(member) => self.add(child, member),
                Early::Listens { id, port } if self.get(id) == Some(member) => caught.ports.push(port),
                Early::Ended { id, time_ns, status } if self.get(id) == Some(member) => {
                    self.remove(id);
                    if id == main {
                        caught.end = Some((time_ns, status));
                    }
                }
                _ => {}
            }
            self.early.push_back(early);
        }
        caught
    }
}

/// What happened before a main process was known.
#[derive(Debug, Default)]
pub(super) struct CaughtUp {
    pub(super) ports: Vec<u16>,
    pub(super) end: Option<(u64, ExitStatus)>,
}
