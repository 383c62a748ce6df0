//! Who enters a room's twins in v1 ahead of the process.
//!
//! In v1, moving into a group makes the kernel wait until no processor forks or ends a process: 10 ms, seen on the build
//! machine, against 1 ms for all the rest of a start. But a new process is where the thread is that makes it, and in v1
//! threads can be in groups of their own. So a thread goes ahead when the room is made, and waits there for the start.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use guard_core::policy::model::Limits;

use super::{Prepared, StartError, Started};
use crate::daemon::hands::rooms::Room;

/// Enough for a start; the new process has a stack of its own.
const STACK_BYTES: usize = 128 * 1024;

/// What it is told once, and where the outcome goes.
type Job = (Box<Prepared>, mpsc::Sender<Result<Started, StartError>>);

/// A thread in a room's twins.
#[derive(Debug)]
pub(super) struct Entrant {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Entrant {
    /// Sends a thread ahead, if that makes sense: it counts to a limit of processes until the start is done.
    pub(super) fn new(room: &Room, limits: &Limits) -> Option<Self> {
        let has_space = limits.processes.is_none_or(|processes| processes > 1 && !limits.per_service);
        let tasks = room.twin_tasks().ok().filter(|tasks| !tasks.is_empty() && has_space)?;
        let (jobs, told) = mpsc::channel::<Job>();
        let work = move || {
            let is_inside = enter(tasks).is_ok();
            if let Ok((prepared, outcome)) = told.recv() {
                // Whoever waits for it has gone: then the process is an instance of nobody, found by its room.
                let _ = outcome.send(prepared.start_here(is_inside));
            }
        };
        let thread = Builder::new().name("starter".into()).stack_size(STACK_BYTES).spawn(work).ok()?;
        Some(Self { jobs, thread })
    }

    /// Starts a process where it is.
    pub(super) fn start(self, prepared: Box<Prepared>) -> Result<Started, StartError> {
        let (outcome, told) = mpsc::channel();
        match self.jobs.send((prepared, outcome)) {
            Ok(()) => told.recv().unwrap_or_else(|_ended| Err(gone())),
            // It could not even begin.
            Err(mpsc::SendError((prepared, _))) => prepared.start_here(false),
        }
    }

    /// Calls it back.
    pub(super) fn leave(self) {
        drop(self.jobs);
        // It has nothing to say.
        let _ = self.thread.join();
    }
}

/// `0` is the thread that writes it.
fn enter(tasks: Vec<File>) -> io::Result<()> {
    tasks.into_iter().try_for_each(|mut file| file.write_all(b"0"))
}

fn gone() -> StartError {
    StartError::Prepare { action: "start it in its control group", source: io::ErrorKind::BrokenPipe.into() }
}
