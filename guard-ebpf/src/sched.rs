//! How long watched threads wait: `sched_wakeup`, `sched_wakeup_new` and `sched_switch`.
//!
//! The hottest hooks of the kernel. For threads that are not watched each costs one or two typed loads and
//! array lookups, which the kernel turns into plain loads, and no helper call. All three run with interrupts
//! disabled on the CPU whose histograms they write, so nothing here is atomic.
//!
//! ```text
//!               switched out: preempted               chosen
//!   running -------------------------------> runnable -------> running
//!      |  switched out: it sleeps           ^  woken
//!      +--------------> off the CPU --------+
//! ```

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::programs::BtfTracePointContext;
use guard_common::config::{HAS_SWITCH_STATE, WATCH_LATENCY};
use guard_common::control::{
    CpuLatency, LongRun, Thread, WAIT_INVOLUNTARY, WAIT_RUN_QUEUE, WAIT_UNINTERRUPTIBLE, WAIT_VOLUNTARY,
};
use guard_common::layout::ABSENT;
use guard_common::limits::LATENCY_BUCKETS;
use guard_common::wire::{Kind, ProcKey, STALL_RUN_QUEUE, STALL_UNINTERRUPTIBLE, Stall};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::maps::{LATENCY, LONG_RUNS, THREADS};
use crate::read::{Kernel, Typed, Untyped};
use crate::{filter, task, watch};

// States of the kernel's `sched.h`, the same since 4.14 (2017).
/// Sleeps until it is woken by what it waits for, and by nothing else but, perhaps, a fatal signal.
const TASK_UNINTERRUPTIBLE: u32 = 0x2;
/// Gone for good: the last switch.
const TASK_DEAD: u32 = 0x80;
/// With [`TASK_UNINTERRUPTIBLE`]: a kernel thread without work, which counts as nobody's wait.
const TASK_NOLOAD: u32 = 0x400;

/// Stands for one that is not known.
const NOBODY: ProcKey = ProcKey { start_ns: 0, tgid: 0, tid: 0 };

/// The index of the last bucket.
const LAST_BUCKET: u64 = LATENCY_BUCKETS as u64 - 1;

/// `sched_wakeup(task)`. Also told of a thread that was about to sleep and did not: it is seen to leave a CPU
/// later, which says the time anew.
#[inline(always)]
pub(crate) fn woken(ctx: &BtfTracePointContext) {
    let task = Typed::at(ctx.arg::<u64>(0));
    if watch::group(task::tgid(task)) == 0 {
        return;
    }
    if let Some(thread) = THREADS.get_ptr_mut(task.read::<u32>(offset!(task_pid))) {
        let (first, first_comm) = first(task);
        // SAFETY: a helper without arguments; aligned words of the map's entry.
        unsafe {
            (&raw mut (*thread).runnable_ns).write(bpf_ktime_get_ns());
            (&raw mut (*thread).first).write(first);
            (&raw mut (*thread).first_comm).write(first_comm);
        }
    } else {
        begin(task);
    }
}

/// Who has the CPU for which a thread that was just woken will wait. Its run queue is locked meanwhile.
#[inline(always)]
fn first(task: Typed) -> (ProcKey, [u64; 2]) {
    if !emit::wanted(Kind::STALL) {
        return (NOBODY, [0; 2]);
    }
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let current = if task.read::<u32>(offset!(task_cpu)) == cpu {
        // SAFETY: the same.
        Untyped::at(unsafe { bpf_get_current_task() })
    } else if offset!(task_fair_queue) != ABSENT
        && offset!(fair_queue_of) != ABSENT
        && offset!(queue_current) != ABSENT
    {
        let queue = Untyped::at(task.read(offset!(task_fair_queue)));
        queue.follow(offset!(fair_queue_of)).follow(offset!(queue_current))
    } else {
        return (NOBODY, [0; 2]);
    };
    (task::key(current), task::comm(current))
}

