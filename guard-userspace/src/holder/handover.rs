//! From one version's sensor to the next: attach new, detach old, and what both saw is told once.
//!
//! ```text
//! old ring  ==================|~~~~~|     superseded, then detached hook by hook; its room is not given back
//! new ring         ===========|=========>
//!                       both  ^ stamped earlier: the old one tells it; later: the new one
//! ```
//! Killed anywhere in between, the next holder does the same again: the old ring is still complete.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guard_common::decode::{self, Record};
use guard_common::wire::{self, Kind, ProcKey, Task};
use guard_core::Input;
use guard_core::event::{Gap, LossCause, Lost};
use rustix::thread::{MembarrierCommand, membarrier};

use super::stream::{since, tell};
use super::{BATCH_BYTES, Holder};
use crate::exit::Failure;
use crate::recording::frame::{self, Frame, Start};
use crate::recording::writer::Resume;
use crate::sensor;
use crate::sensor::pinned::Pinned;
use crate::sensor::pins::{self, PinError, Pins};

/// How far apart two programs on the same hook can run: microseconds, unless the machine was suspended or a
/// virtual one was stopped in between.
const APART_NS: u64 = 10_000_000;

/// How long the kernel may take from letting a link go to the last run of its program, and how far apart the old
/// and the new program of one event can run: microseconds, but on a virtual machine that is not always so.
const GRACE: Duration = Duration::from_millis(200);

/// How long a detached program may take to finish its record before the rest of the ring is given up.
const UNFINISHED: Duration = Duration::from_secs(5);

/// What a record is about, whichever sensor made it: the start time and id of a process are the same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Fork(ProcKey),
    Exec(ProcKey, u64),
    Exit(ProcKey),
    /// These can happen again to the same process: only with the time they are one.
    Signal {
        target: ProcKey,
        sender: ProcKey,
        number: u32,
        code: i32,
        value: u64,
    },
    Oom(u32),
    Listen {
        process: ProcKey,
        port: u32,
        family: u32,
    },
    Cgroup {
        hierarchy: u32,
        id: u64,
        change: u32,
    },
    Stall(ProcKey),
}

impl Key {
    fn of(record: &Record<'_>) -> Option<(Self, u64)> {
        let (key, header) = match record {
            Record::Fork(fork) => (Self::Fork(process(&fork.child)), fork.header),
            Record::Exec(exec) => {
                let task = &exec.fixed.task;
                (Self::Exec(process(task), task.exec_count), exec.fixed.header)
            }
            Record::Exit(exit) => (Self::Exit(process(&exit.task)), exit.header),
            Record::Signal(signal) => {
                let (target, sender) = (signal.target.key, ProcKey { tid: 0, ..signal.sender });
                let (number, code, value) = (signal.number, signal.code, signal.value);
                (Self::Signal { target, sender, number, code, value }, signal.header)
            }
            Record::Oom(oom) => (Self::Oom(oom.pid), oom.header),
            Record::Listen(listen) => {
                let (process, port, family) = (process(&listen.task), listen.port, listen.family);
                (Self::Listen { process, port, family }, listen.header)
            }
            Record::Cgroup(cgroup) => {
                let (hierarchy, id, change) = (cgroup.fixed.hierarchy, cgroup.fixed.id, cgroup.fixed.change);
                (Self::Cgroup { hierarchy, id, change }, cgroup.fixed.header)
            }
            Record::Stall(stall) => (Self::Stall(stall.task.key), stall.header),
            Record::Snapshot(_) => return None,
        };
        Some((key, header.time_ns))
    }

    /// Whether it can happen only once.
    const fn is_unique(self) -> bool {
        match self {
            Self::Fork(process) | Self::Exec(process, _) | Self::Exit(process) => process.start_ns != 0,
            _ => false,
        }
    }
}

fn process(task: &Task) -> ProcKey {
    ProcKey { tid: 0, ..task.key }
}

/// What the old sensor told, until the new one is past it.
#[derive(Debug)]
pub(super) struct Doubles {
    told: HashMap<Key, Vec<u64>>,
    /// When the old one was superseded.
    superseded_ns: u64,
    /// When the old ring was read to its end.
    read: Instant,
    /// The old sensor's pins.
    old: PathBuf,
}

impl Doubles {
    /// Detaches the old sensor; the new one is attached already. Its hooks go one by one, so what it records
    /// meanwhile is no whole story: it tells what is stamped before.
    pub(super) fn detach(old: &Pinned) -> Result<Self, sensor::Error> {
        wait_for_the_unaware();
        let superseded_ns = old.supersede()?;
        let links = pins::detach(old.path())?;
        pins::wait_until_gone(&links);
        let (told, read, old) = (HashMap::new(), Instant::now(), old.path().to_owned());
        Ok(Self { told, superseded_ns, read, old })
    }

