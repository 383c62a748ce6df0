//! What a run of the trace amounts to: seen, shown and lost, by kind and cause.

use std::fmt;

use guard_common::wire::Kind;
use guard_core::event::{Drift, Gap, LossCause, Resync};

use crate::recording::player::Player;
use crate::sensor;

/// Counters of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// One entry per observed kind.
    pub kinds: Vec<KindSummary>,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Comparisons of the process table with the kernel's own.
    pub resyncs: u64,
    /// What they found, added up.
    pub drift: Drift,
}

/// Counters of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSummary {
    /// The kind.
    pub kind: Kind,
    /// Records read from the kernel (or from the file).
    pub seen: u64,
    /// Events shown, after all filters.
    pub shown: u64,
    /// Lost because the ring was full.
    pub ring_full: u64,
    /// Lost because the kernel skipped the program; `None` where that is not counted.
    pub recursion: Option<u64>,
    /// Records that a shared sensor's reader dropped because this trace took them too slowly.
    pub slow_reader: u64,
    /// Records of another version's sensor that could not be read when it was taken over.
    pub unreadable: u64,
}

impl KindSummary {
    /// Nothing counted yet.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, seen: 0, shown: 0, ring_full: 0, recursion: Some(0), slow_reader: 0, unreadable: 0 }
    }
}

impl KindSummary {
    /// Records known to be lost, whatever the cause.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.ring_full + self.recursion.unwrap_or(0) + self.slow_reader + self.unreadable
    }
}

impl Summary {
    /// The counters of a kind, made if it has none.
    pub fn kind(&mut self, kind: Kind) -> &mut KindSummary {
        let at = self.kinds.iter().position(|entry| entry.kind == kind).unwrap_or_else(|| {
            let at = self.kinds.partition_point(|entry| entry.kind < kind);
            self.kinds.insert(at, KindSummary::new(kind));
            at
        });
        // The position was found or made above.
        #[expect(clippy::indexing_slicing, reason = "the position was found or made above")]
        &mut self.kinds[at]
    }

    /// Events shown, of all kinds.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.shown).sum()
    }

    /// Records seen, of all kinds.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.seen).sum()
    }

    /// Records known to be lost, of all kinds.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.lost()).sum()
    }

    /// Takes over what the sensor counted; what was shown stays.
    pub fn set_report(&mut self, report: &sensor::Report) {
        self.undecodable = report.undecodable;
        for from in &report.kinds {
            let kind = self.kind(from.kind);
            (kind.seen, kind.ring_full, kind.recursion) = (from.seen, from.ring_full, from.recursion);
        }
    }

    /// Takes over what a recording or a subscription held; what was lost is told by its gaps.
    pub fn set_played(&mut self, player: &Player) {
        self.undecodable = player.undecodable();
        for (kind, seen) in Kind::ALL.into_iter().zip(player.seen()) {
            self.kind(kind).seen = *seen;
        }
    }

    /// Adds the losses of a gap.
    pub fn add_gap(&mut self, gap: &Gap) {
        for lost in &gap.lost {
            let kind = self.kind(lost.kind);
            match lost.cause {
                LossCause::RingFull => kind.ring_full += lost.count,
                LossCause::Recursion => *kind.recursion.get_or_insert(0) += lost.count,
                LossCause::SlowReader => kind.slow_reader += lost.count,
                LossCause::Unreadable => kind.unreadable += lost.count,
            }
        }
    }

    /// Adds what a comparison found.
    pub fn add_resync(&mut self, resync: &Resync) {
        self.resyncs += 1;
        self.drift += resync.drift;
    }

    /// Adds the losses of the summary of a saved stream.
    pub fn add_losses(&mut self, other: &Self) {
        self.undecodable += other.undecodable;
        for from in &other.kinds {
            let kind = self.kind(from.kind);
            kind.ring_full += from.ring_full;
            kind.slow_reader += from.slow_reader;
            kind.unreadable += from.unreadable;
            kind.recursion = kind.recursion.zip(from.recursion).map(|(one, other)| one + other);
        }
    }

    /// Forgets what was lost: a better account of it follows.
    pub fn forget_losses(&mut self) {
        for kind in &mut self.kinds {
            *kind = KindSummary { seen: kind.seen, shown: kind.shown, ..KindSummary::new(kind.kind) };
        }
    }
}

/// For people, on several lines.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seen, {} shown, {} lost", self.seen(), self.shown(), self.lost())?;
        if self.kinds.iter().any(|kind| kind.recursion.is_none()) {
            f.write_str(" (this kernel does not count what it skips by recursion)")?;
        }
        if self.undecodable > 0 {
            write!(f, ", {} could not be decoded", self.undecodable)?;
        }
        // Only for a trace of a shared sensor, or a recording.
        let other = self.kinds.iter().any(|kind| kind.slow_reader + kind.unreadable > 0);
        write!(f, "\n{:<8}{:>12}{:>12}{:>16}{:>16}", "", "seen", "shown", "lost: ring full", "recursion")?;
        writeln!(f, "{}", if other { "     slow reader      unreadable" } else { "" })?;
        // A kind of which there was nothing says nothing; the three of every life always do.
        let worth_a_line = |entry: &&KindSummary| entry.kind <= Kind::EXIT || entry.seen + entry.lost() > 0;
        for entry in self.kinds.iter().filter(worth_a_line) {
            let KindSummary { kind, seen, shown, ring_full, recursion, slow_reader, unreadable } = entry;
            let recursion = recursion.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
            write!(f, "{:<8}{seen:>12}{shown:>12}{ring_full:>16}{recursion:>16}", kind.name())?;
            if other {
                write!(f, "{slow_reader:>16}{unreadable:>16}")?;
            }
            writeln!(f)?;
        }
        if self.resyncs > 0 {
            write!(f, "compared {} times with the kernel's own list of processes:", self.resyncs)?;
            for (index, (name, count)) in self.drift.counts().into_iter().enumerate() {
                write!(f, "{} {count} {name}", if index == 0 { "" } else { "," })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
