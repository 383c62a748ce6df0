//! What outlives the daemon: a journal that is written at once, and a database that takes it over.
//!
//! ```text
//! write(Changes, Crash | Power)                         the clerk's thread, at most 200 ms later
//!   one frame, one write(2)      journal-a | journal-b ---> state.db, one transaction ---> checkpoint ---> emptied
//!   Power: fdatasync                                        ^ questions are read here
//! ```
//! Nothing else writes to the database than frames of the journal, each of which says by its number which it is, and
//! the transaction that applies a frame notes its number in the same database. So the state is at any moment: what the
//! database has, up to its number, and the frames after that number. Whatever dies in between:
//!
//! * **We die** (`kill -9`). What a returned call wrote is in the kernel's pages. A frame that was being written is whole
//!   or fails its checksum; the transaction that was open is not there, and its frames still are; frames that the database
//!   has already are passed over by their numbers. So everything that belongs together (one [`Changes`], one frame) is
//!   there or is not, and everything that was acknowledged is there.
//! * **The power fails.** Frames count as far as none before them is missing: what is left is the state of some
//!   moment, never a mixture. `fdatasync` covers everything written before in either file, so that moment is not before
//!   the last call for [`Durability::Power`] that returned. A file of the journal is emptied only after a checkpoint, which
//!   SQLite synchronises; transactions need not be.
//! * **The disk is full, or fails.** A frame that cannot be written is cut off again. For the dead it is kept
//!   and written later; for the living the call fails, and nothing is done to them. If `fdatasync` fails, the kernel
//!   may have dropped pages and says so only once: no promise is made until the database has taken over all that
//!   stood in that file, and the file was emptied.
//! * **Something else wrote there.** Rows and frames have checksums, pages and tables are examined, and the journal must go
//!   on where the database ends: what does not fit is refused, and left as it is.
//!
//! The loop that owns the core pays one `write` for an intent, and one `fdatasync` where the living are concerned. Were
//! SQLite to write by itself, the latter would cost twice as much (measured: write 1 us, fdatasync 141 us, a commit
//! that SQLite synchronises 279 us), and every turn would wait for its pages.

mod changes;
mod clerk;
mod error;
mod frame;
mod journal;
mod kept;
mod opening;
mod place;
mod recovery;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod view;

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use guard_core::incident::Incident;
use guard_core::supervise::ActionId;

use crate::clock::Stamp;
pub use changes::Changes;
use clerk::{Errand, Shared};
pub use error::StateError;
use journal::{Journal, TURN_BYTES};
pub use kept::{Durability, Files, Intent, KeptIncident, Life, Recovered};
pub use view::{View, Wanted};

/// Bytes of changes that are kept while the disk takes none. Beyond that all of them are dropped, and nothing is
/// written until it is everything ([`State::everything`]): a later change without those before it would be a mixture.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

/// The open state. It belongs to the task that owns the core.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    stamp: Stamp,
    journal: Journal,
    shared: Arc<Shared>,
    /// The thread: its end is told by dropping this.
    errands: Option<Sender<Errand>>,
    clerk: Option<JoinHandle<Result<(), StateError>>>,
    /// What could not be written yet, in order.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Some of it was dropped.
    dropped: bool,
    /// Up to this frame the disk did not confirm what it was to confirm.
    unconfirmed: Option<u64>,
    /// The clerk does not know yet of what was written last.
    has_put: bool,
    trouble: Option<String>,
    /// Locked as long as this lives.
    _lock: File,
}

impl State {
    /// Whether there is a state in this directory.
    #[must_use]
    pub fn is_at(directory: &Path) -> bool {
        directory.join(store::NAME).exists()
    }

    /// Opens the state in this directory, or begins one, and says what an earlier daemon left. Starts one thread, which
    /// ends with the state.
    ///
    /// If only writing fails, because the disk is full, what is there is given back and [`State::trouble`] tells it.
    ///
    /// # Errors
    /// If another daemon uses it, it is not ours or not whole, of a newer version, or nothing can be begun. None of
    /// its files is changed then.
    pub fn open(directory: &Path, stamp: Stamp) -> Result<(Self, Recovered), StateError> {
        opening::open(directory, stamp)
    }

