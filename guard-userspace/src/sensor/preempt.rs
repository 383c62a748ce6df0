//! Finds out whether tracepoint callbacks can be preempted on the running kernel.
//!
//! Where they can, a preempted BTF tracepoint program makes the next one on its CPU be skipped.
//! No version tells: the property came with 7.x, depends on the preemption model of the boot, and
//! can be ported back. So it is tried: this thread clones one, which runs a program that takes
//! some milliseconds; a real-time thread on the same CPU wakes up meanwhile. If it runs before the
//! program ends, the callback was preempted.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::Array;
use aya::programs::BtfTracePoint;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::Error;

/// When the real-time thread wakes: after the clone was called, before the program ends.
const WAKE_AFTER: Duration = Duration::from_micros(700);

/// Tries before callbacks count as not preemptible: a wake-up can come too early or too late.
const TRIES: u32 = 3;

/// Runs the probe, whose program must be loaded for the calling thread's id. `None` without the
/// privilege to have a real-time thread. Affinity is restored.
pub(crate) fn callbacks_are_preemptible(ebpf: &mut Ebpf) -> Result<Option<bool>, Error> {
    let failed = |error: io::Error| Error::system("probe for preemptible tracepoints", error);
    let before = sched_getaffinity(None).map_err(|error| failed(error.into()))?;
    let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| before.is_set(cpu)).unwrap_or(0);
    let mut here = CpuSet::new();
    here.set(cpu);
    sched_setaffinity(None, &here).map_err(|error| failed(error.into()))?;
    let answer = with_program(ebpf);
    sched_setaffinity(None, &before).map_err(|error| failed(error.into()))?;
    answer
}

fn with_program(ebpf: &mut Ebpf) -> Result<Option<bool>, Error> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut("preempt_probe")
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system("use the preemption probe", error))?;
    let link = program.attach().map_err(|error| Error::system("attach the preemption probe", error))?;
    let mut preempted = Ok(None);
    for _ in 0..TRIES {
        preempted = one_try(ebpf);
        if !matches!(preempted, Ok(Some(false))) {
            break;
        }
    }
    let program: &mut BtfTracePoint = ebpf
        .program_mut("preempt_probe")
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system("use the preemption probe", error))?;
    program.detach(link).map_err(|error| Error::system("detach the preemption probe", error))?;
    program.unload().map_err(|error| Error::system("unload the preemption probe", error))?;
    preempted
}

fn one_try(ebpf: &mut Ebpf) -> Result<Option<bool>, Error> {
    let failed = |error: io::Error| Error::system("probe for preemptible tracepoints", error);
    let (tell, told) = mpsc::channel();
    let sleeper = thread::Builder::new()
        .name("preempt-probe".to_owned())
        .spawn(move || {
            // The affinity is inherited; the priority is this thread's alone.
            let ready = become_realtime();
            // A receiver that has gone is the caller's failure, told by the caller.
            let _ = tell.send(());
            ready.map(|()| {
                thread::sleep(WAKE_AFTER);
                monotonic_ns()
            })
        })
        .map_err(failed)?;
    // The sleeper has its priority, and runs until it sleeps.
    let _ = told.recv();
    let cloned = thread::Builder::new().spawn(|| ()).map_err(failed)?;
    let woke = sleeper.join().unwrap_or_else(|_| Err(io::Error::other("the probing thread panicked")));
    let _ = cloned.join();
    let woke = match woke {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        woke => woke.map_err(failed)?,
    };
    let times: Array<_, [u64; 2]> = ebpf
        .map("PROBE")
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system("read the preemption probe", error))?;
    let [began, ended] =
        times.get(&0, 0).map_err(|error| Error::system("read the preemption probe", error))?;
    Ok(Some((began..ended).contains(&woke)))
}

fn become_realtime() -> io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the calling thread, and a parameter block on the stack.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The clock of `bpf_ktime_get_ns`.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
