//! `processguard trace`: events from the kernel or from a saved stream, filtered, redacted, shown.

pub mod live;
pub mod recorded;
pub mod replay;

use guard_core::event::{Action, Event};
use guard_core::process::Table;

use crate::clock::Stamp;
use crate::exit::{Failure, say};
use crate::filter::{self, Filter};
use crate::output::{self, Sink};
use crate::redact::Redactor;
use crate::sensor;
use crate::show::Renderer;
use crate::summary::Summary;

/// Bytes of lines after which they are written, even in the middle of a batch.
const BATCH_BYTES: usize = 256 * 1024;

/// The way of every event: filter, redact, render, write; and what was counted on it.
#[derive(Debug)]
pub struct Show {
    filter: Filter,
    redactor: Redactor,
    renderer: Renderer,
    sink: Sink,
    /// Events still wanted; `None`: no end.
    left: Option<u64>,
    quiet: bool,
    summary: Summary,
    lines: Vec<u8>,
}

/// Whether more events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Yes.
    More,
    /// `--count` is reached.
    Enough,
}

/// Who gets the events of a saved stream.
pub trait Audience {
    /// Takes an event.
    ///
    /// # Errors
    /// If it cannot be taken, such as when the output cannot be written.
    fn event(&mut self, stamp: &Stamp, event: &Event) -> Result<Wanted, Failure>;

    /// Nothing follows for now.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What is counted on the way.
    fn summary(&mut self) -> &mut Summary;

    /// The stream's own summary was read: it is whole, even if nothing happened in it.
    fn is_whole(&mut self) {}

    /// Nothing follows any more.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn finish(self, _stamp: &Stamp, _time_ns: u64) -> Result<(), Failure>
    where
        Self: Sized,
    {
        Ok(())
    }
}

impl Audience for Show {
    fn event(&mut self, stamp: &Stamp, event: &Event) -> Result<Wanted, Failure> {
        Ok(Self::event(self, stamp, event)?)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(Self::flush(self)?)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    fn finish(self, stamp: &Stamp, time_ns: u64) -> Result<(), Failure> {
        Ok(Self::finish(self, stamp, time_ns)?)
    }
}

impl Show {
    /// Puts the parts together. Nothing is written yet.
    #[must_use]
    pub fn new(
        filter: Filter,
        redactor: Redactor,
        renderer: Renderer,
        sink: Sink,
        count: Option<u64>,
        quiet: bool,
    ) -> Self {
        let lines = Vec::with_capacity(BATCH_BYTES);
        Self { filter, redactor, renderer, sink, left: count, quiet, summary: Summary::default(), lines }
    }

    /// Takes note of what exists when the stream begins.
    ///
    /// # Errors
    /// If a process that was asked for does not exist.
    fn begin_with(&mut self, table: &Table) -> Result<(), sensor::Error> {
        if let Some(pid) = self.filter.absent(table) {
            return Err(sensor::Error::NoProcess(pid));
        }
        self.filter.learn_existing(table);
        Ok(())
    }

    /// Shows an event if it passes.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn event(&mut self, stamp: &Stamp, event: &Event) -> Result<Wanted, output::Error> {
        if self.left == Some(0) {
            return Ok(Wanted::Enough);
        }
        if !self.filter.passes(event) {
            return Ok(Wanted::More);
        }
        let clean = self.redactor.event(event);
        self.renderer.event(&mut self.lines, stamp, clean.as_ref().unwrap_or(event));
        match &event.action {
            Action::Gap(_) => {}
            Action::Resync(resync) => self.summary.add_resync(resync),
            action => {
                // No record was seen of an end that only a comparison shows: that counts it.
                if event.sequence != 0 {
                    self.summary.kind(filter::kind(action)).shown += 1;
                }
                self.left = self.left.map(|left| left - 1);
            }
        }
        if self.lines.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(if self.left == Some(0) { Wanted::Enough } else { Wanted::More })
    }

    /// Writes what was rendered since the last time, with one call.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn flush(&mut self) -> Result<(), output::Error> {
        let written = self.sink.write(&self.lines);
        self.lines.clear();
        written
    }

    /// Writes the summary: as the last record if the format has one, and to standard error.
    fn finish(mut self, stamp: &Stamp, time_ns: u64) -> Result<(), output::Error> {
        self.renderer.summary(&mut self.lines, stamp, time_ns, &self.summary);
        self.flush()?;
        if !self.quiet {
            say(self.summary.to_string().trim_end());
        }
        Ok(())
    }
}

/// A closed pipe is how `head` says that it has seen enough: the end, and no failure.
fn quiet_if_closed(ended: Result<(), Failure>) -> Result<(), Failure> {
    match ended {
        Err(Failure::Output(output::Error::Closed)) => Ok(()),
        other => other,
    }
}