    /// Changes that are to be written as one, none yet.
    #[must_use]
    pub fn together(&self) -> Changes {
        Changes::new(self.stamp)
    }

    /// Writes changes as one, and empties them.
    ///
    /// # Errors
    /// If they cannot be written. Those for [`Durability::Crash`] are kept and written later; those for
    /// [`Durability::Power`] are not: what they announce must not be done.
    pub fn write(&mut self, changes: &mut Changes, durability: Durability) -> Result<(), StateError> {
        let done = self.put(changes, durability);
        self.stir();
        done
    }

    /// The same without a word to the clerk, whose thread may be woken on the processor that its caller needs:
    /// [`State::stir`] is to follow.
    ///
    /// # Errors
    /// As [`State::write`].
    pub fn put(&mut self, changes: &mut Changes, durability: Durability) -> Result<(), StateError> {
        if changes.is_empty() {
            return Ok(());
        }
        let done = if changes.is_anew {
            // All that waits is in it.
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.append(&mut changes.frame, durability)
        } else if self.dropped {
            Err(StateError::Dropped(self.directory.clone()))
        } else {
            self.write_waiting().and_then(|()| self.append(&mut changes.frame, durability))
        };
        match &done {
            Ok(()) => self.dropped = false,
            // What it replaces is still there; without it nothing may follow.
            Err(_) if changes.is_anew => self.dropped = true,
            Err(_) if durability == Durability::Crash && !self.dropped => self.keep(&changes.frame),
            Err(_) => {}
        }
        changes.clear();
        self.note(done)
    }

    /// Tells the clerk if there is something to bring into the database.
    pub fn stir(&mut self) {
        if std::mem::take(&mut self.has_put) && !self.shared.asked.swap(true, SeqCst) {
            self.tell(Errand::Written);
        }
    }

    /// Notes that something is about to be done.
    ///
    /// # Errors
    /// As [`State::write`].
    pub fn intend(&mut self, intent: &Intent, durability: Durability) -> Result<(), StateError> {
        let mut changes = self.together();
        self.write(changes.intend(intent), durability)
    }

    /// Notes what became of it.
    ///
    /// # Errors
    /// As [`State::write`].
    pub fn outcome(&mut self, id: ActionId, time_ns: u64, failed: Option<&str>) -> Result<(), StateError> {
        let mut changes = self.together();
        self.write(changes.outcome(id, time_ns, failed), Durability::Crash)
    }

    /// Writes an incident as it is now.
    ///
    /// # Errors
    /// As [`State::write`].
    pub fn put_incident(&mut self, incident: &Incident) -> Result<(), StateError> {
        let mut changes = self.together();
        self.write(changes.put_incident(incident), Durability::Crash)
    }

    /// The wall clock was set: how far UTC is from the time since boot from now on.
    ///
    /// # Errors
    /// As [`State::write`].
    pub fn set_clock(&mut self, utc_offset_ns: i64) -> Result<(), StateError> {
        self.stamp.utc_offset_ns = utc_offset_ns;
        let mut changes = self.together();
        self.write(changes.put_stamp(self.stamp), Durability::Crash)
    }

    /// Has something read by the clerk's thread once all that is written so far is in the database: some milliseconds.
    ///
    /// # Errors
    /// If that thread is gone.
    pub fn read(&self, ask: impl FnOnce(&View<'_>) + Send + 'static) -> Result<(), StateError> {
        let told = self.tell(Errand::Read(Box::new(ask)));
        told.then_some(()).ok_or_else(|| StateError::Ended(self.directory.clone()))
    }

    /// Tries again what failed. To be called now and then while there is trouble; costs nothing otherwise.
    pub fn retry(&mut self) {
        if !self.waiting.is_empty() || self.unconfirmed.is_some() {
            let done = self.write_waiting();
            self.stir();
            self.is_confirmed();
            // The trouble is told there.
            let _ = self.note(done);
        }
    }

    /// What is wrong with the state, and what to do about it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let has_ended = self.clerk.as_ref().is_none_or(JoinHandle::is_finished);
        let ended = || has_ended.then(|| StateError::Ended(self.directory.clone()).advice());
        self.trouble.clone().or_else(ended).or_else(|| self.shared.trouble())
    }

