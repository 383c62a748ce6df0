//! Which process belongs to which instance: a main process and all that descend from it.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::event::{Cgroup, Exit, Process};
use crate::ids::ProcId;

use super::shared::Slot;

/// Events that are remembered while a start is under way: its process may fork, listen, say that it is ready and die before the answer that names it
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
    /// Whose a control group is, by its path (or its id, where that is not known), and the other way round.
    groups: FxHashMap<String, Member>,
    group_of: FxHashMap<(Slot, u32), String>,
    /// Starts under way.
    starting: u32,
    early: VecDeque<Early>,
}

/// Something that happened to a process while a start was under way.
#[derive(Clone, Debug)]
pub(super) enum Early {
    Born { child: ProcId, parent: ProcId },
    Listens { id: ProcId, port: u16 },
    Notified { id: ProcId },
    Ended { id: ProcId, time_ns: u64, exit: Box<Exit> },
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
        if let Some(group) = self.group_of.remove(&(slot, instance)) {
            self.groups.remove(&group);
        }
    }

    /// What is measured of a member's control group is measured of its instance.
    pub(super) fn place(&mut self, process: &Process) {
        let (Some(member), Some(group)) = (self.get(process.id), name(&process.cgroup)) else { return };
        if let std::collections::hash_map::Entry::Vacant(place) =
            self.group_of.entry((member.slot, member.instance))
        {
            self.groups.insert(place.insert(group).clone(), member);
        }
    }

    /// Whose a control group is.
    pub(super) fn in_cgroup(&self, cgroup: &Cgroup) -> Option<Member> {
        self.groups.get(&name(cgroup)?).copied()
    }

    /// Whose the control group at a path is.
    pub(super) fn in_group_at(&self, path: &str) -> Option<Member> {
        self.groups.get(path).copied()
    }

    /// A service is gone.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.of.retain(|_, member| member.slot != slot);
        self.by.retain(|(whose, _), _| *whose != slot);
        self.groups.retain(|_, member| member.slot != slot);
        self.group_of.retain(|(whose, _), _| *whose != slot);
    }

    /// The processes of an instance, in order.
    pub(super) fn of(&self, slot: Slot, instance: u32) -> impl Iterator<Item = ProcId> {
        self.by.get(&(slot, instance)).into_iter().flatten().copied()
    }

    /// A fork: the child is whose the parent is.
    pub(super) fn born(&mut self, child: &Process) {
        if self.starting > 0 {
            self.remember(Early::Born { child: child.id, parent: child.parent });
        }
        if let Some(member) = self.get(child.parent) {
            self.add(child.id, member);
        }
    }

    /// Whether what happens must be remembered, for a start that is under way.
    pub(super) const fn is_starting(&self) -> bool {
        self.starting > 0
    }

    /// Remembers for a start that is under way.
    pub(super) fn remember(&mut self, early: Early) {
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
        let early = std::mem::take(&mut self.early);
        for early in &early {
            match early {
                Early::Born { child, parent } if self.get(*parent) == Some(member) => {
                    self.add(*child, member)
                }
                Early::Listens { id, port } if self.get(*id) == Some(member) => caught.ports.push(*port),
                Early::Notified { id } if self.get(*id) == Some(member) => caught.notified = true,
                Early::Ended { id, time_ns, exit } if self.get(*id) == Some(member) => {
                    self.remove(*id);
                    if *id == main {
                        caught.end = Some((*time_ns, exit.clone()));
                    }
                }
                _ => {}
            }
        }
        self.early = early;
        caught
    }
}

/// What a control group is known by: the same in all hierarchies, if its path is.
fn name(cgroup: &Cgroup) -> Option<String> {
    let id = || (cgroup.id != 0).then(|| format!("{}:{}", cgroup.hierarchy, cgroup.id));
    cgroup.path.as_deref().filter(|path| *path != "/").map(str::to_owned).or_else(id)
}

/// What happened before a main process was known.
#[derive(Debug, Default)]
pub(super) struct CaughtUp {
    pub(super) ports: Vec<u16>,
    pub(super) notified: bool,
    pub(super) end: Option<(u64, Box<Exit>)>,
}
