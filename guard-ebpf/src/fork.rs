//! A new thread group: `sched_process_fork`.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use guard_common::config::WATCH_INHERIT;
use guard_common::limits::YOUNGEST_CHILDREN;
use guard_common::wire::{Fork, Kind};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::read::{Kernel, Typed, Untyped};
use crate::{filter, task, watch};

/// `sched_process_fork(parent, child)`.
#[inline(always)]
pub(crate) fn from_arguments(ctx: &BtfTracePointContext) {
    let child = Typed::at(ctx.arg::<u64>(1));
    if is_leader(child) {
        record(child);
    }
}

/// The classic tracepoint gives only the child's thread id. The child is among the youngest
/// children of the current thread or, if it was cloned as a sibling, of the current one's parent;
/// a new thread is in neither list.
#[inline(always)]
pub(crate) fn from_current(ctx: &TracePointContext) {
    // SAFETY: the offset is that of `child_pid` in this kernel's record format.
    let Ok(pid) = (unsafe { ctx.read_at::<u32>(config!(fork_child_pid) as usize) }) else { return };
    // SAFETY: a helper without arguments.
    let current = Untyped::at(unsafe { bpf_get_current_task() });
    let child = youngest(current, pid)
        .or_else(|| youngest(current.follow(offset!(task_group_leader)), pid))
        .or_else(|| youngest(current.follow(offset!(task_real_parent)), pid));
    if let Some(child) = child {
        record(child);
    }
}

#[inline(always)]
fn youngest(parent: Untyped, pid: u32) -> Option<Untyped> {
    let mut link: u64 = parent.read(offset!(task_children));
    for _ in 0..YOUNGEST_CHILDREN {
        let child = Untyped::at(link.wrapping_sub(u64::from(offset!(task_sibling))));
        if child.read::<u32>(offset!(task_pid)) == pid && is_leader(child) {
            return Some(child);
        }
        // `prev` is the second word of a list link.
        link = Untyped::at(link).read(8);
    }
    None
}

#[inline(always)]
fn is_leader<K: Kernel>(task: K) -> bool {
    task.read::<u32>(offset!(task_pid)) == task::tgid(task)
}

#[inline(always)]
fn record<K: Kernel>(child: K) {
    if config!(watch) & WATCH_INHERIT != 0 {
        let group = watch::group(task::tgid(child.follow(offset!(task_real_parent))));
        if group != 0 {
            watch::join(task::tgid(child), group);
        }
    }
    if !emit::wanted(Kind::FORK) || !filter::passes(child) {
        return;
    }
    let Some(attempt) = Attempt::new(Kind::FORK) else { return };
    let Some(mut entry) = attempt.reserve::<Fork>() else { return };
    // SAFETY: a reserved record is writable.
    unsafe { task::fill(&raw mut (*entry.as_mut_ptr()).child, child) };
    attempt.submit(entry);
}
