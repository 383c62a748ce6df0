//! A new program in a process: `sched_process_exec`.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use aya_log_ebpf::debug;
use guard_common::config::HAS_PREPARE_EXEC;
use guard_common::layout::ABSENT;
use guard_common::limits::{
    ARGS_LARGE_BYTES, ARGS_SMALL_BYTES, EXEC_LARGE_BYTES, EXEC_SMALL_BYTES, PATH_STEPS, PATH_STEPS_SMALL,
};
use guard_common::wire::{
    EXEC_ARGS_UNREADABLE, EXEC_CWD_DELETED, EXEC_CWD_TRUNCATED, EXEC_EXE_DELETED, EXEC_EXE_TRUNCATED,
    EXEC_SECURE, ExecRoom, Kind, UNKNOWN,
};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::filter;
use crate::maps::EXEC_NOTES_BY_PROCESS;
use crate::path::{self, Sink, Start};
use crate::read::{Kernel, Typed, Untyped};
use crate::task;

/// What is known before the record has room: some of it each hook knows in its own way.
#[derive(Clone, Copy)]
struct Call {
    gained: u64,
    old_tid: u32,
    args_count: u32,
    flags: u32,
}

/// Stands in a note beside the capabilities, of which there are 41: the exec is secure.
const NOTED_SECURE: u64 = 1 << 63;

/// `sched_prepare_exec(task, bprm)`: the new credentials are known, the old ones still in force.
/// Nearly every exec gains nothing and leaves no note.
#[inline(always)]
pub(crate) fn prepare(ctx: &BtfTracePointContext) {
    let task = Typed::at(ctx.arg::<u64>(0));
    let bprm = Typed::at(ctx.arg::<u64>(1));
    let effective = |cred: Typed| cred.read::<u64>(offset!(cred_cap_effective));
    let gained = effective(bprm.follow(offset!(bprm_cred))) & !effective(task.follow(offset!(task_cred)));
    let note = if is_secure(bprm) { gained | NOTED_SECURE } else { gained };
    if note != 0 && EXEC_NOTES_BY_PROCESS.insert(task::tgid(task), note, 0).is_err() {
        debug!((), "what process {} gains by its exec is not remembered", task::tgid(task));
    }
}

/// What [`prepare`] noted, once: capabilities gained, and flags.
#[inline(always)]
fn noted(tgid: u32) -> (u64, u32) {
    if config!(kernel) & HAS_PREPARE_EXEC == 0 {
        return (UNKNOWN, 0);
    }
    let Some(note) = EXEC_NOTES_BY_PROCESS.get_ptr(tgid) else { return (0, 0) };
    // SAFETY: an aligned entry of the map; only this process's own exec writes it.
    let note = unsafe { *note };
    // Absent is as good as removed.
    let _ = EXEC_NOTES_BY_PROCESS.remove(tgid);
    (note & !NOTED_SECURE, if note & NOTED_SECURE != 0 { EXEC_SECURE } else { 0 })
}

/// `sched_process_exec(task, old_pid, bprm)`.
#[inline(always)]
pub(crate) fn from_arguments(ctx: &BtfTracePointContext) {
    let task = Typed::at(ctx.arg::<u64>(0));
    if !emit::wanted(Kind::EXEC) || !filter::passes(task) {
        return;
    }
    let bprm = Typed::at(ctx.arg::<u64>(2));
    let (gained, flags) = noted(task::tgid(task));
    record(
        task,
        Call {
            gained,
            old_tid: ctx.arg::<u32>(1),
            args_count: bprm.read(offset!(bprm_argc)),
            flags: flags | if is_secure(bprm) { EXEC_SECURE } else { 0 },
        },
    );
}

/// The current process has a new program.
#[inline(always)]
pub(crate) fn from_current(ctx: &TracePointContext) {
    // SAFETY: a helper without arguments.
    let task = Untyped::at(unsafe { bpf_get_current_task() });
    if !emit::wanted(Kind::EXEC) || !filter::passes(task) {
        return;
    }
    // SAFETY: the offset is that of `old_pid` in this kernel's record format.
    let old_tid = unsafe { ctx.read_at::<u32>(config!(exec_old_pid) as usize) }.unwrap_or(0);
    let (gained, flags) = noted(task::tgid(task));
    record(task, Call { gained, old_tid, args_count: argument_count(task), flags });
}

/// The number that the kernel put at the beginning of the initial stack.
#[inline(always)]
fn argument_count(task: Untyped) -> u32 {
    let stack: u64 = task.follow(offset!(task_mm)).read(offset!(mm_start_stack));
    let mut count = 0_u32;
    // SAFETY: the destination is four bytes; a failed read leaves zeros.
    unsafe { bpf_probe_read_user((&raw mut count).cast(), 4, stack as *const _) };
    count
}

/// Whether the kernel gives a program privileges that its caller lacks: a bit field.
#[inline(always)]
fn is_secure(bprm: Typed) -> bool {
    let at = offset!(bprm_secureexec);
    at != ABSENT && bprm.read::<u32>(at / 32 * 4) >> (at % 32) & 1 != 0
}

