//! How the state is opened: what the database lacks is taken from the journal.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;

use super::clerk::{Clerk, Reader, Shared};
use super::error::StateError;
use super::journal::{self, Journal, NAMES, Segment};
use super::kept::{Durability, Recovered};
use super::schema::Kind;
use super::store::{self, Store};
use super::{State, place, recovery};
use crate::clock::Stamp;
use crate::daemon::fail;

pub(super) fn open(directory: &Path, stamp: Stamp) -> Result<(State, Recovered), StateError> {
    let lock = place::lock(directory)?;
    let store = Store::open(directory, is_new(directory)?)?;
    let [name_a, name_b] = NAMES;
    let (mut a, bytes_a) = Segment::open(directory, 0, name_a)?;
    let (mut b, bytes_b) = Segment::open(directory, 1, name_b)?;
    store::sync_directory(directory)?;

    let (recovered, last, committed) = recover(directory, &store, [&bytes_a, &bytes_b], stamp)?;
    let emptied = committed.and_then(|()| {
        store.checkpoint()?;
        fail::point("state.recovery.complete");
        a.empty()?;
        fail::point("state.recovery.half");
        b.empty()
    });
    let shared = Arc::new(Shared::default());
    if let Err(error) = emptied {
        if !error.may_pass() {
            return Err(error);
        }
        shared.set_trouble(Some(&error));
        a.cut()?;
        b.cut()?;
    }
    // The one that goes on is the one with the last frame.
    let (active, other) = if a.last >= b.last { (a, b) } else { (b, a) };
    shared.written.store(last, SeqCst);
    shared.applied.store(store.view().number(Kind::Own, "applied")?.unwrap_or(0).cast_unsigned(), SeqCst);
    shared.free.store(other.bytes == 0, SeqCst);
    let clerk = hire(store, &shared, &active, &other);
    let (errands, told) = mpsc::channel();
    let clerk = thread::Builder::new()
        .name("state".to_owned())
        .spawn(move || clerk.run(&told))
        .map_err(StateError::system("start the writer of", directory))?;
    let mut state = State {
        directory: directory.to_owned(),
        stamp,
        journal: Journal { active, other, next: last + 1 },
        shared,
        errands: Some(errands),
        clerk: Some(clerk),
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        dropped: false,
        unconfirmed: None,
        has_put: false,
        trouble: None,
        _lock: lock,
    };
    let mut changes = state.together();
    // If it fails it is kept, and told by `trouble`.
    let _ = state.write(changes.put_stamp(stamp), Durability::Crash);
    Ok((state, recovered))
}

/// Whether there is no database. What it would have to be there for must not be there then.
fn is_new(directory: &Path) -> Result<bool, StateError> {
    let bytes = |name: &str| fs::metadata(directory.join(name)).ok().map(|found| found.len());
    if bytes(store::NAME).is_some() {
        return Ok(false);
    }
    for name in NAMES.into_iter().chain(["state.db-wal"]) {
        if bytes(name).unwrap_or(0) > 0 {
            let what = format!("{name} is there, and the {} that it belongs to is not", store::NAME);
            return Err(StateError::broken(directory, what));
        }
    }
    Ok(true)
}

/// Applies what the database lacks, and reads all of it within the same transaction: a disk that is full then only
/// means that the next one does it again. The last number, and whether the transaction came about.
fn recover(
    directory: &Path,
    store: &Store,
    files: [&[u8]; 2],
    stamp: Stamp,
) -> Result<(Recovered, u64, Result<(), StateError>), StateError> {
    let applied = store.view().number(Kind::Own, "applied")?.unwrap_or(0).cast_unsigned();
    let tail = journal::tail(files, applied);
    let batch = store.begin()?;
    for frame in &tail.frames {
        batch.apply(*frame)?;
    }
    batch.applied(tail.last)?;
    fail::point("state.recovery.applied");
    let mut recovered = recovery::read(&store.view())?;
    if tail.is_parted || tail.is_damaged {
        // Without a power failure nothing is missing but the end of a write that we died in.
        let what = format!("entry {} of its journal is not what was written", tail.last + 1);
        if recovered.before.is_none_or(|before| before.boot == stamp.boot) {
            return Err(StateError::broken(directory, what));
        }
        recovered.warnings.push(format!("{what}: what was not confirmed before the host went down is lost"));
    }
    let committed = batch.commit();
    match committed {
        // What was passed over must be gone before its numbers are given again.
        Err(error) if tail.is_parted || tail.is_damaged => Err(error),
        committed => Ok((recovered, tail.last, committed)),
    }
}

fn hire(store: Store, shared: &Arc<Shared>, active: &Segment, other: &Segment) -> Clerk {
    let reader = |which: usize| {
        let segment = if active.which == which { active } else { other };
        Reader { file: Arc::clone(&segment.file), path: segment.path.clone(), position: 0 }
    };
    Clerk {
        store,
        shared: Arc::clone(shared),
        readers: [reader(0), reader(1)],
        closed: (other.bytes > 0).then_some((other.which, other.last)),
        batches: 0,
    }
}
