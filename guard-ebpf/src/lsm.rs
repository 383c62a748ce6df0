//! Shows that LSM programs are allowed here: the list of active modules can name bpf while the
//! program type is refused.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};

use crate::config::config;
use crate::maps::PROBE;

/// Notes that it was called by the probing thread. Never denies anything.
#[inline(always)]
pub(crate) fn note() {
    // SAFETY: a helper without arguments.
    let thread = unsafe { bpf_get_current_pid_tgid() } as u32;
    if thread == config!(probe_tid)
        && let Some(times) = PROBE.get_ptr_mut(0)
    {
        // SAFETY: the map's only entry; a helper without arguments.
        unsafe { times.write([bpf_ktime_get_ns(), 0]) };
    }
}
