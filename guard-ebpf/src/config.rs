//! What userspace fixed before loading, as constants to the verifier.

use guard_common::config::Config;
use guard_common::layout::Layout;

/// Overridden by the loader with the running kernel's offsets.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::UNRESOLVED;

/// Overridden by the loader.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config {
    cgroup_id: 0,
    stall_run_queue_ns: 0,
    stall_uninterruptible_ns: 0,
    cgroup_hierarchy: 0,
    cgroup_level: 0,
    uid: 0,
    kinds: 0,
    filter: 0,
    watch: 0,
    kernel: 0,
    probe_tid: 0,
    fork_child_pid: 0,
    exec_old_pid: 0,
    exit_group_dead: 0,
    cpus: 0,
};

/// Reads one entry of a read-only global. Volatile, lest the compiler use the initial value.
#[inline(always)]
pub(crate) fn load<T: Copy>(entry: &'static T) -> T {
    // SAFETY: an aligned read of an initialised static.
    unsafe { core::ptr::from_ref(entry).read_volatile() }
}

/// Offset of a kernel field.
macro_rules! offset {
    ($entry:ident) => {
        $crate::config::load(&$crate::config::LAYOUT.$entry)
    };
}

/// Something that userspace decided.
macro_rules! config {
    ($entry:ident) => {
        $crate::config::load(&$crate::config::CONFIG.$entry)
    };
}

pub(crate) use {config, offset};
