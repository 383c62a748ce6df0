//! When the process table is compared with the kernel's own list, and what is waited for.
//!
//! ```text
//!           a gap; a sweep            [interval over]                Input::Resync
//!   Idle ------------------> (wanted) ----------------> Asked --------------------------> Read
//!    ^                                 Effect::Resync     | Input::ResyncFailed            |
//!    |<---------------------------------------------------+                                |
//!    +-------------------------------------------------------------------------------------+
//!                                        Input::Settled
//! ```
//! While the kernel's list is read, records go on to arrive. Only once the ring was empty after it
//! is known that a process which the list lacks has no exit record: hence the wait for `Settled`.

use guard_common::wire::{Kind, Snapshot};
use rustc_hash::FxHashMap;

use crate::event::{ExitStatus, Gap, ResyncReason};
use crate::ids::ProcId;
use crate::limits::RESYNC_INTERVAL_NS;

/// The state of the comparison.
#[derive(Debug, Default)]
pub(crate) struct Resyncing {
    state: State,
    /// When the newest gap was told that makes the table uncertain.
    gap_ns: Option<u64>,
    /// A sweep was asked for.
    sweep: bool,
    /// Records of control groups were lost.
    cgroups: bool,
    /// When the next comparison may begin.
    due_ns: u64,
    tombstones: FxHashMap<ProcId, Tombstone>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Asked,
    Read {
        taken_ns: u64,
        found: Vec<Snapshot>,
    },
}

/// How a process ended, from a place that outlives its exit record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tombstone {
    pub(crate) status: ExitStatus,
    pub(crate) time_ns: u64,
}

/// A comparison that can be made now.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) reason: ResyncReason,
    pub(crate) taken_ns: u64,
    pub(crate) found: Vec<Snapshot>,
    pub(crate) tombstones: FxHashMap<ProcId, Tombstone>,
}

impl Resyncing {
    /// Takes note of a gap. The table lives on forks, execs, exits and control groups.
    pub(crate) fn gap(&mut self, now_ns: u64, gap: &Gap) {
        // Nobody knows what: anything.
        if gap.lost.is_empty() {
            self.cgroups = true;
            self.gap_ns = self.gap_ns.max(Some(now_ns));
        }
        for lost in gap.lost.iter().filter(|lost| lost.count > 0) {
            match lost.kind {
                Kind::FORK | Kind::EXEC | Kind::EXIT => {}
                Kind::CGROUP => self.cgroups = true,
                _ => continue,
            }
            self.gap_ns = self.gap_ns.max(Some(now_ns));
        }
    }

    /// Takes note that a comparison is wanted though nothing was lost.
    pub(crate) const fn sweep(&mut self) {
        self.sweep = true;
    }

    /// Whether nothing that the table lives on was lost since the last comparison.
    pub(crate) const fn is_certain(&self) -> bool {
        self.gap_ns.is_none()
    }

    /// Whether a comparison must be asked for now, and if so, whether control groups must be read
    /// again. Once asked, it is under way.
    pub(crate) fn ask(&mut self, now_ns: u64) -> Option<bool> {
        if self.due_ns()? > now_ns {
            return None;
        }
        self.state = State::Asked;
        self.sweep = false;
        Some(std::mem::take(&mut self.cgroups))
    }

    /// When [`Resyncing::ask`] will say yes.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let wanted = self.sweep || self.gap_ns.is_some();
        (wanted && matches!(self.state, State::Idle)).then_some(self.due_ns)
    }

    /// The kernel's list was read; the reading began at `taken_ns`.
    pub(crate) fn read(&mut self, taken_ns: u64, found: Vec<Snapshot>) {
        self.state = State::Read { taken_ns, found };
    }

    /// The kernel's list could not be read: again after a while.
    pub(crate) fn failed(&mut self, now_ns: u64) {
        self.sweep = true;
        self.cgroups = true;
        self.due_ns = now_ns.saturating_add(RESYNC_INTERVAL_NS);
        if matches!(self.state, State::Asked) {
            self.state = State::Idle;
        }
    }

    /// Keeps how a process ended until the next comparison; at most `limit` of them.
    pub(crate) fn bury(&mut self, id: ProcId, tombstone: Tombstone, limit: usize) {
        if self.tombstones.len() < limit {
            self.tombstones.insert(id, tombstone);
        }
    }

    /// The ring was empty: the comparison that waited for it, if one did.
    pub(crate) fn settle(&mut self, now_ns: u64) -> Option<Comparison> {
        if !matches!(self.state, State::Read { .. }) {
            return None;
        }
        let State::Read { taken_ns, found } = std::mem::take(&mut self.state) else { return None };
        self.due_ns = now_ns.saturating_add(RESYNC_INTERVAL_NS);
        let reason = if self.gap_ns.is_some() { ResyncReason::Gap } else { ResyncReason::Sweep };
        // What was lost since the reading began may be missing in it.
        self.gap_ns = self.gap_ns.filter(|&gap_ns| gap_ns >= taken_ns);
        Some(Comparison { reason, taken_ns, found, tombstones: std::mem::take(&mut self.tombstones) })
    }
}
