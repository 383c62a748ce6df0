//! Measures whether a tracepoint callback can be preempted.
//!
//! On such kernels a preempted program makes the next one on its CPU be skipped, so that fork,
//! exec and exit have to be attached as classic tracepoints. Userspace clones a thread, which
//! calls this, and has a real-time thread wake up on the same CPU meanwhile: if that one runs
//! before the callback ends, callbacks are preemptible.

use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns, bpf_probe_read_kernel,
};

use crate::config::config;
use crate::maps::{PROBE, PROBE_SINK};

/// Copies of 4 KiB: some milliseconds on any machine.
const COPIES: u32 = 8192;

/// Passes some milliseconds if the probing thread is the one that called.
#[inline(always)]
pub(crate) fn spin() {
    // SAFETY: helpers without arguments.
    let (thread, task) = unsafe { (bpf_get_current_pid_tgid() as u32, bpf_get_current_task()) };
    if thread != config!(probe_tid) {
        return;
    }
    let (Some(times), Some(sink)) = (PROBE.get_ptr_mut(0), PROBE_SINK.get_ptr_mut(0)) else { return };
    // SAFETY: a helper without arguments.
    let began = unsafe { bpf_ktime_get_ns() };
    for _ in 0..COPIES {
        // SAFETY: the map entry has 4096 bytes; what is copied does not matter.
        unsafe { bpf_probe_read_kernel(sink.cast(), 4096, task as *const _) };
    }
    // SAFETY: the map's only entry.
    unsafe { times.write([began, bpf_ktime_get_ns()]) };
}
