//! Counts what was lost, from the counters that the programs keep and from the kernel's own.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, OwnedFd};

use aya_obj::generated::bpf_prog_info;
use guard_common::control::CpuCounters;
use guard_common::wire::Kind;
use guard_core::event::{LossCause, Lost};

use super::bpf;
use super::shared::SharedArray;

const ATTEMPTED: usize = offset_of!(CpuCounters, attempted) / 8;
const RING_FULL: usize = offset_of!(CpuCounters, ring_full) / 8;
const WAKEUPS: usize = offset_of!(CpuCounters, wakeups) / 8;

/// A loaded program whose skipped runs the kernel counts.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Kind of the records that it makes.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: OwnedFd,
}

/// All loss counters and what has been told of them.
#[derive(Debug)]
pub(crate) struct Losses {
    counters: SharedArray<CpuCounters>,
    programs: Vec<Watched>,
    told_ring_full: Vec<[u64; Kind::COUNT]>,
    told_recursion: [u64; Kind::COUNT],
}

impl Losses {
    pub(crate) fn new(counters: SharedArray<CpuCounters>, programs: Vec<Watched>) -> Self {
        let told_ring_full = vec![[0; Kind::COUNT]; counters.len()];
        Self { counters, programs, told_ring_full, told_recursion: [0; Kind::COUNT] }
    }

    /// Records attempted, of one kind, on all CPUs.
    pub(crate) fn attempted(&self, kind: Kind) -> u64 {
        self.sum(ATTEMPTED + kind.0 as usize)
    }

    /// Records for which the ring had no room, of one kind, on all CPUs.
    pub(crate) fn ring_full(&self, kind: Kind) -> u64 {
        self.sum(RING_FULL + kind.0 as usize)
    }

    /// Wake-ups sent, on all CPUs.
    pub(crate) fn wakeups(&self) -> u64 {
        self.sum(WAKEUPS)
    }

    /// Runs that the kernel skipped, of the programs of one kind; `None` if it does not count.
    /// For fork and exit these include runs for threads, of which no record would have been made.
    pub(crate) fn recursion(&self, kind: Kind) -> Option<u64> {
        self.programs
            .iter()
            .filter(|watched| watched.kind == kind)
            .map(|watched| recursion_misses(&watched.program).ok().flatten())
            .sum()
    }

    /// All losses since the programs were attached.
    pub(crate) fn all(&self) -> Vec<Lost> {
        let mut lost = Vec::new();
        for kind in Kind::ALL {
            for cpu in 0..self.counters.len() {
                let count = self.counters.read(cpu, RING_FULL + kind.0 as usize);
                lost.push(Lost { kind, cause: LossCause::RingFull, cpu: u32::try_from(cpu).ok(), count });
            }
            let count = self.recursion(kind).unwrap_or(0);
            lost.push(Lost { kind, cause: LossCause::Recursion, cpu: None, count });
        }
        lost.retain(|lost| lost.count > 0);
        lost
    }

    /// Losses for lack of room since the last call.
    pub(crate) fn new_ring_full(&mut self) -> Vec<Lost> {
        let mut lost = Vec::new();
        for (cpu, told) in self.told_ring_full.iter_mut().enumerate() {
            for (kind, told) in Kind::ALL.into_iter().zip(told) {
                let count = self.counters.read(cpu, RING_FULL + kind.0 as usize);
                if count > *told {
                    let cpu = u32::try_from(cpu).ok();
                    lost.push(Lost { kind, cause: LossCause::RingFull, cpu, count: count - *told });
                    *told = count;
                }
            }
        }
        lost
    }

    /// Losses by recursion since the last call. The kernel counts them for all CPUs together.
    pub(crate) fn new_recursion(&mut self) -> Vec<Lost> {
        let mut lost = Vec::new();
        for kind in Kind::ALL {
            let count = self.recursion(kind).unwrap_or(0);
            let Some(told) = self.told_recursion.get_mut(kind.0 as usize) else { continue };
            if count > *told {
                let count = count - std::mem::replace(told, count);
                lost.push(Lost { kind, cause: LossCause::Recursion, cpu: None, count });
            }
        }
        lost
    }

    fn sum(&self, word: usize) -> u64 {
        (0..self.counters.len()).map(|cpu| self.counters.read(cpu, word)).sum()
    }
}

/// The kernel's count of skipped runs of a program; `None` where `bpf_prog_info` ends before that
/// field (it came with 5.12). Asked by system call: nothing here opens files after start-up.
pub(crate) fn recursion_misses(program: &OwnedFd) -> io::Result<Option<u64>> {
    let info = bpf::program_info(program.as_fd())?;
    let needed = offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    Ok((info.known >= needed).then_some(info.value.recursion_misses))
}
