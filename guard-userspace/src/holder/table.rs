//! The process table: from what exists, compared with it, and as frames.

use std::sync::Arc;

use guard_common::limits::COMM_BYTES;
use guard_common::wire::{Header, Kind, ProcKey, Snapshot, TASK_KERNEL_THREAD, Task};
use guard_core::event::{self, ExitStatus};
use guard_core::ids::ProcId;
use guard_core::{Core, Input};

use super::Holder;
use crate::exit::Failure;
use crate::recording::frame::{self, Frame, Process};
use crate::redact::Redactor;
use crate::sensor::pinned::Pinned;
use crate::{clock, feed, sensor};

/// A core that knows what exists, without secrets.
pub(super) fn existing(
    sensor: &Pinned,
    found: &[Snapshot],
    redactor: &Redactor,
) -> Result<Core, sensor::Error> {
    let (now_ns, mut core) = (clock::boot_ns(), Core::new(feed::LIMITS));
    sensor.cgroups(&mut |hierarchy, id, path| core.handle(now_ns, Input::Cgroup { hierarchy, id, path }))?;
    for snapshot in found {
        let program = sensor.program(snapshot).map(|mut program| {
            redactor.clean_program(&mut program);
            Arc::new(program)
        });
        core.handle(now_ns, Input::Snapshot { task: snapshot.task, program });
    }
    Ok(core)
}

/// All control groups and processes that exist, as of now.
pub(super) fn frames(core: &Core, position: u64, now_ns: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |frame: &Frame<'_>| frame::write(&mut out, position, frame);
    put(&Frame::Clock { now_ns, utc_offset_ns: clock::utc_offset_ns() });
    put(&Frame::TableBegin);
    for cgroup in core.cgroups() {
        if let Some(path) = &cgroup.path {
            put(&Frame::Cgroup { hierarchy: cgroup.hierarchy, id: cgroup.id, path });
        }
    }
    for process in core.processes().living() {
        put(&Frame::Process(Box::new(of(process))));
    }
    put(&Frame::TableEnd);
    out
}

fn of(process: &event::Process) -> Process {
    let mut comm = [0; COMM_BYTES];
    comm.iter_mut().zip(process.name.as_bytes()).for_each(|(to, &from)| *to = from);
    let task = Task {
        key: key(process.id),
        parent: key(process.parent),
        exec_count: process.exec_count,
        cgroup_id: process.cgroup.id,
        caps_effective: process.caps_effective,
        cgroup_hierarchy: process.cgroup.hierarchy,
        ns_tgid: process.ns_pid,
        pid_namespace: process.pid_namespace,
        uid: process.uid,
        gid: process.gid,
        euid: process.euid,
        egid: process.egid,
        flags: if process.kernel_thread { TASK_KERNEL_THREAD } else { 0 },
        comm,
    };
    let header = Header { kind: Kind::SNAPSHOT, cpu: 0, sequence: 0, time_ns: 0 };
    let program = process.program.as_deref().cloned();
    Process { snapshot: Snapshot { header, task }, program }
}

fn key(id: ProcId) -> ProcKey {
    ProcKey { start_ns: id.start_ns, tgid: id.pid, tid: id.pid }
}

impl Holder {
    /// Reads the kernel's own list of processes.
    pub(super) fn resync(&mut self, cgroups: bool) -> Result<(), Failure> {
        if cgroups {
            let mut found = Vec::new();
            self.sensor.cgroups(&mut |hierarchy, id, path| {
                found.push((hierarchy, id, path.to_owned()));
            })?;
            for (hierarchy, id, path) in &found {
                let (hierarchy, id) = (*hierarchy, *id);
                self.put(&Frame::Cgroup { hierarchy, id, path }, Input::Cgroup { hierarchy, id, path });
            }
        }
        let taken_ns = clock::boot_ns();
        let found = match self.sensor.processes() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot compare the process table with the kernel's");
                self.core.handle(self.now_ns, Input::ResyncFailed);
                return Ok(());
            }
        };
        self.frame(&Frame::ResyncBegin { taken_ns });
        for snapshot in &found {
            let process = Process { snapshot: *snapshot, program: None };
            self.frame(&Frame::Process(Box::new(process)));
        }
        self.put(&Frame::ResyncEnd, Input::Resync { taken_ns, found });
        for (key, tombstone) in self.sensor.tombstones() {
            let (status, time_ns) = (tombstone.status as u32, tombstone.time_ns);
            self.put(
                &Frame::Tombstone { pid: key.tgid, start_ns: key.start_ns, status, time_ns },
                Input::Tombstone { id: ProcId::from(key), status: ExitStatus::from_wait(status), time_ns },
            );
        }
        self.unsettled = Some(self.sensor.taken());
        Ok(())
    }
}
