//! Where the running kernel keeps what the programs read.
//!
//! rustc emits no CO-RE relocations. Userspace resolves each entry of [`FIELDS`] from the kernel's
//! BTF and writes the result into the read-only global `LAYOUT`: to the verifier the offsets are
//! constants, and code that depends on an absent field is never reached.

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// One entry of the layout: a field to be found in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the entry in [`Layout`].
    pub name: &'static str,
    /// Structure that the path starts from.
    pub structure: &'static str,
    /// Member path, through embedded structures and unions but not through pointers. Empty: the
    /// entry is the structure's size. Alternatives are separated by `|`, the first found wins. A
    /// leading `#` asks for a bit field's offset, in bits.
    pub path: &'static str,
    /// Whether the sensor cannot work without it.
    pub required: bool,
}

macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident: $need:ident $structure:literal $path:literal,)*) => {
        /// Byte offsets (and one size) in the running kernel's structures.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Layout { $($(#[$doc])* pub $name: u32,)* }

        /// The entries of [`Layout`] in the order of its fields.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            structure: $structure,
            path: $path,
            required: layout!(@ $need),
        },)*];

        impl Layout {
            /// Nothing resolved.
            pub const UNRESOLVED: Self = Self { $($name: ABSENT,)* };

            /// The entries in the order of [`FIELDS`].
            pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut u32> {
                [$(&mut self.$name,)*].into_iter()
            }
        }
    };
    (@ required) => { true };
    (@ optional) => { false };
}

