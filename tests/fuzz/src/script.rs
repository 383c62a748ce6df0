//! Bytes read as a script: what they say next. At their end everything is 0 and empty.

use guard_common::wire::{Header, Kind, ProcKey, Snapshot, Task};
use guard_core::ids::ProcId;

/// What is left of the bytes.
#[derive(Debug)]
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte, if there is one.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A small number; 0 at the end.
    pub(crate) fn small(&mut self) -> u64 {
        self.byte().unwrap_or_default().into()
    }

    /// A number, as a rule a small one.
    pub(crate) fn number(&mut self) -> u64 {
        match self.small() {
            small @ ..192 => small,
            _ => (0..8).fold(0, |number, _| number << 8 | self.small()),
        }
    }

    /// As many bytes as the next two say, or as there are.
    pub(crate) fn block(&mut self) -> &'a [u8] {
        let length = self.small() as usize | (self.small() as usize) << 8;
        let (block, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        block
    }

    /// An identity out of few, so that processes meet again.
    pub(crate) fn id(&mut self) -> ProcId {
        ProcId { pid: (self.small() % 8) as u32, start_ns: self.small() % 8 }
    }

    /// A process out of few.
    pub(crate) fn task(&mut self) -> Task {
        let key = |id: ProcId| ProcKey { start_ns: id.start_ns, tgid: id.pid, tid: id.pid };
        let (id, parent, about) = (self.id(), self.id(), self.small() as u32);
        Task {
            key: key(id),
            parent: key(parent),
            cgroup_id: u64::from(about % 9),
            caps_effective: self.small(),
            exec_count: self.small() % 4,
            cgroup_hierarchy: about % 2,
            ns_tgid: id.pid,
            pid_namespace: 1,
            uid: about % 3,
            gid: 0,
            euid: 0,
            egid: 0,
            flags: about % 8,
            comm: [0; 16],
        }
    }
    /// What the task iterator says of a process.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let header = Header { kind: Kind::SNAPSHOT, cpu: 0, sequence: 0, time_ns: self.small() };
        Snapshot { header, task: self.task() }
    }
}
