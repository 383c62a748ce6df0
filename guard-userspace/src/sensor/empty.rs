//! Two programs that do nothing on the scheduler's hooks: what the benchmark compares the sensor with.

use std::os::fd::{AsFd, OwnedFd};

use aya::programs::{Program, ProgramFd};
use aya::{Btf, Ebpf, EbpfLoader};

use super::{Error, attach, bpf, probe};

/// What is attached, until it is dropped.
pub struct EmptyScheduler {
    /// Holds the programs.
    _ebpf: Ebpf,
    _links: Vec<OwnedFd>,
}

impl EmptyScheduler {
    /// Attaches both.
    ///
    /// # Errors
    /// If privileges or kernel features are missing.
    pub fn attach() -> Result<Self, Error> {
        probe::require_privileges()?;
        probe::lift_memory_limit();
        let btf =
            Btf::from_sys_fs().map_err(|error| Error::system("read the kernel's type information", error))?;
        let ebpf = EbpfLoader::new().btf(Some(&btf)).load(attach::OBJECT);
        let mut ebpf = ebpf.map_err(|error| Error::system("create the maps", error))?;
        let mut links = Vec::new();
        for (program, tracepoint) in [("empty_switch", "sched_switch"), ("empty_wakeup", "sched_wakeup")] {
            attach::load_btf(&mut ebpf, program, tracepoint, &btf)?;
            let Some(Program::BtfTracePoint(program)) = ebpf.program(program) else {
                return Err(Error::NoObject);
            };
            let failed = |error| Error::system(format!("attach to {tracepoint}"), error);
            let fd: &ProgramFd = program.fd().map_err(|error| Error::system("use a program", error))?;
            links.push(bpf::attach_tracing(fd.as_fd()).map_err(failed)?);
        }
        Ok(Self { _ebpf: ebpf, _links: links })
    }
}
