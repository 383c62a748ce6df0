//! Reads a process: the part that all records share.

use guard_common::config::HAS_CGROUP_V1;
use guard_common::layout::ABSENT;
use guard_common::wire::{ProcKey, TASK_KERNEL_THREAD, Task};

use crate::config::{config, offset};
use crate::read::{Kernel, Untyped};

/// `PF_KTHREAD` of the kernel's `sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Inode of the initial pid namespace: `PROC_PID_INIT_INO` of the kernel's `proc_ns.h`.
const INITIAL_PID_NAMESPACE: u32 = 0xefff_fffc;

/// Thread group id.
#[inline(always)]
pub(crate) fn tgid<K: Kernel>(task: K) -> u32 {
    task.read(offset!(task_tgid))
}

/// Identity of the thread group that a thread belongs to.
#[inline(always)]
pub(crate) fn key<K: Kernel>(task: K) -> ProcKey {
    key_under(leader(task), task)
}

/// The same, if the leader is known.
#[inline(always)]
fn key_under<K: Kernel>(leader: K, task: K) -> ProcKey {
    ProcKey {
        start_ns: leader.read(offset!(task_start_boottime)),
        tgid: tgid(task),
        tid: task.read(offset!(task_pid)),
    }
}

/// The process's name, as two words: its leader's. Each thread has one of its own.
#[inline(always)]
pub(crate) fn comm<K: Kernel>(leader: K) -> [u64; 2] {
    let at = offset!(task_comm);
    [leader.read(at), leader.read(at + 8)]
}

/// The thread that stands for a thread group.
#[inline(always)]
pub(crate) fn leader<K: Kernel>(task: K) -> K {
    task.follow(offset!(task_group_leader))
}

/// The control group that stands for a task: that of the v2 hierarchy, or, where that is the root
/// and v1 controllers are in use, that of the pids or else of the memory controller.
#[inline(always)]
pub(crate) fn cgroup<K: Kernel>(task: K) -> K {
    let set = task.follow(offset!(task_cgroups));
    let v2 = set.follow(offset!(css_set_dfl_cgrp));
    if config!(kernel) & HAS_CGROUP_V1 == 0 || !is_root(v2) {
        return v2;
    }
    if offset!(subsys_pids) != ABSENT {
        let pids = controller_cgroup(set, offset!(subsys_pids));
        if !is_root(pids) {
            return pids;
        }
    }
    if offset!(subsys_memory) != ABSENT {
        let memory = controller_cgroup(set, offset!(subsys_memory));
        if !is_root(memory) {
            return memory;
        }
    }
    v2
}

#[inline(always)]
fn is_root<K: Kernel>(cgroup: K) -> bool {
    cgroup.read::<u32>(offset!(cgroup_level)) == 0
}

/// The control group of one controller's state.
#[inline(always)]
pub(crate) fn controller_cgroup<K: Kernel>(set: K, controller: u32) -> K {
    set.follow(offset!(css_set_subsys) + controller).follow(offset!(css_cgroup))
}

/// A control group's id within its hierarchy.
#[inline(always)]
pub(crate) fn cgroup_id<K: Kernel>(cgroup: K) -> u64 {
    cgroup.follow(offset!(cgroup_kn)).read(offset!(kernfs_id))
}

/// The hierarchy of a control group: 0 for v2.
#[inline(always)]
pub(crate) fn cgroup_hierarchy<K: Kernel>(cgroup: K) -> u32 {
    cgroup.follow(offset!(cgroup_root)).read(offset!(cgroup_root_hierarchy_id))
}

/// Fills the part of a record that describes a process.
///
/// Each pointer is followed once, and what branches comes last: what follows a branch is verified
/// for each way, and many kernels search all their types for each trusted pointer that is followed.
///
/// # Safety
/// `into` must be writable; every field is written.
#[inline(always)]
pub(crate) unsafe fn fill<K: Kernel>(into: *mut Task, task: K) {
    let leader = leader(task);
    let key = key_under(leader, task);
    let cred = task.follow(offset!(task_cred));
    let kernel_thread = task.read::<u32>(offset!(task_flags)) & PF_KTHREAD != 0;
    // SAFETY: the caller's promise; `comm` is 16 bytes at an 8-byte boundary of the record.
    unsafe {
        (&raw mut (*into).key).write(key);
        (&raw mut (*into).parent).write(self::key(task.follow(offset!(task_real_parent))));
        (&raw mut (*into).caps_effective).write(cred.read(offset!(cred_cap_effective)));
        // All threads have the same number: an exec ends the others.
        (&raw mut (*into).exec_count).write(leader.read(offset!(task_self_exec_id)));
        (&raw mut (*into).uid).write(cred.read(offset!(cred_uid)));
        (&raw mut (*into).gid).write(cred.read(offset!(cred_gid)));
        (&raw mut (*into).euid).write(cred.read(offset!(cred_euid)));
        (&raw mut (*into).egid).write(cred.read(offset!(cred_egid)));
        (&raw mut (*into).comm).cast::<[u64; 2]>().write(comm(leader));
        (&raw mut (*into).flags).write(if kernel_thread { TASK_KERNEL_THREAD } else { 0 });
    }
    let (ns_tgid, pid_namespace) = inner_pid(leader, key.tgid);
    // SAFETY: the caller's promise.
    unsafe {
        (&raw mut (*into).ns_tgid).write(ns_tgid);
        (&raw mut (*into).pid_namespace).write(pid_namespace);
    }
    let cgroup = cgroup(task);
    // SAFETY: the caller's promise.
    unsafe {
        (&raw mut (*into).cgroup_id).write(cgroup_id(cgroup));
        (&raw mut (*into).cgroup_hierarchy).write(cgroup_hierarchy(cgroup));
    }
}

/// The thread group's id in its own pid namespace, and that namespace's inode.
#[inline(always)]
fn inner_pid<K: Kernel>(leader: K, tgid: u32) -> (u32, u32) {
    let pid = leader.follow(offset!(task_thread_pid));
    let level: u32 = pid.read(offset!(pid_level));
    if level == 0 {
        return (tgid, INITIAL_PID_NAMESPACE);
    }
    // An index that only the running task knows: not for the verifier's typed loads.
    let numbers = Untyped::at(pid.address() + u64::from(offset!(pid_numbers)));
    let inner = level * offset!(upid_size);
    let namespace = numbers.follow(inner + offset!(upid_ns));
    (numbers.read(inner + offset!(upid_nr)), namespace.read(offset!(pidns_inum)))
}
