//! What processes and control groups use: one module for each place that says so.

pub mod cgroup;
mod processes;
mod pss;
mod sampling;

use guard_core::ids::ProcId;
use procfs::process::Process;

pub use processes::Sampler;
pub use pss::{PssError, pss};
pub(crate) use sampling::Sampling;

/// Opens a process's directory in /proc, if the process is still there. What is read below it cannot be another's:
/// it fails once the process has gone. Its start time, in ticks, says that it is not a later one with the same pid.
pub(crate) fn process(id: ProcId) -> Option<Process> {
    let process = Process::new(id.pid.cast_signed()).ok()?;
    let nanoseconds_per_tick = 1_000_000_000 / procfs::ticks_per_second();
    (process.stat().ok()?.starttime == id.start_ns / nanoseconds_per_tick).then_some(process)
}
