//! The stream: what a turn takes in and says, how it is put down, and what is done if that fails.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guard_common::decode::{self, Record};
use guard_common::wire::{Kind, ProcKey};
use guard_core::event::{Gap, Lost};
use guard_core::ids::ProcId;
use guard_core::process::AHEAD;
use guard_core::{Core, Effect, Input};
use tokio::time::Instant;

use super::{Audience, BATCH_BYTES, Holder, table};
use crate::clock;
use crate::exit::Failure;
use crate::recording::frame::{self, Frame};
use crate::recording::writer;
use crate::redact::Redactor;

/// How often at most the kernel is asked for runs that it skipped: one system call a program.
const RECURSION_INTERVAL: Duration = Duration::from_millis(500);

/// How long after a recording failed the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// Why nothing is recorded, and when it is tried again.
pub(super) struct Unwritten {
    why: String,
    again: Instant,
}

impl Unwritten {
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.again
    }
}

impl Holder {
    /// A batch begins with what the clocks say, and with what was due by then; in another file, if it is time.
    pub(super) fn begin_turn(&mut self) -> Result<(), Failure> {
        if self.batch.len() >= BATCH_BYTES || self.writer.wants_another() {
            self.put_down()?;
        }
        if self.writer.wants_another() && self.unwritten.as_ref().is_none_or(|unwritten| unwritten.is_due()) {
            let mut head = self.head();
            if self.unwritten.is_some() {
                // Subscribers got all of it: only the recording lacks something.
                frame::write(&mut head, self.sensor.position(), &Frame::Dropped(Vec::new()));
            }
            let begun = self.writer.begin(&head);
            self.written(begun)?;
        }
        if !std::mem::replace(&mut self.is_open, true) {
            self.batch.clear();
            self.counts = [0; Kind::COUNT];
        }
        self.now_ns = clock::boot_ns();
        self.frame(&Frame::Clock { now_ns: self.now_ns, utc_offset_ns: clock::utc_offset_ns() });
        self.core.handle_timeout(self.now_ns);
        Ok(())
    }

    /// Takes in what the ring holds; the last batch of it is yet to be put down. Returns whether there was anything.
    pub(super) fn turn(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        // What comes meanwhile, faster perhaps than it can be put down, is for the next turn.
        let until = self.sensor.taken();
        loop {
            self.begin_turn()?;
            let records = self.drain();
            any |= records > 0;
            let is_empty = self.batch.len() < BATCH_BYTES;
            if self.unsettled.is_some_and(|until| self.sensor.position() >= until) {
                self.unsettled = None;
                self.put(&Frame::Settled, Input::Settled);
                let told = self.sensor.tombstones().into_iter().map(|(key, _)| key);
                // Of one that lives, as far as is known, the exit record is still to come.
                let known = |key: &ProcKey| !self.core.processes().is_alive(ProcId::from(*key));
                if self.audience == Audience::None {
                    self.ended.extend(told.filter(known));
                }
            }
            if self.sensor.lost_more() {
                self.tell_losses();
            }
            self.answer()?;
            if is_empty && !self.doubles.is_empty() {
                // Once an older sensor is gone, what it told too cannot be found again.
                self.end_turn()?;
                self.let_old_go()?;
            }
            if is_empty || self.sensor.position() >= until {
                return Ok(any || self.unsettled.is_some() || !self.doubles.is_empty());
            }
        }
    }

    /// Reads records until the batch is full or the ring is empty for a moment.
    fn drain(&mut self) -> u64 {
        let notes_ends = self.watching && self.audience == Audience::None;
        let Self { sensor, core, redactor, batch, counts, ended, doubles, .. } = self;
        let now_ns = self.now_ns;
        let mut records: u64 = 0;
        while batch.len() < BATCH_BYTES {
            if records.is_multiple_of(AHEAD as u64) {
                core.processes().look_ahead(sensor.ahead());
            }
            let next = sensor.next(|position, bytes| {
                let Ok(record) = decode::decode(bytes) else {
                    return frame::write(batch, position, &Frame::Record(bytes));
                };
                if doubles.iter_mut().any(|doubles| doubles.is_double(&record)) {
                    return;
                }
                if let Some(count) = counts.get_mut(record.kind().0 as usize) {
                    *count += 1;
                }
                if notes_ends && let Record::Exit(exit) = &record {
                    ended.push(exit.task.key);
                }
                tell(batch, core, redactor, now_ns, (position, bytes), record);
            });
            if next.is_none() {
                break;
            }
            records += 1;
        }
        records
    }

