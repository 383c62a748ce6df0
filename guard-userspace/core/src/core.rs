//! The door: a closed set of inputs in, a closed set of effects out.

use std::collections::VecDeque;

use guard_common::decode::Record;

use crate::event::{Event, Gap, Process};

/// What happens to the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// A process that existed when the sensor was attached. All of these come before the first
    /// kernel record.
    Snapshot(Process),
    /// A record from the ring, in ring order.
    Kernel(Record<'a>),
    /// Records were lost before the next one.
    Gap(Gap),
    /// A control group that existed when the sensor was attached, or whose path was looked up.
    Cgroup {
        /// 0 for cgroup v2, else the v1 hierarchy's id.
        hierarchy: u32,
        /// Id within the hierarchy.
        id: u64,
        /// Path below the hierarchy's root, with a leading slash.
        path: &'a str,
    },
}

/// What the core asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Show, store or send this event.
    Emit(Event),
}

/// Bounds of the core's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes kept, the living and the recently ended.
    pub processes: usize,
    /// Control groups kept.
    pub cgroups: usize,
}

/// All state.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    effects: VecDeque<Effect>,
}

impl Core {
    /// An empty core.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, effects: VecDeque::new() }
    }

    /// Takes in one input. `now_ns` is the time since boot.
    pub fn handle(&mut self, now_ns: u64, input: Input<'_>) {
        let _ = (now_ns, input, self.limits);
    }

    /// Lets time pass: releases what was held until `now_ns`.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        let _ = now_ns;
    }

    /// When [`Core::handle_timeout`] is due next, in nanoseconds since boot.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }
}
