//! Control groups come and go: `cgroup_mkdir`, `cgroup_rmdir`, `cgroup_rename`. With these,
//! userspace knows every path without looking one up per process.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::programs::BtfTracePointContext;
use guard_common::limits::CGROUP_PATH_BYTES;
use guard_common::wire::{CgroupFull, Kind};

use crate::config::offset;
use crate::emit::{self, Attempt};
use crate::read::{Kernel, Typed};
use crate::task;

/// `(cgroup, path)`, the same for all three.
#[inline(always)]
pub(crate) fn record(ctx: &BtfTracePointContext, change: u32) {
    if !emit::wanted(Kind::CGROUP) {
        return;
    }
    let cgroup = Typed::at(ctx.arg::<u64>(0));
    let path: u64 = ctx.arg(1);
    let Some(attempt) = Attempt::new(Kind::CGROUP) else { return };
    let Some(mut entry) = attempt.reserve::<CgroupFull>() else { return };
    let full = entry.as_mut_ptr();
    // SAFETY: places within the reserved record, whose path has as many bytes as are asked for.
    unsafe {
        let written = bpf_probe_read_kernel_str(
            (&raw mut (*full).path).cast(),
            CGROUP_PATH_BYTES as u32,
            path as *const _,
        );
        let fixed = &raw mut (*full).cgroup;
        (&raw mut (*fixed).id).write(task::cgroup_id(cgroup));
        (&raw mut (*fixed).hierarchy).write(task::cgroup_hierarchy(cgroup));
        (&raw mut (*fixed).change).write(change);
        // The helper counts the NUL.
        (&raw mut (*fixed).path_bytes).write(if written > 0 { written as u32 - 1 } else { 0 });
        (&raw mut (*fixed).level).write(cgroup.read(offset!(cgroup_level)));
    }
    attempt.submit(entry);
}
