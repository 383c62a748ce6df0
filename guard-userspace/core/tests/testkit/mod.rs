//! Wire records for tests: made with plausible values, changed through their public fields,
//! decoded like the ring's.

use guard_common::decode::{self, Path, Record};
use guard_common::wire::{self, Header, Kind, Plain, ProcKey, Task};

pub(crate) fn header(kind: Kind, time_ns: u64) -> Header {
    Header { kind, cpu: 0, sequence: 1, time_ns }
}

pub(crate) fn key(pid: u32, start_ns: u64) -> ProcKey {
    ProcKey { start_ns, tgid: pid, tid: pid }
}

/// A process named `p<pid>`, child of init.
pub(crate) fn task(pid: u32, start_ns: u64) -> Task {
    Task {
        key: key(pid, start_ns),
        parent: key(1, 1),
        cgroup_id: 0,
        caps_effective: 0,
        exec_count: 0,
        cgroup_hierarchy: 0,
        ns_tgid: pid,
        pid_namespace: 0xefff_fffc,
        uid: 1000,
        gid: 1000,
        euid: 1000,
        egid: 1000,
        flags: 0,
        comm: comm(&format!("p{pid}")),
    }
}

pub(crate) fn comm(name: &str) -> [u8; 16] {
    let mut comm = [0; 16];
    comm.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    comm
}

/// At the child's start.
pub(crate) fn fork(child: Task) -> wire::Fork {
    wire::Fork { header: header(Kind::FORK, child.key.start_ns), child }
}

/// At the process's start, by `exit(0)`.
pub(crate) fn exit(task: Task, status: u32) -> wire::Exit {
    wire::Exit {
        header: header(Kind::EXIT, task.key.start_ns),
        task,
        user_ns: 0,
        system_ns: 0,
        runtime_ns: 500_000,
        minor_faults: 80,
        major_faults: 0,
        voluntary_switches: 1,
        involuntary_switches: 0,
        peak_rss_bytes: 1 << 20,
        read_bytes: wire::UNKNOWN,
        write_bytes: wire::UNKNOWN,
        status,
        threads: 1,
    }
}

/// Sent by a process to a process, delivered.
pub(crate) fn signal(target: Task, number: u32, sender: Task) -> wire::Signal {
    wire::Signal {
        header: header(Kind::SIGNAL, target.key.start_ns),
        target,
        sender: sender.key,
        value: 0,
        sender_uid: sender.uid,
        origin: wire::ORIGIN_PROCESS,
        number,
        code: 0,
        result: wire::RESULT_DELIVERED,
        group: 1,
        sender_comm: sender.comm,
    }
}

/// Sent by the kernel, delivered.
pub(crate) fn kernel_signal(target: Task, number: u32) -> wire::Signal {
    let nobody = Task { key: key(0, 0), uid: 0, comm: [0; 16], ..target };
    wire::Signal { origin: wire::ORIGIN_KERNEL, code: 0x80, ..signal(target, number, nobody) }
}

pub(crate) fn oom(victim: Task, memory_cgroup_id: u64) -> wire::Oom {
    wire::Oom {
        header: header(Kind::OOM, victim.key.start_ns),
        victim,
        memory_cgroup_id,
        memory_hierarchy: 0,
        pid: victim.key.tgid,
    }
}

/// As of a hook that gives nothing but the pid.
pub(crate) fn oom_of_pid(pid: u32) -> wire::Oom {
    let nobody = Task {
        key: key(0, 0),
        parent: key(0, 0),
        ns_tgid: 0,
        pid_namespace: 0,
        uid: 0,
        gid: 0,
        euid: 0,
        egid: 0,
        comm: [0; 16],
        ..task(0, 0)
    };
    wire::Oom { pid, ..oom(nobody, 0) }
}

pub(crate) fn listen(task: Task, port: u32) -> wire::Listen {
    wire::Listen { header: header(Kind::LISTEN, task.key.start_ns), task, address: [0; 16], port, family: 2 }
}

/// An exec record with its variable parts.
#[derive(Clone)]
pub(crate) struct Exec {
    pub(crate) fixed: wire::Exec,
    exe: Vec<u8>,
    cwd: Vec<u8>,
    args: Vec<u8>,
}

/// At the process's start: `/usr/bin/true` in `/srv`.
pub(crate) fn exec(task: Task) -> Exec {
    let fixed = wire::Exec {
        header: header(Kind::EXEC, task.key.start_ns),
        task,
        caps_gained: wire::UNKNOWN,
        exe_inode: 4242,
        exe_device: 8 << 20 | 1,
        old_tid: task.key.tgid,
        args_count: 0,
        args_total: 0,
        args_bytes: 0,
        exe_bytes: 0,
        cwd_bytes: 0,
        flags: 0,
    };
    let bare = Exec { fixed, exe: vec![], cwd: vec![], args: vec![] };
    bare.exe(b"true\0bin\0usr\0").cwd(b"srv\0").args(b"true\0")
}

impl Exec {
    /// NUL-terminated components, the last one first.
    pub(crate) fn exe(mut self, exe: &[u8]) -> Self {
        self.exe = exe.to_vec();
        self.fixed.exe_bytes = length(exe);
        self
    }

    /// NUL-terminated components, the last one first.
    pub(crate) fn cwd(mut self, cwd: &[u8]) -> Self {
        self.cwd = cwd.to_vec();
        self.fixed.cwd_bytes = length(cwd);
        self
    }

    /// NUL-terminated arguments.
    pub(crate) fn args(mut self, args: &[u8]) -> Self {
        self.args = args.to_vec();
        self.fixed.args_bytes = length(args);
        self.fixed.args_total = length(args);
        self.fixed.args_count =
            length(&args.split(|&byte| byte == 0).skip(1).map(|_| 0).collect::<Vec<u8>>());
        self
    }

    pub(crate) fn decoded(&self) -> decode::Exec<'_> {
        decode::Exec { fixed: self.fixed, exe: Path(&self.exe), cwd: Path(&self.cwd), args: &self.args }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [bytes(&self.fixed), &self.exe, &self.cwd, &self.args].concat()
    }
}

/// A control group record with its path.
#[derive(Clone)]
pub(crate) struct Cgroup {
    pub(crate) fixed: wire::Cgroup,
    pub(crate) path: Vec<u8>,
}

pub(crate) fn cgroup(id: u64, change: u32, path: &str) -> Cgroup {
    let path_bytes = length(path.as_bytes());
    let header = header(Kind::CGROUP, 1);
    let fixed = wire::Cgroup { header, id, hierarchy: 0, change, path_bytes, level: 1 };
    Cgroup { fixed, path: path.into() }
}

impl Cgroup {
    pub(crate) fn decoded(&self) -> decode::Cgroup<'_> {
        decode::Cgroup { fixed: self.fixed, path: &self.path }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [bytes(&self.fixed), &self.path].concat()
    }
}

pub(crate) fn snapshot(task: Task) -> wire::Snapshot {
    wire::Snapshot { header: header(Kind::SNAPSHOT, task.key.start_ns), task }
}

/// A record as it lies in the ring.
pub(crate) fn bytes<T: Plain>(record: &T) -> &[u8] {
    // SAFETY: `Plain` promises a type without padding, so all its bytes are initialised; the
    // slice borrows from `record`.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u8>(), size_of::<T>()) }
}

/// A record as the sensor decodes it.
pub(crate) fn decoded(bytes: &[u8]) -> Record<'_> {
    decode::decode(bytes).unwrap_or_else(|error| unreachable!("{error}"))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
