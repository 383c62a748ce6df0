//! The out-of-memory killer chose a victim: `mark_victim`.

use core::mem::size_of;

use aya_ebpf::programs::BtfTracePointContext;
use guard_common::config::HAS_VICTIM_TASK;
use guard_common::layout::ABSENT;
use guard_common::wire::{Kind, Oom, Task};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::filter;
use crate::read::{Kernel, Typed};
use crate::task;

/// Words of a record's part that describes a process.
const TASK_WORDS: usize = size_of::<Task>() / 8;

/// `mark_victim(task, uid)`, or `mark_victim(pid)` before 6.9 and its back-ports.
#[inline(always)]
pub(crate) fn record(ctx: &BtfTracePointContext) {
    if !emit::wanted(Kind::OOM) {
        return;
    }
    if config!(kernel) & HAS_VICTIM_TASK != 0 {
        let victim = Typed::at(ctx.arg::<u64>(0));
        if filter::passes(victim) {
            of_task(victim);
        }
    } else {
        of_pid(ctx.arg::<u32>(0));
    }
}

#[inline(always)]
fn of_task(victim: Typed) {
    let Some(attempt) = Attempt::new(Kind::OOM) else { return };
    let Some(mut entry) = attempt.reserve::<Oom>() else { return };
    let (id, hierarchy) = if offset!(subsys_memory) == ABSENT {
        (0, 0)
    } else {
        let memory = task::controller_cgroup(victim.follow(offset!(task_cgroups)), offset!(subsys_memory));
        (task::cgroup_id(memory), task::cgroup_hierarchy(memory))
    };
    let oom = entry.as_mut_ptr();
    // SAFETY: places within the reserved record.
    unsafe {
        task::fill(&raw mut (*oom).victim, victim);
        (&raw mut (*oom).memory_cgroup_id).write(id);
        (&raw mut (*oom).memory_hierarchy).write(hierarchy);
        (&raw mut (*oom).pid).write(task::tgid(victim));
    }
    attempt.submit(entry);
}

#[inline(always)]
fn of_pid(pid: u32) {
    let Some(attempt) = Attempt::new(Kind::OOM) else { return };
    let Some(mut entry) = attempt.reserve::<Oom>() else { return };
    let oom = entry.as_mut_ptr();
    // SAFETY: places within the reserved record; zeros are a valid `Task`.
    unsafe {
        (&raw mut (*oom).victim).cast::<[u64; TASK_WORDS]>().write([0; TASK_WORDS]);
        (&raw mut (*oom).memory_cgroup_id).write(0);
        (&raw mut (*oom).memory_hierarchy).write(0);
        (&raw mut (*oom).pid).write(pid);
    }
    attempt.submit(entry);
}
