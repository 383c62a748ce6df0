//! All processes that exist: a task iterator.

use core::ffi::c_void;
use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_seq_write};
use guard_common::wire::{Header, Kind, Snapshot, TASK_ENDING, TASK_FILTERED, TASK_NEW};

use crate::config::offset;
use crate::read::{Kernel, Typed};
use crate::{filter, task};

/// Bit of a task's state from before it is in the kernel's list until after the fork hook, when it
/// is put on a run queue: the kernel's own `TASK_NEW` (linux/sched.h), the same number since 4.8.
const STATE_NEW: u32 = 0x800;

/// Writes a record if the task is a group leader that may still get, or cause, records. A group
/// without a live thread is marked: its exit record is made or about to be. Once all of its tasks
/// are past the exit hook it is left out.
#[inline(always)]
pub(crate) fn write(ctx: *mut c_void) {
    // `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`, and
    // `meta` begins with the `seq_file`: fixed by the kernel's iterator interface.
    let ctx = Typed::at(ctx as u64);
    let task = ctx.follow(8);
    if task.address() == 0 {
        return;
    }
    if task.read::<u32>(offset!(task_pid)) != task::tgid(task) {
        return;
    }
    let signal = task.follow(offset!(task_signal));
    let ending = signal.read::<u32>(offset!(signal_live)) == 0;
    // The leader's state is set after its exit hook; other threads are unlinked after theirs.
    if ending
        && task.read::<u32>(offset!(task_exit_state)) != 0
        && signal.read::<u32>(offset!(signal_nr_threads)) <= 1
    {
        return;
    }
    let seq = ctx.follow(0).follow(0);
    // SAFETY: integers; zeros are valid.
    let mut snapshot: Snapshot = unsafe { core::mem::zeroed() };
    // SAFETY: a helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_boot_ns() };
    snapshot.header = Header { kind: Kind::SNAPSHOT, cpu: 0, sequence: 0, time_ns };
    // SAFETY: a local record is writable; the helper copies it out.
    unsafe {
        task::fill(&raw mut snapshot.task, task);
        snapshot.task.flags |= if ending { TASK_ENDING } else { 0 }
            | if filter::passes(task) { 0 } else { TASK_FILTERED }
            | if task.read::<u32>(offset!(task_state)) & STATE_NEW != 0 { TASK_NEW } else { 0 };
        bpf_seq_write(seq.address() as *mut _, (&raw const snapshot).cast(), size_of::<Snapshot>() as u32);
    }
}
