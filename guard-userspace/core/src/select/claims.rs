//! Which processes are whose, of adopted services: kept up to date with what the core tells.
//!
//! A main process is a match whose parent is not one of the same service. So a daemon that forks and leaves its child behind hands
//! its place over: when a match ends, its children that match become main processes. A child runs what its parent runs until it
//! execs, so it matches as that does.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::event::{Action, Event, Process};
use crate::ids::ProcId;
use crate::select::{Index, Place};

/// What a process is to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is: the first, in order of name, of all services that match.
    pub service: Place,
    /// Whether it is a main process.
    pub main: bool,
    parent: ProcId,
}

/// A process is something else to a service from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Which process.
    pub id: ProcId,
    /// Of which service.
    pub service: Place,
    /// What it is.
    pub to: Standing,
}

/// What a process is to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A main process.
    Main,
    /// A match below another match.
    Below,
    /// Nothing (any more): it has ended, or runs something else.
    Nothing,
}

/// The processes of all adopted services.
#[derive(Debug, Default)]
pub struct Claims {
    index: Index,
    pub(super) of: FxHashMap<ProcId, Claim>,
    /// The claimed ones by their parent, claimed or not.
    pub(super) below: FxHashMap<ProcId, BTreeSet<ProcId>>,
    /// Where processes listen, of the ports that selectors ask for.
    pub(super) ports: BTreeMap<ProcId, Vec<u16>>,
}

impl Claims {
    /// Nobody is known yet: all processes that live are to be told with [`Claims::found`].
    #[must_use]
    pub fn new(index: Index) -> Self {
        Self { index, ..Self::default() }
    }

    /// Whose a process is.
    #[must_use]
    pub fn get(&self, id: ProcId) -> Option<Claim> {
        self.of.get(&id).copied()
    }

    /// All claimed processes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProcId, Claim)> {
        self.of.iter().map(|(&id, &claim)| (id, claim))
    }

    /// Takes in what the core tells; what changes by that goes to `out`.
    pub fn event(&mut self, event: &Event, out: &mut Vec<Shift>) {
        match &event.action {
            Action::Fork { process } => self.forked(process, out),
            Action::Exec { process, .. } => self.found(process, out),
            Action::Listen { process, listen } => {
                let port = listen.address.port();
                if self.index.wants_port(port) {
                    let ports = self.ports.entry(process.id).or_default();
                    if !ports.contains(&port) {
                        ports.push(port);
                    }
                    self.found(process, out);
                }
            }
            Action::Exit { process, .. } => self.ended(process.id, out),
            _ => {}
        }
    }

    /// A process is as it says: it was there before, runs something else, or listens somewhere. Saying it twice changes nothing.
    pub fn found(&mut self, process: &Process, out: &mut Vec<Shift>) {
        let ports = self.ports.get(&process.id).map_or(&[][..], Vec::as_slice);
        let service = self.index.find(process, ports).first().copied();
        self.claim(process.id, process.parent, service, out);
    }

    /// A child matches as its parent does.
    fn forked(&mut self, child: &Process, out: &mut Vec<Shift>) {
        match self.of.get(&child.parent) {
            Some(parent) => {
                let service = Some(parent.service);
                self.claim(child.id, child.parent, service, out);
            }
            // What nobody knows of could match.
            None if child.parent_name.as_bytes().is_empty() => self.found(child, out),
            None => {}
        }
    }

    fn ended(&mut self, id: ProcId, out: &mut Vec<Shift>) {
        if !self.ports.is_empty() {
            self.ports.remove(&id);
        }
        self.claim(id, ProcId::NONE, None, out);
        for child in self.below.remove(&id).unwrap_or_default() {
            if let Some(claim) = self.of.get_mut(&child) {
                claim.parent = ProcId::NONE;
            }
        }
    }

    /// A process belongs to this service, or to none.
    fn claim(&mut self, id: ProcId, parent: ProcId, service: Option<Place>, out: &mut Vec<Shift>) {
        let before = self.of.get(&id).copied();
        let now = service.map(|service| Claim { service, main: !self.is_of(parent, service), parent });
        if before == now {
            return;
        }
        self.place(id, before.map(|before| before.parent), now.map(|now| now.parent));
        match now {
            Some(now) => self.of.insert(id, now),
            None => self.of.remove(&id),
        };
        let shift = |service, to| Shift { id, service, to };
        if let Some(before) = before.filter(|before| now.is_none_or(|now| now.service != before.service)) {
            out.push(shift(before.service, Standing::Nothing));
            self.children_become(id, before.service, true, out);
        }
        if let Some(now) = now
            && before.is_none_or(|before| (before.service, before.main) != (now.service, now.main))
        {
            out.push(shift(now.service, if now.main { Standing::Main } else { Standing::Below }));
        }
        if let Some(now) = now.filter(|now| before.is_none_or(|before| before.service != now.service)) {
            self.children_become(id, now.service, false, out);
        }
    }

    /// A claimed process has another parent, or is not claimed any more.
    fn place(&mut self, id: ProcId, before: Option<ProcId>, now: Option<ProcId>) {
        if before == now {
            return;
        }
        if let Some(parent) = before
            && let Entry::Occupied(mut siblings) = self.below.entry(parent)
        {
            siblings.get_mut().remove(&id);
            if siblings.get().is_empty() {
                siblings.remove();
            }
        }
        if let Some(parent) = now.filter(|parent| parent.is_some()) {
            self.below.entry(parent).or_default().insert(id);
        }
    }

    /// The parent of these begins or ceases to be a match.
    fn children_become(&mut self, parent: ProcId, service: Place, main: bool, out: &mut Vec<Shift>) {
        let Self { of, below, .. } = self;
        for &id in below.get(&parent).into_iter().flatten() {
            let Some(claim) = of.get_mut(&id).filter(|claim| claim.service == service) else { continue };
            if claim.main != main {
                claim.main = main;
                let to = if main { Standing::Main } else { Standing::Below };
                out.push(Shift { id, service, to });
            }
        }
    }

    fn is_of(&self, id: ProcId, service: Place) -> bool {
        self.of.get(&id).is_some_and(|claim| claim.service == service)
    }
}