    /// Takes note of what is put down already: all up to a position.
    fn note_until(&mut self, position: u64) -> Result<(), sensor::Error> {
        // Opened again: the first reader is still to stand at that position.
        let mut old = Pinned::open(&self.old)?;
        if is_readable(&old)? {
            let mut note = |end, bytes: &[u8]| {
                if end <= position
                    && let Ok(record) = decode::decode(bytes)
                {
                    self.note(&record);
                }
                end < position
            };
            while old.next(&mut note) == Some(true) {}
        }
        Ok(())
    }

    /// Takes note of a record of the old sensor. Returns whether it is the old one's to tell.
    pub(super) fn note(&mut self, record: &Record<'_>) -> bool {
        self.read = Instant::now();
        let Some((key, time_ns)) = Key::of(record) else { return false };
        if time_ns > self.superseded_ns {
            return false;
        }
        self.told.entry(key).or_default().push(time_ns);
        true
    }

    /// Whether a record of the new sensor was told by the old one.
    pub(super) fn is_double(&mut self, record: &Record<'_>) -> bool {
        let Some((key, time_ns)) = Key::of(record) else { return false };
        let Some(times) = self.told.get_mut(&key) else { return false };
        if key.is_unique() {
            return true;
        }
        let found = times.iter().position(|told| told.abs_diff(time_ns) <= APART_NS);
        found.map(|at| times.swap_remove(at)).is_some()
    }

    /// Whether the new ring, read to its end just now, is past all that both saw: then the old one can go.
    pub(super) fn is_over(&self) -> bool {
        self.read.elapsed() >= GRACE
    }

    /// Removes the old sensor.
    pub(super) fn finish(self) -> Result<(), PinError> {
        pins::remove(&self.old)
    }
}

/// Waits until every event that began before the new programs were attached is over: its hook runs the old ones
/// alone, and stamps their record when it comes to it. Stamped after the mark it would be nobody's to tell (seen on 7.2,
/// where a hook can be preempted: one fork of 4,489).
fn wait_for_the_unaware() {
    // A grace period of RCU, under which hooks run: at once on one CPU, and not to be had with nohz_full.
    let _ = membarrier(MembarrierCommand::Global);
    // From 7.0 a hook finds its programs under a lock of its own, for which that does not wait.
    std::thread::sleep(GRACE);
}

impl Holder {
    /// Detaches a sensor of another version, and puts down what its ring holds. What the new one recorded meanwhile
    /// is compared with that later.
    pub(super) fn take_over(
        &mut self,
        old: Pinned,
        chain: &[u64],
        resume: Option<&Resume>,
    ) -> Result<(), Failure> {
        let mut doubles = Doubles::detach(&old)?;
        let instance = old.instance();
        let at = resume.map(|resume| resume.start.instance);
        // The stream is at a later sensor already: an earlier holder was killed in the middle of this.
        if at.is_some_and(|at| chain.contains(&at) && at > instance) {
            doubles.note_until(u64::MAX)?;
        } else {
            let known = resume.filter(|_| at == Some(instance));
            let (position, told) =
                known.map_or((0, Vec::new()), |known| (known.position, known.losses.clone()));
            self.told = told;
            doubles.note_until(position)?;
            let start = Start { instance, ..self.start.clone() };
            let sensor = std::mem::replace(&mut self.sensor, old);
            let start = std::mem::replace(&mut self.start, start);
            self.sensor.skip_to(position);
            self.put_down_old(&mut doubles)?;
            self.sensor = sensor;
            self.start = Start { continues: Some(instance), ..start.clone() };
            self.batch.clear();
            frame::write(&mut self.batch, 0, &Frame::Start(self.start.clone()));
            self.writer.append(&self.batch)?;
            self.start = start;
            self.told.clear();
        }
        self.doubles.push(doubles);
        Ok(())
    }