    /// Whether changes were dropped while the disk took none. Until [`State::everything`] is written, now and then tried
    /// again, every other write fails.
    #[must_use]
    pub fn wants_everything(&self) -> bool {
        self.dropped
    }

    /// Changes that begin with the removal of what the supervisor saved, of all lives and of all intents without an
    /// outcome, as one with what is put into them: all of that which holds now, and every incident that is known.
    #[must_use]
    pub fn everything(&self) -> Changes {
        Changes::anew(self.stamp)
    }

    /// Brings everything into the database and ends. Without this a start does it.
    ///
    /// # Errors
    /// If that fails; the journal keeps what the database lacks.
    pub fn close(mut self) -> Result<(), StateError> {
        let written = self.write_waiting();
        written.and(self.end())
    }

    fn end(&mut self) -> Result<(), StateError> {
        self.errands = None;
        match self.clerk.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(_panicked)) => Err(StateError::Ended(self.directory.clone())),
            None => Ok(()),
        }
    }

    fn append(&mut self, frame: &mut [u8], durability: Durability) -> Result<(), StateError> {
        let is_power = durability == Durability::Power;
        if is_power && !self.is_confirmed() {
            return Err(StateError::Unconfirmed(self.directory.clone()));
        }
        if self.journal.active.bytes >= TURN_BYTES {
            self.turn();
        }
        self.journal.append(frame)?;
        if is_power && let Err(error) = self.journal.sync() {
            self.journal.withdraw(frame.len());
            self.unconfirmed = Some(self.journal.next - 1);
            return Err(error);
        }
        self.shared.written.store(self.journal.next - 1, SeqCst);
        self.has_put = true;
        Ok(())
    }

    /// Writes the other file from now on, if it is free.
    fn turn(&mut self) {
        if self.shared.free.swap(false, SeqCst) {
            self.journal.turn();
            let closed = &self.journal.other;
            self.tell(Errand::Turned { which: closed.which, last: closed.last });
        }
    }

    /// Whether the disk can be believed: everything in a file that it did not confirm is in the database by now.
    fn is_confirmed(&mut self) -> bool {
        let Some(upto) = self.unconfirmed else { return true };
        let active = &self.journal.active;
        let is_new = active.bytes == 0 || active.first > upto;
        if is_new && self.shared.free.load(SeqCst) {
            self.unconfirmed = None;
        } else if !is_new {
            self.turn();
        }
        self.unconfirmed.is_none()
    }

    fn write_waiting(&mut self) -> Result<(), StateError> {
        while let Some(mut frame) = self.waiting.pop_front() {
            if let Err(error) = self.append(&mut frame, Durability::Crash) {
                self.waiting.push_front(frame);
                return Err(error);
            }
            self.waiting_bytes -= frame.len();
        }
        Ok(())
    }

    fn keep(&mut self, frame: &[u8]) {
        if self.waiting_bytes + frame.len() > KEEP_BYTES {
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.dropped = true;
        } else {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame.to_vec());
        }
    }

    fn note(&mut self, done: Result<(), StateError>) -> Result<(), StateError> {
        self.trouble = done.as_ref().err().map(StateError::advice);
        done
    }

    /// Whether there is a clerk. Without one the journal grows, [`State::trouble`] says so, and the next start is longer.
    fn tell(&self, errand: Errand) -> bool {
        self.errands.as_ref().is_some_and(|errands| errands.send(errand).is_ok())
    }
}

impl Drop for State {
    /// Waits for the thread: it works under our lock.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}; the next start takes it up from the journal");
        }
    }
}
