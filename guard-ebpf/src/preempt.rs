//! Measures whether a tracepoint callback can be preempted.
//!
//! On such kernels a preempted program makes the next one on its CPU be skipped, so that fork,
//! exec and exit have to be attached as classic tracepoints. Userspace clones a thread, which
//! calls this, and has a real-time thread wake up on the same CPU meanwhile: if that one runs
//! before the callback ends, callbacks are preemptible.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel};
use guard_common::control::PROBE_ARMED;
use guard_common::limits::{PROBE_COPIES, PROBE_NS, PROBE_SINK_BYTES};

use crate::config::config;
use crate::maps::{PROBE, PROBE_SINK};

/// Passes some milliseconds if the probing thread is the one that called, and has asked for it.
#[inline(always)]
pub(crate) fn spin() {
    // SAFETY: a helper without arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() } as u32;
    if thread != config!(probe_tid) {
        return;
    }
    let (Some(times), Some(sink)) = (PROBE.get_ptr_mut(0), PROBE_SINK.get_ptr_mut(0)) else { return };
    // SAFETY: the map's only entry, which nobody else writes meanwhile.
    if unsafe { (*times)[0] } != PROBE_ARMED {
        return;
    }
    // SAFETY: a helper without arguments.
    let began = unsafe { bpf_ktime_get_ns() };
    for _ in 0..PROBE_COPIES {
        // SAFETY: the map's only entry, copied onto itself: only the time that it takes matters.
        let now = unsafe {
            bpf_probe_read_kernel(sink.cast(), PROBE_SINK_BYTES as u32, sink as *const _);
            bpf_ktime_get_ns()
        };
        if now - began >= PROBE_NS {
            break;
        }
    }
    // SAFETY: as above.
    unsafe { times.write([began, bpf_ktime_get_ns()]) };
}
