//! Exits that wait for the out-of-memory killer's word.
//!
//! The kernel kills the victim first and reports it second, so on another CPU the victim's exit
//! record may come before the report. An exit by SIGKILL without a sender is therefore held for a
//! short window. Other processes' events go on; those of the same process queue up behind.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::{Action, Cause, Cgroup, Event, Process};
use crate::ids::ProcId;
use crate::limits::{HELD_EXITS, HELD_FOLLOWERS};

/// The held exits.
#[derive(Debug, Default)]
pub(crate) struct Held {
    exits: FxHashMap<ProcId, Waiting>,
    /// In the order of the ring, with the time until which each waits. Settled ones stay until
    /// they are at the front.
    order: VecDeque<(u64, ProcId)>,
}

#[derive(Debug)]
struct Waiting {
    exit: Event,
    followers: Vec<Event>,
}

impl Held {
    /// Holds an exit until `deadline_ns`. What is released for it, because too many wait, goes to
    /// `out`.
    pub(crate) fn hold(&mut self, id: ProcId, exit: Event, deadline_ns: u64, out: &mut impl FnMut(Event)) {
        if self.exits.contains_key(&id) {
            // Told twice: the second stays behind the first.
            return self.pass(id, exit, out);
        }
        if self.order.len() >= HELD_EXITS
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.settle(oldest, None, out);
        }
        self.order.push_back((deadline_ns, id));
        self.exits.insert(id, Waiting { exit, followers: Vec::new() });
    }

    /// Sends an event to `out`, or behind the held exit of the same process.
    pub(crate) fn pass(&mut self, id: ProcId, event: Event, out: &mut impl FnMut(Event)) {
        if self.exits.is_empty() {
            return out(event);
        }
        let Some(waiting) = self.exits.get_mut(&id) else { return out(event) };
        waiting.followers.push(event);
        if waiting.followers.len() > HELD_FOLLOWERS {
            self.settle(id, None, out);
        }
    }

    /// Releases the exit of a process, if it is held, with what followed it; `cause` overturns
    /// its verdict.
    pub(crate) fn settle(&mut self, id: ProcId, cause: Option<Cause>, out: &mut impl FnMut(Event)) {
        let Some(Waiting { exit: mut event, followers }) = self.exits.remove(&id) else { return };
        if let (Some(cause), Action::Exit { exit, .. }) = (cause, &mut event.action) {
            exit.cause = cause;
        }
        out(event);
        followers.into_iter().for_each(out);
        while self.order.front().is_some_and(|(_, id)| !self.exits.contains_key(id)) {
            self.order.pop_front();
        }
    }

    /// The out-of-memory killer chose a process: if its exit waits for that, this is why it died.
    pub(crate) fn oom(
        &mut self,
        id: ProcId,
        memory_cgroup: Option<&Arc<Cgroup>>,
        out: &mut impl FnMut(Event),
    ) {
        if !self.exits.is_empty() {
            self.settle(id, Some(Cause::Oom(memory_cgroup.cloned())), out);
        }
    }

    /// A process whose exit is held, as it was at its end.
    pub(crate) fn get(&self, id: ProcId) -> Option<&Arc<Process>> {
        self.exits.get(&id)?.exit.action.process()
    }

    /// The newest process with this pid whose exit is held. Looks at all that are: for rare
    /// records only.
    pub(crate) fn newest(&self, pid: u32) -> Option<&Arc<Process>> {
        let ids = self.exits.keys().filter(|id| id.pid == pid);
        self.get(*ids.max_by_key(|id| id.start_ns)?)
    }

    /// Releases all that wait until `time_ns` at most.
    pub(crate) fn release(&mut self, time_ns: u64, out: &mut impl FnMut(Event)) {
        while let Some(&(deadline_ns, id)) = self.order.front()
            && deadline_ns <= time_ns
        {
            self.order.pop_front();
            self.settle(id, None, out);
        }
    }

    /// When the first one has waited long enough.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.order.front().map(|&(deadline_ns, _)| deadline_ns)
    }
}
