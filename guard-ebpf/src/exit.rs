//! The end of a process: `sched_process_exit` of its last thread.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_ktime_get_boot_ns};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use guard_common::config::{HAS_GROUP_DEAD, WATCH, WATCH_TOMBSTONES};
use guard_common::control::Tombstone;
use guard_common::layout::ABSENT;
use guard_common::limits::EXIT_THREADS;
use guard_common::wire::{Exit, Kind, UNKNOWN};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::maps::{EXIT_CLAIMS_BY_PROCESS, TOMBSTONES_BY_PROCESS};
use crate::read::{Kernel, Typed, Untyped};
use crate::{filter, sched, task, watch};

/// `SIGNAL_GROUP_EXIT` of the kernel's `sched/signal.h`: the group's code is the one that counts.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `BPF_NOEXIST` of `linux/bpf.h`.
const NOEXIST: u64 = 1;

/// Bytes of a page: the unit of the kernel's `maxrss`. The sensor is built for x86-64.
const PAGE_BYTES: u64 = 4096;

/// `sched_process_exit(task, group_dead)`; the second argument came with 6.16.
#[inline(always)]
pub(crate) fn from_arguments(ctx: &BtfTracePointContext) {
    let task = Typed::at(ctx.arg::<u64>(0));
    sched::ended(task);
    let last =
        if config!(kernel) & HAS_GROUP_DEAD != 0 { ctx.arg::<u64>(1) as u8 != 0 } else { elected(task) };
    if last {
        record(task);
    }
}

/// The current thread ends.
#[inline(always)]
pub(crate) fn from_current(ctx: &TracePointContext) {
    // SAFETY: a helper without arguments.
    let task = Untyped::at(unsafe { bpf_get_current_task() });
    sched::ended(task);
    let last = if config!(kernel) & HAS_GROUP_DEAD != 0 {
        // SAFETY: the offset is that of `group_dead` in this kernel's record format.
        unsafe { ctx.read_at::<u8>(config!(exit_group_dead) as usize) }.unwrap_or(0) != 0
    } else {
        elected(task)
    };
    if last {
        record(task);
    }
}

/// Whether this thread speaks for its group, where the kernel does not say which was last. Every
/// thread that sees none alive may be: the first to claim is.
#[inline(always)]
fn elected<K: Kernel>(task: K) -> bool {
    let signal = task.follow(offset!(task_signal));
    if signal.read::<u32>(offset!(signal_live)) != 0 {
        return false;
    }
    if signal.read::<u32>(offset!(signal_nr_threads)) == 1 {
        return true;
    }
    let mut claim = task::key(task);
    claim.tid = 0;
    EXIT_CLAIMS_BY_PROCESS.insert(claim, 1, NOEXIST).is_ok()
}

#[inline(always)]
fn record<K: Kernel>(task: K) {
    let tgid = task::tgid(task);
    let watched = config!(watch) & WATCH != 0 && watch::group(tgid) != 0;
    if watched && config!(watch) & WATCH_TOMBSTONES != 0 {
        remember(task);
    }
    if emit::wanted(Kind::EXIT)
        && filter::passes(task)
        && let Some(attempt) = Attempt::new(Kind::EXIT)
        && let Some(mut entry) = attempt.reserve::<Exit>()
    {
        // SAFETY: a reserved record is writable.
        unsafe { fill(entry.as_mut_ptr(), task) };
        attempt.submit(entry);
    }
    if watched {
        watch::leave(tgid);
    }
}

/// Remembers how a watched process ended. Before its record is made: the reader forgets it after that.
#[inline(always)]
fn remember<K: Kernel>(task: K) {
    let mut key = task::key(task);
    key.tid = 0;
    // SAFETY: a helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    let status = u64::from(status(task, task.follow(offset!(task_signal))));
    // Without room the oldest goes: then its status stays unknown.
    let _ = TOMBSTONES_BY_PROCESS.insert(key, Tombstone { time_ns, status }, 0);
}

