//! ProcessGuard's kernel programs: entry points only.
//!
//! Each hook has a module of its own that turns what the kernel hands over into one record. BTF
//! tracepoints read their arguments directly; classic tracepoints, used for fork, exec and exit
//! where tracepoint callbacks are preemptible, start from the current task.
//!
//! On the host this crate is only checked and linted; `guard-userspace` builds it for the BPF
//! target.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod cgroup;
mod config;
mod emit;
mod exec;
mod exit;
mod filter;
mod fork;
mod listen;
mod lsm;
mod maps;
mod oom;
mod path;
mod preempt;
mod read;
mod resources;
mod sched;
mod signal;
mod snapshot;
mod task;
mod watch;

use core::ffi::c_void;

use aya_ebpf::macros::{btf_tracepoint, lsm, tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, LsmContext, TracePointContext};

/// A new thread group.
#[btf_tracepoint]
fn fork(ctx: BtfTracePointContext) -> i32 {
    fork::from_arguments(&ctx);
    0
}

/// A new thread group, from the parent's point of view.
#[tracepoint]
fn fork_classic(ctx: TracePointContext) -> u32 {
    fork::from_current(&ctx);
    0
}

/// A new program is about to start.
#[btf_tracepoint]
fn exec_prepare(ctx: BtfTracePointContext) -> i32 {
    exec::prepare(&ctx);
    0
}

/// A new program in a process.
#[btf_tracepoint]
fn exec(ctx: BtfTracePointContext) -> i32 {
    exec::from_arguments(&ctx);
    0
}

/// A new program in the current process.
#[tracepoint]
fn exec_classic(ctx: TracePointContext) -> u32 {
    exec::from_current(&ctx);
    0
}

/// The end of a thread; recorded if it is its group's last.
#[btf_tracepoint]
fn exit(ctx: BtfTracePointContext) -> i32 {
    exit::from_arguments(&ctx);
    0
}

/// The end of the current thread; recorded if it is its group's last.
#[tracepoint]
fn exit_classic(ctx: TracePointContext) -> u32 {
    exit::from_current(&ctx);
    0
}

/// A signal was generated.
#[btf_tracepoint]
fn signal(ctx: BtfTracePointContext) -> i32 {
    signal::record(&ctx);
    0
}

/// The out-of-memory killer chose a victim.
#[btf_tracepoint]
fn oom(ctx: BtfTracePointContext) -> i32 {
    oom::record(&ctx);
    0
}

/// A socket changed its state; recorded if it starts to listen.
#[btf_tracepoint]
fn listen(ctx: BtfTracePointContext) -> i32 {
    listen::record(&ctx);
    0
}

/// A thread can run again.
#[btf_tracepoint]
fn wakeup(ctx: BtfTracePointContext) -> i32 {
    sched::woken(&ctx);
    0
}

/// A new thread can run.
#[btf_tracepoint]
fn wakeup_new(ctx: BtfTracePointContext) -> i32 {
    sched::born(&ctx);
    0
}

/// A CPU leaves one thread for another.
#[btf_tracepoint]
fn switch(ctx: BtfTracePointContext) -> i32 {
    sched::switched(&ctx);
    0
}

/// Nothing, on each wake-up: what the benchmark compares the sensor with.
#[btf_tracepoint]
fn empty_wakeup(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Nothing, on each switch.
#[btf_tracepoint]
fn empty_switch(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// A control group was made.
#[btf_tracepoint]
fn cgroup_made(ctx: BtfTracePointContext) -> i32 {
    cgroup::record(&ctx, guard_common::wire::CGROUP_MADE);
    0
}

/// A control group was removed.
#[btf_tracepoint]
fn cgroup_removed(ctx: BtfTracePointContext) -> i32 {
    cgroup::record(&ctx, guard_common::wire::CGROUP_REMOVED);
    0
}

/// A control group got another path.
#[btf_tracepoint]
fn cgroup_renamed(ctx: BtfTracePointContext) -> i32 {
    cgroup::record(&ctx, guard_common::wire::CGROUP_RENAMED);
    0
}

/// Measures whether tracepoint callbacks can be preempted.
#[btf_tracepoint]
fn preempt_probe(_ctx: BtfTracePointContext) -> i32 {
    preempt::spin();
    0
}

/// Shows that LSM programs fire.
#[lsm(hook = "file_open")]
fn lsm_probe(_ctx: LsmContext) -> i32 {
    lsm::note();
    0
}

/// Writes one snapshot record for every process. aya has no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn snapshot(ctx: *mut c_void) -> i32 {
    snapshot::write(ctx);
    0
}

/// Writes one record of what it uses for every thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn resources(ctx: *mut c_void) -> i32 {
    resources::write(ctx);
    0
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