layout! {
    /// Thread id.
    task_pid: required "task_struct" "pid",
    /// Thread group id.
    task_tgid: required "task_struct" "tgid",
    /// `PF_*` flags.
    task_flags: required "task_struct" "flags",
    /// Run state: `TASK_*` of the kernel.
    task_state: required "task_struct" "__state|state",
    /// CPU on which it runs, or is to run.
    task_cpu: required "task_struct" "thread_info.cpu|cpu",
    /// Queue of the fair scheduler for its group on that CPU; set for threads of every class.
    task_fair_queue: optional "task_struct" "se.cfs_rq",
    /// Run queue of the CPU of a fair queue.
    fair_queue_of: optional "cfs_rq" "rq",
    /// Who runs on the CPU of a run queue.
    queue_current: optional "rq" "curr",
    /// Group leader.
    task_group_leader: required "task_struct" "group_leader",
    /// Parent.
    task_real_parent: required "task_struct" "real_parent",
    /// List of children.
    task_children: required "task_struct" "children.prev",
    /// Link in the parent's list of children.
    task_sibling: required "task_struct" "sibling",
    /// Start since boot, suspend included.
    task_start_boottime: required "task_struct" "start_boottime|real_start_time",
    /// Name.
    task_comm: required "task_struct" "comm",
    /// Credentials.
    task_cred: required "task_struct" "cred",
    /// Memory.
    task_mm: required "task_struct" "mm",
    /// Open files.
    task_files: required "task_struct" "files",
    /// Root and working directory.
    task_fs: required "task_struct" "fs",
    /// What threads of a group share.
    task_signal: required "task_struct" "signal",
    /// Control groups.
    task_cgroups: required "task_struct" "cgroups",
    /// Process id structure.
    task_thread_pid: required "task_struct" "thread_pid",
    /// Link in the group's list of threads.
    task_thread_node: required "task_struct" "thread_node",
    /// Exit code of this thread.
    task_exit_code: required "task_struct" "exit_code",
    /// State after the end: not 0 once the exit hook is over.
    task_exit_state: required "task_struct" "exit_state",
    /// Number of execs.
    task_self_exec_id: required "task_struct" "self_exec_id",
    /// User time by tick.
    task_utime: required "task_struct" "utime",
    /// System time by tick.
    task_stime: required "task_struct" "stime",
    /// Time by the scheduler.
    task_runtime: required "task_struct" "se.sum_exec_runtime",
    /// Time that it was runnable and did not run.
    task_run_delay: optional "task_struct" "sched_info.run_delay",
    /// The same when it was last given a CPU, by the fair scheduler.
    task_runtime_before: required "task_struct" "se.prev_sum_exec_runtime",
    /// Minor faults.
    task_min_flt: required "task_struct" "min_flt",
    /// Major faults.
    task_maj_flt: required "task_struct" "maj_flt",
    /// Voluntary switches.
    task_nvcsw: required "task_struct" "nvcsw",
    /// Involuntary switches.
    task_nivcsw: required "task_struct" "nivcsw",
    /// Bytes read.
    task_read_bytes: optional "task_struct" "ioac.read_bytes",
    /// Bytes written.
    task_write_bytes: optional "task_struct" "ioac.write_bytes",

    /// Threads that have not begun to exit.
    signal_live: required "signal_struct" "live.counter",
    /// List of the group's threads, dead ones included until they are reaped.
    signal_thread_head: required "signal_struct" "thread_head.next",
    /// Threads that are not yet reaped.
    signal_nr_threads: required "signal_struct" "nr_threads",
    /// `SIGNAL_*` flags.
    signal_flags: required "signal_struct" "flags",
    /// Exit code of the group.
    signal_group_exit_code: required "signal_struct" "group_exit_code",
    /// User time of reaped threads.
    signal_utime: required "signal_struct" "utime",
    /// System time of reaped threads.
    signal_stime: required "signal_struct" "stime",
    /// Scheduler time of reaped threads.
    signal_runtime: required "signal_struct" "sum_sched_runtime",
    /// Minor faults of reaped threads.
    signal_min_flt: required "signal_struct" "min_flt",
    /// Major faults of reaped threads.
    signal_maj_flt: required "signal_struct" "maj_flt",
    /// Voluntary switches of reaped threads.
    signal_nvcsw: required "signal_struct" "nvcsw",
    /// Involuntary switches of reaped threads.
    signal_nivcsw: required "signal_struct" "nivcsw",
    /// Peak resident set, in pages.
    signal_maxrss: required "signal_struct" "maxrss",
    /// Limits.
    signal_rlim: required "signal_struct" "rlim",
    /// Bytes read by reaped threads.
    signal_read_bytes: optional "signal_struct" "ioac.read_bytes",
    /// Bytes written by reaped threads.
    signal_write_bytes: optional "signal_struct" "ioac.write_bytes",

    /// Real user.
    cred_uid: required "cred" "uid",
    /// Real group.
    cred_gid: required "cred" "gid",
    /// Effective user.
    cred_euid: required "cred" "euid",
    /// Effective group.
    cred_egid: required "cred" "egid",
    /// Effective capabilities.
    cred_cap_effective: required "cred" "cap_effective",

    /// Depth of the pid's namespace.
    pid_level: required "pid" "level",
    /// Numbers by namespace depth.
    pid_numbers: required "pid" "numbers",
    /// Number in one namespace.
    upid_nr: required "upid" "nr",
    /// That namespace.
    upid_ns: required "upid" "ns",
    /// Size of one entry.
    upid_size: required "upid" "",
    /// Inode of a pid namespace.
    pidns_inum: required "pid_namespace" "ns.inum",

    /// Control group of the v2 hierarchy.
    css_set_dfl_cgrp: required "css_set" "dfl_cgrp",
    /// State of each v1 (or v2) controller.
    css_set_subsys: required "css_set" "subsys",
    /// Control group of a controller's state.
    css_cgroup: required "cgroup_subsys_state" "cgroup",
    /// Node in the control group file system.
    cgroup_kn: required "cgroup" "kn",
    /// Hierarchy.
    cgroup_root: required "cgroup" "root",
    /// Depth.
    cgroup_level: required "cgroup" "level",
    /// Ancestors, as pointers (since 6.1).
    cgroup_ancestors: optional "cgroup" "ancestors",
    /// Ancestors, as ids (before 6.1).
    cgroup_ancestor_ids: optional "cgroup" "ancestor_ids",
    /// Number of a hierarchy.
    cgroup_root_hierarchy_id: required "cgroup_root" "hierarchy_id",
    /// Id of a node.
    kernfs_id: required "kernfs_node" "id",

    /// Executable.
    mm_exe_file: required "mm_struct" "exe_file",
    /// First argument's address.
    mm_arg_start: required "mm_struct" "arg_start",
    /// End of the last argument.
    mm_arg_end: required "mm_struct" "arg_end",
    /// Initial stack, which begins with the argument count.
    mm_start_stack: required "mm_struct" "start_stack",
    /// Pages of each sort, as plain counters (before 6.2).
    mm_rss_counts: optional "mm_struct" "rss_stat.count",
    /// Pages of each sort, as counters with a part on each CPU (since 6.2).
    mm_rss: required "mm_struct" "rss_stat",
    /// Size of such a counter.
    percpu_counter_size: optional "percpu_counter" "",
    /// Its common part.
    percpu_counter_count: optional "percpu_counter" "count",
    /// Its parts on each CPU; absent on kernels for one CPU.
    percpu_counter_counters: optional "percpu_counter" "counters",
    /// Where an array map with values on each CPU has their addresses.
    bpf_array_pptrs: optional "bpf_array" "pptrs",
    /// Table of open files.
    files_fdt: required "files_struct" "fdt",
    /// Length of its bitmaps, in bits.
    fdtable_max_fds: required "fdtable" "max_fds",
    /// Bitmap of the descriptors that are open.
    fdtable_open_fds: required "fdtable" "open_fds",
    /// Path of an open file.
    file_mnt: required "file" "f_path.mnt",
    /// Entry of an open file.
    file_dentry: required "file" "f_path.dentry",
    /// Inode of an open file.
    file_inode: required "file" "f_inode",
    /// Mount of the working directory.
    fs_pwd_mnt: required "fs_struct" "pwd.mnt",
    /// Entry of the working directory.
    fs_pwd_dentry: required "fs_struct" "pwd.dentry",
    /// Parent entry.
    dentry_parent: required "dentry" "d_parent",
    /// Name of an entry.
    dentry_name: required "dentry" "d_name.name",
    /// Hash link: null if the entry was removed.
    dentry_hash_pprev: required "dentry" "d_hash.pprev",
    /// Inode number.
    inode_ino: required "inode" "i_ino",
    /// File system of an inode.
    inode_sb: required "inode" "i_sb",
    /// Device of a file system.
    sb_dev: required "super_block" "s_dev",
    /// Root entry of a mount.
    vfsmount_root: required "vfsmount" "mnt_root",
    /// The public part within a mount.
    mount_mnt: required "mount" "mnt",
    /// Mount that it is mounted on.
    mount_parent: required "mount" "mnt_parent",
    /// Entry that it is mounted on.
    mount_mountpoint: required "mount" "mnt_mountpoint",

    /// Number of arguments of an exec.
    bprm_argc: required "linux_binprm" "argc",
    /// Credentials that an exec is about to give.
    bprm_cred: required "linux_binprm" "cred",
    /// Whether an exec gains privileges: a bit, counted from the structure's beginning.
    bprm_secureexec: optional "linux_binprm" "#secureexec",

    /// Socket family.
    sock_family: required "sock" "__sk_common.skc_family",
    /// Local port, host order.
    sock_num: required "sock" "__sk_common.skc_num",
    /// Local IPv4 address.
    sock_rcv_saddr: required "sock" "__sk_common.skc_rcv_saddr",
    /// Local IPv6 address.
    sock_v6_rcv_saddr: optional "sock" "__sk_common.skc_v6_rcv_saddr",

    /// Index of the memory controller in `css_set.subsys`, as a byte offset into it.
    subsys_memory: optional "enum cgroup_subsys_id" "memory_cgrp_id",
    /// The same of the pids controller.
    subsys_pids: optional "enum cgroup_subsys_id" "pids_cgrp_id",
}

const _: () = assert!(size_of::<Layout>() == FIELDS.len() * 4);

#[cfg(feature = "user")]
// SAFETY: `#[repr(C)]`, `u32`s only, hence no padding.
unsafe impl aya::Pod for Layout {}
