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
use aya::maps::{Array, MapData, MapError};
use aya::programs::BtfTracePoint;
use guard_common::control::PROBE_ARMED;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::Error;

/// When the real-time thread is due at first, counted from its falling asleep: after the clone is
/// called and before the program ends, on the machine that it happens to be. Doubled after a try in
/// which it was due before the program began, halved after one in which the program had ended.
const DUE_AFTER_NS: u64 = 1_000_000;

/// The least and the most of it.
const DUE_RANGE_NS: (u64, u64) = (100_000, 100_000_000);

/// How much longer than until the due time the program must run for its undisturbed end to say
/// something: a virtual machine's timer can be late.
const MARGIN_NS: u64 = 300_000;

/// Tries that agree before callbacks count as not preemptible. One of the other kind is enough.
const AGREEING: u32 = 3;

/// Tries before giving up: each takes about ten milliseconds.
const TRIES: usize = 40;

/// What a try showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The real-time thread ran while the program did.
    Preempted,
    /// It was due while the program ran, and had to wait for its end.
    Undisturbed,
    /// It was due before the program began.
    Early,
    /// It was due after the program had ended, or shortly before.
    Late,
    /// Real-time scheduling is not permitted.
    Forbidden,
}

/// Judges a try by the program's beginning and end, and by when the real-time thread was due and
/// when it ran.
fn judge([began, ended]: [u64; 2], due: u64, ran: u64) -> Outcome {
    if (began..ended).contains(&ran) {
        Outcome::Preempted
    } else if due < began {
        Outcome::Early
    } else if due.saturating_add(MARGIN_NS) > ended {
        Outcome::Late
    } else {
        Outcome::Undisturbed
    }
}

/// Runs the probe, whose program must be loaded for the calling thread's id. `None` if it cannot
/// be told: without the privilege to have a real-time thread, or on a machine too busy for it.
/// Affinity is restored.
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
    let preempted = several_tries(ebpf);
    let program: &mut BtfTracePoint = ebpf
        .program_mut("preempt_probe")
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system("use the preemption probe", error))?;
    program.detach(link).map_err(|error| Error::system("detach the preemption probe", error))?;
    program.unload().map_err(|error| Error::system("unload the preemption probe", error))?;
    preempted
}

fn several_tries(ebpf: &mut Ebpf) -> Result<Option<bool>, Error> {
    let mut undisturbed = 0;
    let mut due_after_ns = DUE_AFTER_NS;
    let (least, most) = DUE_RANGE_NS;
    for _ in 0..TRIES {
        match one_try(ebpf, due_after_ns)? {
            Outcome::Preempted => return Ok(Some(true)),
            Outcome::Undisturbed => undisturbed += 1,
            Outcome::Early => due_after_ns = (due_after_ns * 2).min(most),
            Outcome::Late => due_after_ns = (due_after_ns / 2).max(least),
            Outcome::Forbidden => return Ok(None),
        }
        if undisturbed == AGREEING {
            return Ok(Some(false));
        }
    }
    Ok(None)
}

fn one_try(ebpf: &mut Ebpf, due_after_ns: u64) -> Result<Outcome, Error> {
    let failed = |error: io::Error| Error::system("probe for preemptible tracepoints", error);
    let mut times = times(ebpf)?;
    let (tell, told) = mpsc::channel();
    let sleeper = thread::Builder::new()
        .name("preempt-probe".to_owned())
        .spawn(move || {
            // The affinity is inherited; the priority is this thread's alone.
            let ready = become_realtime();
            // A receiver that has gone is the caller's failure, told by the caller.
            let _ = tell.send(());
            ready.map(|()| {
                let due = monotonic_ns().saturating_add(due_after_ns);
                thread::sleep(Duration::from_nanos(due_after_ns));
                (due, monotonic_ns())
            })
        })
        .map_err(failed)?;
    // The sleeper has its priority, and runs until it sleeps. Its own clone is over.
    let _ = told.recv();
    times.set(0, [PROBE_ARMED, 0], 0).map_err(use_map)?;
    let cloned = thread::Builder::new().spawn(|| ()).map_err(failed)?;
    let slept = sleeper.join().unwrap_or_else(|_| Err(io::Error::other("the probing thread panicked")));
    let _ = cloned.join();
    let (due, ran) = match slept {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Outcome::Forbidden),
        slept => slept.map_err(failed)?,
    };
    Ok(judge(times.get(&0, 0).map_err(use_map)?, due, ran))
}

fn times(ebpf: &mut Ebpf) -> Result<Array<&mut MapData, [u64; 2]>, Error> {
    ebpf.map_mut("PROBE").ok_or(Error::NoObject)?.try_into().map_err(use_map)
}

fn use_map(error: MapError) -> Error {
    Error::system("use the preemption probe's map", error)
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_thread_that_was_due_meanwhile_proves_anything() {
        let program = [10 * MS, 15 * MS];
        assert_eq!(judge(program, 12 * MS, 12 * MS + 50), Outcome::Preempted);
        assert_eq!(judge(program, 9 * MS, 11 * MS), Outcome::Preempted, "late, but in the middle of it");
        assert_eq!(judge(program, 12 * MS, 15 * MS + 10), Outcome::Undisturbed);
        assert_eq!(judge(program, 8 * MS, 8 * MS + 50), Outcome::Early);
        assert_eq!(judge(program, 16 * MS, 16 * MS + 50), Outcome::Late);
        assert_eq!(judge(program, 15 * MS - 10, 15 * MS + 10), Outcome::Late, "too close to its end");
        let armed = [PROBE_ARMED, 0];
        assert_eq!(judge(armed, 12 * MS, 12 * MS + 50), Outcome::Early, "the program did not run");
    }
}
