//! From hook to ring: numbering, reservation, loss and wake-up.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_ebpf::maps::ring_buf::RingBufEntry;
use guard_common::control::ARMED;
use guard_common::control::CpuCounters;
use guard_common::wire::{Header, Kind};

use crate::config::config;
use crate::maps::{CONTROL, COUNTERS, RING};

/// A record that a program has set out to make. It has its number from the start, so that a
/// record without room leaves a hole in the sequence besides its count.
pub(crate) struct Attempt {
    header: Header,
    counters: *mut CpuCounters,
}

/// Whether records of this kind are wanted. Programs can run for other reasons: to follow the
/// children of a watched process, say.
#[inline(always)]
pub(crate) fn wanted(kind: Kind) -> bool {
    config!(kinds) & 1 << kind.0 != 0
}

impl Attempt {
    /// Numbers the next record of a kind on this CPU.
    #[inline(always)]
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        // SAFETY: helpers without arguments.
        let (cpu, time_ns) = unsafe { (bpf_get_smp_processor_id(), bpf_ktime_get_boot_ns()) };
        let counters = COUNTERS.get_ptr_mut(cpu)?;
        // SAFETY: `counters` is this CPU's entry; a program is not entered twice on one CPU, so
        // nobody else writes this kind's number.
        let sequence = unsafe {
            let attempted = (&raw mut (*counters).attempted).cast::<u64>().add(kind.0 as usize);
            *attempted += 1;
            *attempted
        };
        Some(Self { header: Header { kind, cpu, sequence, time_ns }, counters })
    }

    /// Finds room for a record of type `T`, whose first field is the header, and writes that.
    /// Without room the record is counted as lost.
    #[inline(always)]
    pub(crate) fn reserve<T>(&self) -> Option<RingBufEntry<T>> {
        let Some(mut entry) = RING.reserve::<T>(0) else {
            // SAFETY: as in `new`.
            unsafe {
                let kind = self.header.kind.0 as usize;
                *(&raw mut (*self.counters).ring_full).cast::<u64>().add(kind) += 1;
            }
            return None;
        };
        // SAFETY: every record type begins with a header.
        unsafe { entry.as_mut_ptr().cast::<Header>().write(self.header) };
        Some(entry)
    }

    /// Hands a complete record to the reader and wakes it if it waits for the first one.
    #[inline(always)]
    pub(crate) fn submit<T>(&self, entry: RingBufEntry<T>) {
        self.submit_and_wake(entry, ARMED);
    }

    /// Hands a complete record to the reader and wakes it if it is armed for no more than that.
    ///
    /// Committing is a full barrier, and the flag is read after it: either the reader, which arms
    /// before it looks, sees the record, or this program sees the armed flag. The wake-up itself
    /// is an empty record that is discarded, since the real one is already committed.
    #[inline(always)]
    pub(crate) fn submit_and_wake<T>(&self, entry: RingBufEntry<T>, urgency: u64) {
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        let Some(control) = CONTROL.get_ptr_mut(0) else { return };
        // SAFETY: the map's only entry; all sides access the flag as one aligned word.
        let armed = unsafe { (&raw const (*control).armed).read_volatile() };
        if armed == 0 || armed > urgency {
            return;
        }
        if let Some(nudge) = RING.reserve::<u64>(0) {
            // SAFETY: as above.
            unsafe { (&raw mut (*control).armed).write_volatile(0) };
            nudge.discard(u64::from(BPF_RB_FORCE_WAKEUP));
            // SAFETY: this CPU's entry; a nested program may lose one count, which is only told.
            unsafe { (*self.counters).wakeups += 1 };
        }
    }
}