/// `sched_wakeup_new(task)`. What is remembered under its id is of a thread before it.
#[inline(always)]
pub(crate) fn born(ctx: &BtfTracePointContext) {
    let task = Typed::at(ctx.arg::<u64>(0));
    if watch::group(task::tgid(task)) != 0 {
        begin(task);
    }
}

/// A thread that was not followed so far can run.
#[inline(always)]
fn begin(task: Typed) {
    // SAFETY: a helper without arguments.
    let runnable_ns = unsafe { bpf_ktime_get_ns() };
    let (first, first_comm) = first(task);
    let (process, wait) = (task::key(task), WAIT_VOLUNTARY);
    follow(task, Thread { off_ns: 0, runnable_ns, process, first, first_comm, wait, cpu: 0 });
}

#[inline(always)]
fn follow(task: Typed, thread: Thread) {
    if THREADS.insert(thread.process.tid, thread, 0).is_err()
        && let Some(latency) = latency(watch::group(task::tgid(task)))
    {
        // SAFETY: this CPU's entry, and interrupts are disabled.
        unsafe { (*latency).missed += 1 };
    }
}

/// `sched_switch(preempt, previous, next, previous_state)`; the last argument came with 5.18. The idle task's
/// thread group is 0, which nobody can watch.
#[inline(always)]
pub(crate) fn switched(ctx: &BtfTracePointContext) {
    let (previous, next) = (Typed::at(ctx.arg::<u64>(1)), Typed::at(ctx.arg::<u64>(2)));
    if emit::wanted(Kind::STALL) {
        long_run(previous);
    }
    let (left, entered) = (watch::group(task::tgid(previous)), watch::group(task::tgid(next)));
    if left | entered == 0 {
        return;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if left != 0 {
        leave(ctx, previous, next, now);
    }
    if entered != 0 {
        enter(previous, next, entered, now);
    }
}

/// Remembers who leaves its CPU after it had it for long: whoever waited behind it may run only after others did for
/// a moment. Two loads for all others.
#[inline(always)]
fn long_run(task: Typed) {
    // The fair scheduler alone begins anew with each stretch: of a real-time thread this may be the sum of many.
    let ran_ns =
        task.read::<u64>(offset!(task_runtime)).saturating_sub(task.read(offset!(task_runtime_before)));
    if ran_ns < config!(stall_run_queue_ns) / 2 {
        return;
    }
    let Some(runs) = LONG_RUNS.get_ptr_mut(0) else { return };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: this CPU's entry, and interrupts are disabled.
    unsafe {
        // Nobody ran for longer than since another such one left.
        let ran_ns = ran_ns.min(now.saturating_sub((*runs).left_ns));
        (*runs).left_ns = now;
        if ran_ns < config!(stall_run_queue_ns) / 2 {
            return;
        }
        let (longest, since) = (&raw mut (*runs).longest, &raw mut (*runs).since);
        match (outlasts(longest, ran_ns, now), outlasts(since, ran_ns, now)) {
            (true, true) => {}
            (true, false) => write(since, task, ran_ns, now),
            (false, true) => {
                longest.write(since.read());
                write(since, task, ran_ns, now);
            }
            (false, false) => {
                write(longest, task, ran_ns, now);
                (*since).ran_ns = 0;
            }
        }
    }
}

/// Whether a run keeps its place: it lasted longer than another one that ends now, and ended less than that ago.
///
/// # Safety
/// It is of this CPU's entry, and interrupts are disabled.
#[inline(always)]
unsafe fn outlasts(run: *const LongRun, ran_ns: u64, now: u64) -> bool {
    // SAFETY: this function's own condition.
    unsafe { ran_ns < (*run).ran_ns && now.saturating_sub((*run).until_ns) < (*run).ran_ns }
}

/// Writes down who ran for long until now.
///
/// # Safety
/// It is of this CPU's entry, and interrupts are disabled.
#[inline(always)]
unsafe fn write(run: *mut LongRun, task: Typed, ran_ns: u64, now: u64) {
    // SAFETY: this function's own condition.
    unsafe {
        (&raw mut (*run).process).write(task::key(task));
        (&raw mut (*run).comm).write(task::comm(task));
        (*run).ran_ns = ran_ns;
        (*run).until_ns = now;
    }
}

/// A watched thread leaves its CPU.
#[inline(always)]
fn leave(ctx: &BtfTracePointContext, task: Typed, next: Typed, now: u64) {
    let state = if config!(kernel) & HAS_SWITCH_STATE != 0 {
        ctx.arg::<u32>(3)
    } else {
        task.read::<u32>(offset!(task_state))
    };
    if state & TASK_DEAD != 0 {
        forget(task);
        return;
    }
    // Preempted on its way to sleep it still has to go there: it can run, whatever its state says.
    let runnable = state == 0 || ctx.arg::<u64>(0) as u8 != 0;
    let wait = if runnable {
        WAIT_INVOLUNTARY
    } else if state & (TASK_UNINTERRUPTIBLE | TASK_NOLOAD) == TASK_UNINTERRUPTIBLE {
        WAIT_UNINTERRUPTIBLE
    } else {
        WAIT_VOLUNTARY
    };
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let runnable_ns = if runnable { now } else { 0 };
    let (first, first_comm) = if runnable { (task::key(next), task::comm(next)) } else { (NOBODY, [0; 2]) };
    if let Some(thread) = THREADS.get_ptr_mut(task.read::<u32>(offset!(task_pid))) {
        // SAFETY: aligned words of the map's entry. Until the end of this switch the thread can be neither
        // woken nor chosen elsewhere, so nobody else writes them.
        unsafe {
            (&raw mut (*thread).off_ns).write(now);
            (&raw mut (*thread).runnable_ns).write(runnable_ns);
            (&raw mut (*thread).first).write(first);
            (&raw mut (*thread).first_comm).write(first_comm);
            (&raw mut (*thread).wait).write(wait);
            (&raw mut (*thread).cpu).write(cpu);
        }
    } else {
        let process = task::key(task);
        follow(task, Thread { off_ns: now, runnable_ns, process, first, first_comm, wait, cpu });
    }
}

/// A watched thread gets a CPU: what it waited for is over.
#[inline(always)]
fn enter(previous: Typed, next: Typed, group: u16, now: u64) {
    let Some(thread) = THREADS.get_ptr_mut(next.read::<u32>(offset!(task_pid))) else { return };
    // SAFETY: aligned words of the map's entry, which only the hooks of this very thread write.
    let (off_ns, runnable_ns, wait) = unsafe {
        let all = ((*thread).off_ns, (*thread).runnable_ns, (*thread).wait);
        (&raw mut (*thread).off_ns).write(0);
        (&raw mut (*thread).runnable_ns).write(0);
        all
    };
    let Some(latency) = latency(group) else { return };
    if off_ns != 0 {
        count(latency, wait, off_ns, now);
    }
    if runnable_ns != 0 {
        count(latency, WAIT_RUN_QUEUE, runnable_ns, now);
    }
    if !emit::wanted(Kind::STALL) {
        return;
    }
    let queued = if runnable_ns == 0 { 0 } else { now.saturating_sub(runnable_ns) };
    let woken_ns = if runnable_ns == 0 { now } else { runnable_ns };
    let slept = if off_ns == 0 || wait != WAIT_UNINTERRUPTIBLE { 0 } else { woken_ns.saturating_sub(off_ns) };
    if slept != 0 && slept >= config!(stall_uninterruptible_ns) {
        tell(thread, (previous, next), STALL_UNINTERRUPTIBLE, slept, u64::MAX);
    }
    if queued != 0 && queued >= config!(stall_run_queue_ns) {
        tell(thread, (previous, next), STALL_RUN_QUEUE, queued, runnable_ns);
    }
}

/// Counts a wait that ends now.
#[inline(always)]
fn count(latency: *mut CpuLatency, wait: u32, since: u64, now: u64) {
    if now < since {
        // SAFETY: this CPU's entry, and interrupts are disabled.
        unsafe { (*latency).negative += 1 };
        return;
    }
    // The logarithm of 0 is that of 1: both are below 2 us.
    let mut bucket = u64::from(63 - ((now - since) / 1000).max(1).leading_zeros());
    if bucket > LAST_BUCKET {
        bucket = LAST_BUCKET;
    }
    let at = u64::from(wait & 3) * LATENCY_BUCKETS as u64 + (bucket & LAST_BUCKET);
    // SAFETY: one of the `WAITS * LATENCY_BUCKETS` numbers of this CPU's entry.
    unsafe { *(&raw mut (*latency).waits).cast::<u64>().add(at as usize) += 1 };
}

/// The histograms of a group on this CPU.
#[inline(always)]
fn latency(group: u16) -> Option<*mut CpuLatency> {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    LATENCY.get_ptr_mut(u32::from(group) * config!(cpus) + cpu)
}

/// Makes a record of a stall. Who had the CPU for long is named only if that was after `since_ns`.
#[inline(always)]
fn tell(thread: *mut Thread, switch: (Typed, Typed), what: u32, waited_ns: u64, since_ns: u64) {
    let (previous, next) = switch;
    if !filter::passes(next) {
        return;
    }
    let Some(attempt) = Attempt::new(Kind::STALL) else { return };
    let Some(mut entry) = attempt.reserve::<Stall>() else { return };
    let (instead, instead_comm) = instead(thread, previous, since_ns);
    let stall = entry.as_mut_ptr();
    // SAFETY: places within the reserved record; `instead_comm` lies at an 8-byte boundary.
    unsafe {
        (&raw mut (*stall).instead).write(instead);
        (&raw mut (*stall).instead_comm).cast::<[u64; 2]>().write(instead_comm);
        task::fill(&raw mut (*stall).task, next);
        (&raw mut (*stall).waited_ns).write(waited_ns);
        (&raw mut (*stall).what).write(what);
        (&raw mut (*stall).reserved).write(0);
    }
    attempt.submit(entry);
}

/// Who had the CPU while a thread waited.
#[inline(always)]
fn instead(thread: *mut Thread, previous: Typed, since_ns: u64) -> (ProcKey, [u64; 2]) {
    if let Some(runs) = LONG_RUNS.get_ptr(0) {
        // SAFETY: this CPU's entry, and interrupts are disabled.
        unsafe {
            let (longest, since) = (&raw const (*runs).longest, &raw const (*runs).since);
            let (of_longest_ns, of_since_ns) = (within(longest, since_ns), within(since, since_ns));
            if of_longest_ns != 0 && of_longest_ns >= of_since_ns {
                return ((*longest).process, (*longest).comm);
            }
            if of_since_ns != 0 {
                return ((*since).process, (*since).comm);
            }
        }
    }
    // SAFETY: aligned words of the map's entry.
    unsafe {
        if (*thread).first.tgid != 0 {
            return ((*thread).first, (*thread).first_comm);
        }
    }
    (task::key(previous), task::comm(previous))
}

/// How much of a run was after a time.
///
/// # Safety
/// It is of this CPU's entry, and interrupts are disabled.
#[inline(always)]
unsafe fn within(run: *const LongRun, since_ns: u64) -> u64 {
    // SAFETY: this function's own condition.
    unsafe { (*run).until_ns.saturating_sub(since_ns).min((*run).ran_ns) }
}

/// A thread ends. The last one of its group is not watched any more when it leaves its CPU for good.
#[inline(always)]
pub(crate) fn ended<K: Kernel>(task: K) {
    if config!(watch) & WATCH_LATENCY != 0 && watch::group(task::tgid(task)) != 0 {
        forget(task);
    }
}

#[inline(always)]
fn forget<K: Kernel>(task: K) {
    // Absent is as good as removed.
    let _ = THREADS.remove(task.read::<u32>(offset!(task_pid)));
}
