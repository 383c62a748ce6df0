//! Walks from a directory entry to the root of its mount namespace.
//!
//! `bpf_d_path` is refused in tracepoint programs, so the walk is done here, bounded: components
//! are written last one first, and userspace puts them in order.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use guard_common::limits::{COMPONENT_BYTES, PATH_STEPS};

use crate::config::offset;
use crate::read::{Kernel, Untyped};

/// Writes the components of a path from `data[*end]` on and moves `*end` behind them; `data` has
/// `BYTES` bytes. Adds `truncated` to `*flags` if the root is not reached and `deleted` if the
/// entry itself was removed.
///
/// `end` and `flags` live in the record and not in registers: what is loaded from there is any
/// number to the verifier, so that all turns of the loop, and all ways out of it, look the same
/// and are checked once.
///
/// # Safety
/// `data` must be writable for `BYTES` bytes; `end` and `flags` must be readable and writable.
#[inline(always)]
pub(crate) unsafe fn walk<const BYTES: usize>(
    data: *mut u8,
    end: *mut u32,
    flags: *mut u32,
    (dentry, mount): (u64, u64),
    (truncated, deleted): (u32, u32),
) {
    let mut dentry = Untyped::at(dentry);
    let mut mount = Untyped::at(mount);
    if dentry.read::<u64>(offset!(dentry_hash_pprev)) == 0
        && dentry.address() != mount.read::<u64>(offset!(vfsmount_root))
    {
        // SAFETY: the caller's promise.
        unsafe { flags.write_volatile(flags.read_volatile() | deleted) };
    }
    for _ in 0..PATH_STEPS {
        if dentry.address() == mount.read::<u64>(offset!(vfsmount_root)) {
            // Cross to the mount below: `mount` is embedded in the structure that knows it.
            let outer = Untyped::at(mount.address().wrapping_sub(u64::from(offset!(mount_mnt))));
            let parent = outer.follow(offset!(mount_parent));
            if parent.address() == outer.address() || parent.address() == 0 {
                return;
            }
            dentry = outer.follow(offset!(mount_mountpoint));
            mount = Untyped::at(parent.address().wrapping_add(u64::from(offset!(mount_mnt))));
            continue;
        }
        // SAFETY: the caller's promise.
        let at = unsafe { end.read_volatile() } as usize;
        if at > BYTES - COMPONENT_BYTES {
            break;
        }
        let name: u64 = dentry.read(offset!(dentry_name));
        // SAFETY: `at` leaves room for a component's bytes, as just checked.
        let written = unsafe {
            bpf_probe_read_kernel_str(data.add(at).cast(), COMPONENT_BYTES as u32, name as *const _)
        };
        if written <= 0 {
            break;
        }
        // SAFETY: the caller's promise.
        unsafe { end.write_volatile(at as u32 + written as u32) };
        let parent = dentry.follow(offset!(dentry_parent));
        if parent.address() == dentry.address() {
            // A file without a directory: memfd, say.
            return;
        }
        dentry = parent;
    }
    // SAFETY: the caller's promise.
    unsafe { flags.write_volatile(flags.read_volatile() | truncated) };
}
