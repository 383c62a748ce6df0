//! Walks from a directory entry to the root of its mount namespace.
//!
//! `bpf_d_path` is refused in tracepoint programs, so the walk is done here, bounded: components
//! are written last one first, and userspace puts them in order.

use core::ops::ControlFlow;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use guard_common::limits::COMPONENT_BYTES;

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

/// Where components go: `BYTES` bytes of a record, and three of its fields. A walk takes at most
/// `STEPS` steps in its first mount, and half as many below.
///
/// The fields hold what the walk knows so far, in the record and not in registers: what is loaded
/// from there is any number to the verifier, so that all turns of a loop, and all ways out of it,
/// look the same and are checked once.
#[derive(Clone, Copy)]
pub(crate) struct Sink<const BYTES: usize, const STEPS: u32> {
    /// The components.
    pub(crate) data: *mut u8,
    /// Bytes used.
    pub(crate) end: *mut u32,
    /// Flags set.
    pub(crate) flags: *mut u32,
    /// A mount known to have no path below it, or 0.
    pub(crate) top: *mut u64,
}

impl<const BYTES: usize, const STEPS: u32> Sink<BYTES, STEPS> {
    /// # Safety
    /// For as long as the sink is used, `data` must be writable for `BYTES` bytes, and the other
    /// places readable and writable.
    #[inline(always)]
    pub(crate) unsafe fn clear(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            self.end.write_volatile(0);
            self.flags.write_volatile(0);
            self.top.write_volatile(0);
        }
        self
    }

    /// Bytes used.
    #[inline(always)]
    pub(crate) fn end(self) -> u32 {
        // SAFETY: the promise of `clear`.
        unsafe { self.end.read_volatile() }
    }

    /// Flags set.
    #[inline(always)]
    pub(crate) fn flags(self) -> u32 {
        // SAFETY: the promise of `clear`.
        unsafe { self.flags.read_volatile() }
    }

    #[inline(always)]
    fn set(self, flag: u32) {
        // SAFETY: the promise of `clear`.
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
        // SAFETY: the promise of `clear`.
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
pub(crate) fn walk<K: Kernel, const BYTES: usize, const STEPS: u32>(
    sink: Sink<BYTES, STEPS>,
    start: Start<K>,
    (truncated, deleted): (u32, u32),
) {
    let mut dentry = start.dentry;
    let mount = start.mount.address();
    let root: u64 = start.mount.read(offset!(vfsmount_root));
    if dentry.address() != root && dentry.read::<u64>(offset!(dentry_hash_pprev)) == 0 {
        sink.set(deleted);
    }
    let mut steps = 0;
    while dentry.address() != root {
        if steps == STEPS || sink.push(dentry.read(offset!(dentry_name))).is_break() {
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
    // SAFETY: the promise of `clear`.
    if mount == unsafe { sink.top.read_volatile() } {
        return;
    }
    let before = sink.end();
    if below(sink, mount).is_break() {
        sink.set(truncated);
    } else if sink.end() == before {
        // SAFETY: the promise of `clear`.
        unsafe { sink.top.write_volatile(mount) };
    }
}

/// Where a mount lies in the tree of mounts.
struct Place {
    /// The mount below it: a `struct mount`.
    parent: u64,
    /// The entry there that it covers.
    mountpoint: u64,
    /// Its own root.
    root: u64,
}

/// Reads a `struct mount`: the three fields lie side by side on every kernel seen, which makes it
/// one call.
#[inline(always)]
fn place(mount: Untyped) -> Place {
    let (parent, mountpoint) = (offset!(mount_parent), offset!(mount_mountpoint));
    let root = offset!(mount_mnt) + offset!(vfsmount_root);
    if mountpoint == parent + 8 && root == parent + 16 {
        let [parent, mountpoint, root] = mount.read::<[u64; 3]>(parent);
        Place { parent, mountpoint, root }
    } else {
        Place { parent: mount.read(parent), mountpoint: mount.read(mountpoint), root: mount.read(root) }
    }
}

/// Goes on from a mount's root, over the mounts below it. Breaks if the lowest is not reached.
#[inline(always)]
fn below<const BYTES: usize, const STEPS: u32>(sink: Sink<BYTES, STEPS>, mount: u64) -> ControlFlow<()> {
    // `mount` is embedded in the structure that knows what it is mounted on.
    let mut outer = mount.wrapping_sub(u64::from(offset!(mount_mnt)));
    let mut here = place(Untyped::at(outer));
    let mut dentry = here.root;
    for _ in 0..STEPS / 2 {
        if dentry == here.root {
            if here.parent == outer || here.parent == 0 {
                return ControlFlow::Continue(());
            }
            dentry = here.mountpoint;
            outer = here.parent;
            here = place(Untyped::at(outer));
            continue;
        }
        sink.push(Untyped::at(dentry).read(offset!(dentry_name)))?;
        dentry = Untyped::at(dentry).read(offset!(dentry_parent));
    }
    ControlFlow::Break(())
}
