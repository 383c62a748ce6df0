//! The thread that brings the journal into the database, some time later, and reads it for others.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::StateError;
use super::frame;
use super::store::Store;
use super::view::View;
use crate::clock;
use crate::daemon::fail;

/// How long changes are collected: then a thousand starts are some transactions, and an idle daemon writes nothing.
const COLLECT: Duration = Duration::from_millis(200);

/// When what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// After so many transactions what is too old is removed: the search reads the whole table of incidents.
const PRUNE_EVERY: u32 = 256;

/// A question to the database.
pub(super) type Ask = Box<dyn FnOnce(&View<'_>) + Send>;

/// What the clerk is told.
pub(super) enum Errand {
    /// Something was written to the journal.
    Written,
    /// The other file is written now; this one ends with that frame.
    Turned { which: usize, last: u64 },
    /// Somebody wants to know something.
    Read(Ask),
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The last frame that is written.
    pub(super) written: AtomicU64,
    /// The last frame that is in the database.
    pub(super) applied: AtomicU64,
    /// The clerk was told that something is written, and has not looked yet.
    pub(super) asked: AtomicBool,
    /// The file that is not written is empty.
    pub(super) free: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<&StateError>) {
        let text = trouble.map(StateError::advice);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// A file of the journal, as the clerk sees it.
pub(super) struct Reader {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    /// Up to where it is applied.
    pub(super) position: u64,
}

impl Reader {
    fn rest(&self) -> Result<Vec<u8>, StateError> {
        let failed = || StateError::system("read", &self.path);
        let end = self.file.metadata().map_err(failed())?.len();
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(self.position)).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, self.position) {
            Ok(()) => Ok(bytes),
            // A frame was withdrawn just now: it is not one that we were told of.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(error) => Err(failed()(error)),
        }
    }
}

/// The thread's own.
pub(super) struct Clerk {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) readers: [Reader; 2],
    /// The file that waits for us, and its last frame.
    pub(super) closed: Option<(usize, u64)>,
    pub(super) batches: u32,
}

impl Clerk {
    /// Works until nobody can ask any more; then completes the database and empties the journal.
    pub(super) fn run(mut self, errands: &Receiver<Errand>) -> Result<(), StateError> {
        // What the opening could not do is tried again.
        let mut due = self.shared.trouble().map(|_| Instant::now() + RETRY);
        loop {
            let told = match due {
                None => errands.recv().map_err(|_ended| RecvTimeoutError::Disconnected),
                Some(due) => errands.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match told {
                Ok(Errand::Written) => due = due.or_else(|| Some(Instant::now() + COLLECT)),
                Ok(Errand::Turned { which, last }) => {
                    self.closed = Some((which, last));
                    due = self.work(None);
                }
                Ok(Errand::Read(ask)) => due = self.work(Some(ask)),
                Err(RecvTimeoutError::Timeout) => due = self.work(None),
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// Does what is to be done; when to try again if it failed.
    fn work(&mut self, ask: Option<Ask>) -> Option<Instant> {
        let mut ask = ask;
        let done = self.apply(&mut ask).and_then(|()| self.release());
        if let Some(ask) = ask {
            // What could not be taken over is missing in this answer; the trouble says so.
            ask(&self.store.view());
        }
        self.shared.set_trouble(done.as_ref().err());
        done.is_err().then(|| Instant::now() + RETRY)
    }

    /// Brings all that is written into the database, as one transaction; the answer is read from within it, so that
    /// a full disk does not hide what was written.
    fn apply(&mut self, ask: &mut Option<Ask>) -> Result<(), StateError> {
        self.shared.asked.store(false, SeqCst);
        let written = self.shared.written.load(SeqCst);
        let applied = self.shared.applied.load(SeqCst);
        if written <= applied {
            return Ok(());
        }
        // Before the database is begun: what fails here leaves nothing to be undone.
        let first = self.closed.map_or(0, |(which, _)| which);
        let [a, b] = &mut self.readers;
        let mut readers = if first == 0 { [a, b] } else { [b, a] };
        let mut rests = Vec::with_capacity(2);
        for reader in &readers {
            rests.push(reader.rest()?);
        }
        fail::point("state.batch.begun");
        let batch = self.store.begin()?;
        let mut last = applied;
        let mut advanced = [0; 2];
        for (rest, advanced) in rests.iter().zip(&mut advanced) {
            for frame in frame::frames(rest).take_while(|frame| frame.number <= written) {
                if frame.number == last + 1 {
                    batch.apply(frame)?;
                    last = frame.number;
                }
                *advanced += frame.bytes as u64;
            }
        }
        batch.applied(last)?;
        if let Some(ask) = ask.take() {
            ask(&self.store.view());
        }
        batch.commit()?;
        for (reader, advanced) in readers.iter_mut().zip(advanced) {
            reader.position += advanced;
        }
        self.shared.applied.store(last, SeqCst);
        if last < written {
            let [reader, _] = &self.readers;
            return Err(StateError::broken(&reader.path, format!("entry {} is not there", last + 1)));
        }
        self.batches = self.batches.wrapping_add(1);
        if self.batches.is_multiple_of(PRUNE_EVERY) { self.prune() } else { Ok(()) }
    }

    fn prune(&self) -> Result<(), StateError> {
        let now_ns = i64::try_from(clock::boot_ns()).unwrap_or(i64::MAX);
        self.store.prune(now_ns.saturating_add(clock::utc_offset_ns()))
    }

    /// Empties the file that is not written any more once the database's own file has all of it.
    fn release(&mut self) -> Result<(), StateError> {
        let Some((which, last)) = self.closed else { return Ok(()) };
        if self.shared.applied.load(SeqCst) < last {
            return Ok(());
        }
        self.store.checkpoint()?;
        if let Some(reader) = self.readers.get_mut(which) {
            reader.file.set_len(0).map_err(StateError::system("empty", &reader.path))?;
            reader.position = 0;
        }
        fail::point("state.journal.emptied");
        self.closed = None;
        self.shared.free.store(true, SeqCst);
        Ok(())
    }

    fn finish(mut self) -> Result<(), StateError> {
        self.apply(&mut None)?;
        self.prune()?;
        self.store.checkpoint()?;
        for reader in &self.readers {
            reader.file.set_len(0).map_err(StateError::system("empty", &reader.path))?;
        }
        fail::point("state.finished");
        Ok(())
    }
}