/// # Safety
/// `exit` must be writable; every field but the header is written.
#[inline(always)]
unsafe fn fill<K: Kernel>(exit: *mut Exit, task: K) {
    let signal = task.follow(offset!(task_signal));
    let threads: u32 = signal.read(offset!(signal_nr_threads));
    // SAFETY: the caller's promise.
    unsafe {
        task::fill(&raw mut (*exit).task, task);
        (&raw mut (*exit).user_ns).write(signal.read(offset!(signal_utime)));
        (&raw mut (*exit).system_ns).write(signal.read(offset!(signal_stime)));
        (&raw mut (*exit).runtime_ns).write(signal.read(offset!(signal_runtime)));
        (&raw mut (*exit).minor_faults).write(signal.read(offset!(signal_min_flt)));
        (&raw mut (*exit).major_faults).write(signal.read(offset!(signal_maj_flt)));
        (&raw mut (*exit).voluntary_switches).write(signal.read(offset!(signal_nvcsw)));
        (&raw mut (*exit).involuntary_switches).write(signal.read(offset!(signal_nivcsw)));
        (&raw mut (*exit).peak_rss_bytes).write(signal.read::<u64>(offset!(signal_maxrss)) * PAGE_BYTES);
        (&raw mut (*exit).read_bytes).write(optional(signal, offset!(signal_read_bytes)));
        (&raw mut (*exit).write_bytes).write(optional(signal, offset!(signal_write_bytes)));
        (&raw mut (*exit).status).write(status(task, signal));
        (&raw mut (*exit).threads).write(threads);
        if threads == 1 {
            add(exit, task);
        } else {
            add_all(exit, signal);
        }
    }
}

/// What `wait()` will say: the group's code once the group exits as a whole, else the leader's.
#[inline(always)]
fn status<K: Kernel>(task: K, signal: K) -> u32 {
    if signal.read::<u32>(offset!(signal_flags)) & SIGNAL_GROUP_EXIT != 0 {
        signal.read(offset!(signal_group_exit_code))
    } else {
        task.follow(offset!(task_group_leader)).read(offset!(task_exit_code))
    }
}

/// Adds up all threads that are not reaped yet: the kernel has counted the others already.
///
/// # Safety
/// `exit` must be writable and filled.
#[inline(always)]
unsafe fn add_all<K: Kernel>(exit: *mut Exit, signal: K) {
    let head = signal.address() + u64::from(offset!(signal_thread_head));
    let mut link = Untyped::at(head).read::<u64>(0);
    for _ in 0..EXIT_THREADS {
        if link == head || link == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { add(exit, Untyped::at(link.wrapping_sub(u64::from(offset!(task_thread_node))))) };
        link = Untyped::at(link).read(0);
    }
}

/// Adds what one thread used.
///
/// # Safety
/// `exit` must be writable and filled.
#[inline(always)]
unsafe fn add<K: Kernel>(exit: *mut Exit, thread: K) {
    // SAFETY: the caller's promise.
    unsafe {
        (*exit).user_ns += thread.read::<u64>(offset!(task_utime));
        (*exit).system_ns += thread.read::<u64>(offset!(task_stime));
        (*exit).runtime_ns += thread.read::<u64>(offset!(task_runtime));
        (*exit).minor_faults += thread.read::<u64>(offset!(task_min_flt));
        (*exit).major_faults += thread.read::<u64>(offset!(task_maj_flt));
        (*exit).voluntary_switches += thread.read::<u64>(offset!(task_nvcsw));
        (*exit).involuntary_switches += thread.read::<u64>(offset!(task_nivcsw));
        if offset!(task_read_bytes) != ABSENT {
            (*exit).read_bytes += thread.read::<u64>(offset!(task_read_bytes));
            (*exit).write_bytes += thread.read::<u64>(offset!(task_write_bytes));
        }
    }
}

#[inline(always)]
fn optional<K: Kernel>(structure: K, offset: u32) -> u64 {
    if offset == ABSENT { UNKNOWN } else { structure.read(offset) }
}