    /// Puts down what lies in the old ring, which is the current one for now. Its room is not given back: should we
    /// be killed, the next holder needs it all.
    fn put_down_old(&mut self, doubles: &mut Doubles) -> Result<(), Failure> {
        let is_readable = is_readable(&self.sensor)?;
        let mut unreadable = [0_u64; Kind::COUNT];
        let began = Instant::now();
        loop {
            self.begin_turn()?;
            let Self { sensor, core, redactor, ended, batch, doubles: earlier, .. } = self;
            let now_ns = self.now_ns;
            while batch.len() < BATCH_BYTES
                && sensor
                    .next(|position, bytes| {
                        let Some(record) = decode::decode(bytes).ok().filter(|_| is_readable) else {
                            // The kind comes first in every version's header.
                            let kind = bytes.first_chunk().map_or(u32::MAX, |kind| u32::from_ne_bytes(*kind));
                            if let Some(count) = unreadable.get_mut(kind as usize) {
                                *count += 1;
                            }
                            return;
                        };
                        if !doubles.note(&record)
                            || earlier.iter_mut().any(|doubles| doubles.is_double(&record))
                        {
                            return;
                        }
                        if let Record::Exit(exit) = &record {
                            ended.push(exit.task.key);
                        }
                        tell(batch, core, redactor, now_ns, (position, bytes), record);
                    })
                    .is_some()
            {}
            let is_read = self.sensor.position() >= self.sensor.taken();
            if is_read || began.elapsed() > UNFINISHED {
                break;
            }
            let is_whole = self.batch.len() < BATCH_BYTES;
            self.append()?;
            if is_whole {
                // Behind a record that its program has yet to finish: where programs can be preempted, that takes
                // a while, and what lies behind it was stamped in time.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let mut losses = self.sensor.losses();
        let unreadable = Kind::ALL.into_iter().zip(unreadable).filter(|(_, count)| *count > 0);
        losses.extend(unreadable.map(|(kind, count)| Lost {
            kind,
            cause: LossCause::Unreadable,
            cpu: None,
            count,
        }));
        let lost = since(&losses, &self.told);
        if !lost.is_empty() {
            self.put(&Frame::Losses(losses), Input::Gap(Gap { lost }));
        }
        self.append()
    }

    /// Puts the batch down: its room is not given back, and nobody is told.
    fn append(&mut self) -> Result<(), Failure> {
        self.is_open = false;
        Ok(self.writer.append(&self.batch)?)
    }

    /// Removes the sensors that this one has taken over from completely: its ring was read to the end just now.
    pub(super) fn let_old_go(&mut self) -> Result<(), Failure> {
        while let Some(at) = self.doubles.iter().position(Doubles::is_over) {
            self.doubles.swap_remove(at).finish().map_err(sensor::Error::from)?;
        }
        Ok(())
    }
}

/// Sensors of other versions, oldest first.
pub(super) fn others(pins: &Pins, own: &Pinned) -> Result<Vec<Pinned>, sensor::Error> {
    let mut others = Vec::new();
    for path in pins::sensors(pins.base())? {
        if pins::is_version(&path) && path != own.path() {
            others.push(Pinned::open(&path)?);
        }
    }
    others.sort_unstable_by_key(Pinned::instance);
    Ok(others)
}

/// Whether its records are of this version.
fn is_readable(sensor: &Pinned) -> Result<bool, sensor::Error> {
    Ok(sensor.wire()? == u64::from(wire::VERSION))
}

#[cfg(test)]
mod tests {
    use guard_common::wire::{Fork, Header, Kind, Signal};

    use super::*;

    /// Zeros but for what is set.
    fn fork(pid: u32, start_ns: u64, time_ns: u64) -> Record<'static> {
        // SAFETY: integers only; zeros are valid.
        let mut fork: Fork = unsafe { std::mem::zeroed() };
        fork.header = Header { kind: Kind::FORK, cpu: 0, sequence: 1, time_ns };
        fork.child.key = ProcKey { start_ns, tgid: pid, tid: pid };
        Record::Fork(fork)
    }

    fn signal(number: u32, time_ns: u64) -> Record<'static> {
        // SAFETY: integers only; zeros are valid.
        let mut signal: Signal = unsafe { std::mem::zeroed() };
        signal.header = Header { kind: Kind::SIGNAL, cpu: 0, sequence: 1, time_ns };
        signal.target.key = ProcKey { start_ns: 5, tgid: 7, tid: 7 };
        signal.number = number;
        Record::Signal(signal)
    }

    fn doubles(told: &[Record<'_>]) -> Doubles {
        let mut doubles = Doubles {
            told: HashMap::new(),
            superseded_ns: 10_000,
            read: Instant::now(),
            old: PathBuf::new(),
        };
        assert!(told.iter().all(|record| doubles.note(record)));
        doubles
    }

    #[test]
    fn what_happens_once_is_told_once() {
        let mut doubles = doubles(&[fork(7, 50, 60)]);
        assert!(doubles.is_double(&fork(7, 50, 61)));
        assert!(doubles.is_double(&fork(7, 50, 1_000_000_000)), "however late");
        assert!(!doubles.is_double(&fork(7, 51, 61)), "another process with the pid");
    }

    #[test]
    fn what_can_happen_again_is_told_as_often_as_it_happened() {
        let mut doubles = doubles(&[signal(9, 1000), signal(9, 2000)]);
        assert!(doubles.is_double(&signal(9, 1001)));
        assert!(doubles.is_double(&signal(9, 2001)));
        assert!(!doubles.is_double(&signal(9, 3000)), "a third one");
        assert!(!doubles.is_double(&signal(10, 2001)));
    }

    #[test]
    fn the_same_much_later_is_another() {
        let mut doubles = doubles(&[signal(9, 1000)]);
        assert!(!doubles.is_double(&signal(9, 1000 + APART_NS + 1)));
    }

    #[test]
    fn what_is_stamped_later_is_left_to_the_new_one() {
        let mut doubles = doubles(&[]);
        assert!(!doubles.note(&fork(7, 50, 10_001)));
        assert!(!doubles.is_double(&fork(7, 50, 10_001)));
    }
}
