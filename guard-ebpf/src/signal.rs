//! A signal was generated: `signal_generate`.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::programs::BtfTracePointContext;
use guard_common::config::{FILTER_CHILD_SIGNALS, WATCH};
use guard_common::control::{ARMED, ARMED_FOR_DEATH, is_deadly};
use guard_common::wire::{Kind, ORIGIN_FAULT, ORIGIN_KERNEL, ORIGIN_PROCESS, ORIGIN_TIMER, ProcKey, Signal};

use crate::config::{config, offset};
use crate::emit::{self, Attempt};
use crate::filter;
use crate::read::{Kernel, Typed, Untyped};
use crate::task;
use crate::watch;

// Signal numbers and `si_code` values of the x86-64 ABI (`asm-generic/siginfo.h`).
const SIGILL: u32 = 4;
const SIGTRAP: u32 = 5;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGSEGV: u32 = 11;
const SIGALRM: u32 = 14;
const SIGCHLD: u32 = 17;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;
const SIGIO: u32 = 29;
const SIGSYS: u32 = 31;
const SI_TIMER: i32 = -2;
const SI_ASYNCIO: i32 = -4;
const SI_SIGIO: i32 = -5;
/// `SI_KERNEL`; what the kernel sends without any siginfo is given the same code.
const SI_KERNEL: i32 = 0x80;

/// `SEND_SIG_NOINFO`: on behalf of the current process, nothing else said.
const NOINFO: u64 = 0;
/// `SEND_SIG_PRIV`: by the kernel, nothing else said.
const PRIV: u64 = 1;

// Offsets in siginfo, fixed by the 64-bit ABI.
const SI_CODE: u32 = 8;
const SI_VALUE: u32 = 24;

/// `signal_generate(number, info, target, group, result)`.
#[inline(always)]
pub(crate) fn record(ctx: &BtfTracePointContext) {
    let number = ctx.arg::<u32>(0);
    let info = ctx.arg::<u64>(1);
    let target = Typed::at(ctx.arg::<u64>(2));
    let code = match info {
        NOINFO => 0,
        PRIV => SI_KERNEL,
        info => Untyped::at(info).read::<i32>(SI_CODE),
    };
    if number == SIGCHLD && code > 0 && config!(filter) & FILTER_CHILD_SIGNALS != 0 {
        return;
    }
    if !emit::wanted(Kind::SIGNAL) || !filter::passes(target) {
        return;
    }
    let Some(attempt) = Attempt::new(Kind::SIGNAL) else { return };
    let Some(mut entry) = attempt.reserve::<Signal>() else { return };
    let value = if info > PRIV && code < 0 { Untyped::at(info).read(SI_VALUE) } else { 0 };
    let signal = entry.as_mut_ptr();
    // The code goes through memory and the target comes first: the verifier would follow what comes
    // after for each code that it knows.
    // SAFETY: places within the reserved record.
    let code = unsafe {
        (&raw mut (*signal).value).write(value);
        (&raw mut (*signal).code).write_volatile(code);
        task::fill(&raw mut (*signal).target, target);
        (&raw const (*signal).code).read_volatile()
    };
    // SAFETY: a helper without arguments.
    let current = Untyped::at(unsafe { bpf_get_current_task() });
    let origin = origin(number, code, current);
    let (sender, sender_uid, sender_comm) = if origin == ORIGIN_PROCESS {
        let uid = current.follow(offset!(task_cred)).read(offset!(cred_uid));
        (task::key(current), uid, task::comm(task::leader(current)))
    } else {
        (ProcKey { start_ns: 0, tgid: 0, tid: 0 }, 0, [0; 2])
    };
    // SAFETY: places within the reserved record; `sender_comm` lies at an 8-byte boundary.
    unsafe {
        (&raw mut (*signal).sender).write(sender);
        (&raw mut (*signal).sender_uid).write(sender_uid);
        (&raw mut (*signal).origin).write(origin);
        (&raw mut (*signal).number).write(number);
        (&raw mut (*signal).result).write(ctx.arg::<u32>(4));
        (&raw mut (*signal).group).write(u32::from(ctx.arg::<u32>(3) != 0));
        (&raw mut (*signal).sender_comm).cast::<[u64; 2]>().write(sender_comm);
    }
    let is_end = is_deadly(number) && config!(watch) & WATCH != 0 && watch::group(task::tgid(target)) != 0;
    attempt.submit_and_wake(entry, if is_end { ARMED_FOR_DEATH } else { ARMED });
}

/// Who is behind a signal. A code above zero is the kernel's own; of the others only timers and
/// asynchronous I/O arise outside the sender's system call, so that `current` is the sender.
#[inline(always)]
fn origin(number: u32, code: i32, current: Untyped) -> u32 {
    let fault = matches!(number, SIGILL | SIGTRAP | SIGBUS | SIGFPE | SIGSEGV | SIGSYS);
    let timer = matches!(number, SIGALRM | SIGVTALRM | SIGPROF | SIGIO);
    match code {
        SI_TIMER | SI_ASYNCIO | SI_SIGIO => ORIGIN_TIMER,
        1.. if fault => ORIGIN_FAULT,
        1.. if timer => ORIGIN_TIMER,
        1.. => ORIGIN_KERNEL,
        // The idle task: an interrupt sent the signal on nobody's behalf.
        _ if task::tgid(current) == 0 => ORIGIN_KERNEL,
        _ => ORIGIN_PROCESS,
    }
}
