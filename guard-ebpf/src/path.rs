//! Walks from a directory entry to the root of its mount namespace.
//!
//! `bpf_d_path` is refused in tracepoint programs, so the walk is done here, bounded: components
//! are written last one first, and userspace puts them in order.

use core::ops::ControlFlow;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use guard_common::limits::{COMPONENT_BYTES, PATH_STEPS};

use crate::config::offset;
use crate::read::{Kernel, Untyped};

/// Where a path begins.
#[derive(Clone, Copy)]
pub(crate) struct Start<K> {
    /// The entry.
    pub(crate) dentry: K,
    /// The mount that it is in: a `struct vfsmount`.
    pub(crate) mount: K,
}

/// Where components go: `BYTES` bytes of a record, and two of its fields.
///
/// `end` and `flags` live in the record and not in registers: what is loaded from there is any
/// number to the verifier, so that all turns of a loop, and all ways out of it, look the same and
/// are checked once.
#[derive(Clone, Copy)]
pub(crate) struct Sink<const BYTES: usize> {
    data: *mut u8,
    end: *mut u32,
    flags: *mut u32,
}

impl<const BYTES: usize> Sink<BYTES> {
    /// # Safety
    /// For as long as the sink is used, `data` must be writable for `BYTES` bytes, `end` and
    /// `flags` must be readable and writable.
    #[inline(always)]
    pub(crate) unsafe fn new(data: *mut u8, end: *mut u32, flags: *mut u32) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            end.write_volatile(0);
            flags.write_volatile(0);
        }
        Self { data, end, flags }
    }

    /// Bytes used.
    #[inline(always)]
    pub(crate) fn end(self) -> u32 {
        // SAFETY: the promise of `new`.
        unsafe { self.end.read_volatile() }
    }

    /// Flags set.
    #[inline(always)]
    pub(crate) fn flags(self) -> u32 {
        // SAFETY: the promise of `new`.
        unsafe { self.flags.read_volatile() }
    }

    #[inline(always)]
    fn set(self, flag: u32) {
        // SAFETY: the promise of `new`.
        unsafe { self.flags.write_volatile(self.flags() | flag) };
    }

    /// Writes one component. Breaks without room or name.
    #[inline(always)]
    fn push(self, name: u64) -> ControlFlow<()> {
        let at = self.end() as usize;
        if at > BYTES - COMPONENT_BYTES {
            return ControlFlow::Break(());
        }
        // SAFETY: `at` leaves room for a component's bytes, as just checked.
        let written = unsafe {
            bpf_probe_read_kernel_str(self.data.add(at).cast(), COMPONENT_BYTES as u32, name as *const _)
        };
        if written <= 0 {
            return ControlFlow::Break(());
        }
        // SAFETY: the promise of `new`.
        unsafe { self.end.write_volatile(at as u32 + written as u32) };
        ControlFlow::Continue(())
    }
}

/// Writes the components of a path, and sets `truncated` if the root is not reached, `deleted` if
/// the entry itself was removed.
///
/// Within the first mount, which is nearly always the only one, a typed pointer is followed by
/// loads; the structure around a mount can only be reached as an address.
#[inline(always)]
pub(crate) fn walk<K: Kernel, const BYTES: usize>(
    sink: Sink<BYTES>,
    start: Start<K>,
    (truncated, deleted): (u32, u32),
) {
    let mut dentry = start.dentry;
    let root: u64 = start.mount.read(offset!(vfsmount_root));
    if dentry.address() != root && dentry.read::<u64>(offset!(dentry_hash_pprev)) == 0 {
        sink.set(deleted);
    }
    let mut steps = 0;
    while dentry.address() != root {
        if steps == PATH_STEPS || sink.push(dentry.read(offset!(dentry_name))).is_break() {
            return sink.set(truncated);
        }
        let parent = dentry.follow(offset!(dentry_parent));
        if parent.address() == dentry.address() {
            // A file without a directory: memfd, say.
            return;
        }
        dentry = parent;
        steps += 1;
    }
    if below(sink, Untyped::at(start.mount.address())).is_break() {
        sink.set(truncated);
    }
}

/// Goes on from a mount's root, over the mounts below it. Breaks if the lowest is not reached.
#[inline(always)]
fn below<const BYTES: usize>(sink: Sink<BYTES>, mount: Untyped) -> ControlFlow<()> {
    // `mount` is embedded in the structure that knows what it is mounted on.
    let mut outer = Untyped::at(mount.address().wrapping_sub(u64::from(offset!(mount_mnt))));
    let mut root = 0;
    let mut dentry = Untyped::at(root);
    for _ in 0..PATH_STEPS {
        if dentry.address() == root {
            let parent = outer.follow(offset!(mount_parent));
            if parent.address() == outer.address() || parent.address() == 0 {
                return ControlFlow::Continue(());
            }
            dentry = outer.follow(offset!(mount_mountpoint));
            outer = parent;
            root = outer.read(offset!(mount_mnt) + offset!(vfsmount_root));
            continue;
        }
        sink.push(dentry.read(offset!(dentry_name)))?;
        dentry = dentry.follow(offset!(dentry_parent));
    }
    ControlFlow::Break(())
}