/// Makes the record in the smaller room if it fits. The arguments' size is known beforehand, that
/// of the paths is not: a room that turns out too small is given back.
#[inline(always)]
fn record<K: Kernel>(task: K, call: Call) {
    let mm = task.follow(offset!(task_mm));
    let first: u64 = mm.read(offset!(mm_arg_start));
    let args = (mm.read::<u64>(offset!(mm_arg_end)).wrapping_sub(first)) as u32 as usize;
    let Some(attempt) = Attempt::new(Kind::EXEC) else { return };
    if args <= ARGS_SMALL_BYTES
        && fill::<K, EXEC_SMALL_BYTES, ARGS_SMALL_BYTES, PATH_STEPS_SMALL>(&attempt, task, call, args, false)
    {
        return;
    }
    fill::<K, EXEC_LARGE_BYTES, ARGS_LARGE_BYTES, PATH_STEPS>(&attempt, task, call, args, true);
}

/// Fills a record of `BYTES` of variable data, of which the last `ARGS` are kept for arguments.
/// Returns whether the attempt is over: the record is made or lost. A `last` attempt truncates
/// what does not fit.
#[inline(always)]
fn fill<K: Kernel, const BYTES: usize, const ARGS: usize, const STEPS: u32>(
    attempt: &Attempt,
    task: K,
    call: Call,
    args: usize,
    last: bool,
) -> bool {
    let Some(mut entry) = attempt.reserve::<ExecRoom<BYTES>>() else { return true };
    let room = entry.as_mut_ptr();
    let mm = task.follow(offset!(task_mm));
    let file = mm.follow(offset!(mm_exe_file));
    let fs = task.follow(offset!(task_fs));
    let exe = Start { dentry: file.follow(offset!(file_dentry)), mount: file.follow(offset!(file_mnt)) };
    let cwd = Start { dentry: fs.follow(offset!(fs_pwd_dentry)), mount: fs.follow(offset!(fs_pwd_mnt)) };
    // SAFETY: places within the reserved record; `exe_inode` gets its own value at the end. The task
    // comes first: later, the verifier would follow it for each way that leads there.
    let (exec, sink) = unsafe {
        let exec = &raw mut (*room).exec;
        task::fill(&raw mut (*exec).task, task);
        let sink = Sink::<BYTES, STEPS> {
            data: (&raw mut (*room).data).cast(),
            end: &raw mut (*exec).cwd_bytes,
            flags: &raw mut (*exec).flags,
            top: &raw mut (*exec).exe_inode,
        };
        (exec, sink.clear())
    };
    path::walk(sink, exe, (EXEC_EXE_TRUNCATED, EXEC_EXE_DELETED));
    let exe_bytes = sink.end();
    path::walk(sink, cwd, (EXEC_CWD_TRUNCATED, EXEC_CWD_DELETED));
    let args_start = sink.end() as usize;
    let mut flags = sink.flags() | call.flags;
    let fits = args_start <= BYTES - ARGS;
    if !last && (flags & (EXEC_EXE_TRUNCATED | EXEC_CWD_TRUNCATED) != 0 || !fits) {
        entry.discard(u64::from(aya_ebpf::bindings::BPF_RB_NO_WAKEUP));
        return false;
    }
    if flags & (EXEC_EXE_TRUNCATED | EXEC_CWD_TRUNCATED) != 0 {
        debug!((), "a path of process {} is longer than a record", task::tgid(task));
    }
    let first: u64 = mm.read(offset!(mm_arg_start));
    // Through memory, so that the verifier sees the bound on the very number that is used.
    // SAFETY: a place within the reserved record.
    let mut args_bytes = unsafe {
        (&raw mut (*exec).args_total).write_volatile(args as u32);
        (&raw const (*exec).args_total).read_volatile()
    };
    if args_bytes > ARGS as u32 {
        args_bytes = ARGS as u32;
    }
    // The same for where they go.
    let at = sink.end() as usize;
    let args_read = at <= BYTES - ARGS && {
        // SAFETY: at most `ARGS` bytes from a place that leaves room for as many.
        let answer = unsafe { bpf_probe_read_user(sink.data.add(at).cast(), args_bytes, first as *const _) };
        answer == 0
    };
    if !args_read {
        args_bytes = 0;
        flags |= EXEC_ARGS_UNREADABLE;
    }
    let inode = file.follow(offset!(file_inode));
    // SAFETY: places within the reserved record.
    unsafe {
        (&raw mut (*exec).caps_gained).write(call.gained);
        (&raw mut (*exec).exe_inode).write(inode.read(offset!(inode_ino)));
        (&raw mut (*exec).exe_device).write(inode.follow(offset!(inode_sb)).read(offset!(sb_dev)));
        (&raw mut (*exec).old_tid).write(call.old_tid);
        (&raw mut (*exec).args_count).write(call.args_count);
        (&raw mut (*exec).args_bytes).write(args_bytes);
        (&raw mut (*exec).exe_bytes).write(exe_bytes);
        (&raw mut (*exec).cwd_bytes).write(args_start as u32 - exe_bytes);
        (&raw mut (*exec).flags).write(flags);
    }
    attempt.submit(entry);
    true
}