    /// Does what the core asks for.
    fn answer(&mut self) -> Result<(), Failure> {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Emit(event) => {
                    if self.audience == Audience::Owner {
                        self.events.push_back(event);
                    }
                }
                Effect::Resync { cgroups } => self.resync(cgroups)?,
                Effect::ReadProgram { id, exec_count } => {
                    if let Some(mut program) = self.sensor.program_of(id) {
                        self.redactor.clean_program(&mut program);
                        let told = Arc::new(program.clone());
                        let frame =
                            Frame::Program { pid: id.pid, start_ns: id.start_ns, exec_count, program };
                        self.put(&frame, Input::Program { id, exec_count, program: told });
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what was lost and what the core asked for, puts the batch down, and hands it on.
    pub(super) fn end_turn(&mut self) -> Result<(), Failure> {
        self.tell_losses();
        self.answer()?;
        self.is_open = false;
        let appended = self.writer.append(&self.batch);
        self.written(appended)?;
        self.sensor.release();
        self.records += self.counts.iter().sum::<u64>();
        for key in self.ended.drain(..) {
            self.sensor.forget(key);
        }
        let batch = Bytes::copy_from_slice(&self.batch);
        let (core, position, now_ns) = (&self.core, self.sensor.position(), self.now_ns);
        self.subscribers.send(&batch, &self.counts, || table::frames(core, position, now_ns));
        Ok(())
    }

    /// A recorder ends if it cannot record: the ring then keeps what fits. Whoever acts on events goes on without a recording, and
    /// begins another file once there is room.
    pub(super) fn written(&mut self, result: Result<(), writer::Error>) -> Result<(), Failure> {
        match result {
            Ok(()) if self.writer.wants_another() => {}
            Ok(()) => self.unwritten = None,
            Err(error) if self.audience == Audience::Owner => {
                self.writer.finish_file();
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let why = format!("{error}{cause}");
                if self.unwritten.is_none() {
                    tracing::warn!("nothing is recorded for now: {why}");
                }
                self.unwritten = Some(Unwritten { why, again: Instant::now() + AGAIN });
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Why nothing is recorded, if that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.unwritten.as_ref().map(|unwritten| unwritten.why.as_str())
    }

    /// What makes a stream complete in itself from here on.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        let position = self.sensor.position();
        frame::write(&mut head, position, &Frame::Start(self.start.clone()));
        frame::write(&mut head, position, &Frame::Losses(self.told.clone()));
        head.extend(table::frames(&self.core, position, self.now_ns));
        head
    }

    pub(super) fn tell_losses(&mut self) {
        let just_asked = self.asked_for_recursion.is_some_and(|asked| asked.elapsed() < RECURSION_INTERVAL);
        if just_asked && !self.sensor.lost_more() {
            return;
        }
        self.asked_for_recursion = Some(Instant::now());
        let now = self.sensor.losses();
        let lost = since(&now, &self.told);
        if !lost.is_empty() {
            self.told.clone_from(&now);
            self.put(&Frame::Losses(now), Input::Gap(Gap { lost }));
        }
    }

    /// Tells the stream and the core the same.
    pub(super) fn put(&mut self, frame: &Frame<'_>, input: Input<'_>) {
        self.frame(frame);
        self.core.handle(self.now_ns, input);
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        frame::write(&mut self.batch, self.sensor.position(), frame);
    }
}

/// What was lost since an earlier account.
pub(super) fn since(now: &[Lost], before: &[Lost]) -> Vec<Lost> {
    let same =
        |one: &Lost, other: &Lost| (one.kind, one.cause, one.cpu) == (other.kind, other.cause, other.cpu);
    let more = now.iter().filter_map(|lost| {
        let told = before.iter().find(|told| same(told, lost)).map_or(0, |told| told.count);
        (lost.count > told).then(|| Lost { count: lost.count - told, ..*lost })
    });
    more.collect()
}

/// Tells the stream and the core a record, without secrets. `at` is the position of its end, and the record itself.
pub(super) fn tell(
    batch: &mut Vec<u8>,
    core: &mut Core,
    redactor: &Redactor,
    now_ns: u64,
    at: (u64, &[u8]),
    record: Record<'_>,
) {
    let (position, bytes) = at;
    let clean = if let Record::Exec(exec) = &record { redactor.record(exec) } else { None };
    match clean.as_deref().map(|clean| (clean, decode::decode(clean))) {
        Some((clean, record)) => {
            frame::write(batch, position, &Frame::Record(clean));
            if let Ok(record) = record {
                core.handle(now_ns, Input::Kernel(record));
            }
        }
        None => {
            frame::write(batch, position, &Frame::Record(bytes));
            core.handle(now_ns, Input::Kernel(record));
        }
    }
}
