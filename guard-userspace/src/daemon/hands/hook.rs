//! Commands that a policy runs: a hook, a demotion, a fence. Each in a room of its own.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;
use tokio::task::spawn_blocking;

use super::rooms::{Room, Rooms};
use super::spawn::{Common, RoomInUse};
use super::{exits, plain_run, wait_ended, watch};
use crate::show::escape;

/// The end of what a command writes, which its error shows.
const TAIL_BYTES: usize = 1024;
/// Lines of it.
const TAIL_LINES: usize = 5;
/// How long the killed may take to be gone: they may be in the middle of something large.
const DYING: Duration = Duration::from_secs(10);

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Program, by its absolute path, and arguments.
    pub command: Vec<String>,
    /// The whole environment besides `PATH`.
    pub environment: BTreeMap<String, String>,
    /// The user; `None`: the daemon's.
    pub user: Option<String>,
    /// When it is killed.
    pub timeout: Duration,
}

pub(super) async fn run(rooms: Rooms, common: Common, hook: Hook) -> Result<(), String> {
    let program = hook.command.first().cloned().unwrap_or_default();
    let text = |error: io::Error| format!("cannot run {program}: {error}");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| text(error.into()))?;
    rustix::io::ioctl_fionbio(&read, true).map_err(|error| text(error.into()))?;
    let Hook { command, environment, user, timeout } = hook;
    let run = guard_core::policy::model::Run { environment, user, ..plain_run(command) };
    // Making a group and becoming a program may both take a while.
    let started = spawn_blocking(move || {
        let room = RoomInUse::new(rooms.make_hook().map_err(|error| error.to_string())?, &run.limits);
        let prepared =
            common.prepare(&run, room, Some(Arc::new(write)), None).map_err(|error| error.to_string())?;
        let started = prepared.start().map_err(|error| error.to_string())?;
        // Also if this future is given up, even before it knows of the process, nobody of it stays.
        Ok::<_, String>((started.pidfd, KillOnDrop(Some(started.room))))
    });
    let (pidfd, guard) = started.await.map_err(|error| error.to_string())??;
    let mut tail = Tail::default();
    let ended = tokio::time::timeout(timeout, follow(pidfd, &read, &mut tail)).await;
    let cleaned = guard.finish().await;
    tail.drain(&read);
    let status = match ended {
        Ok(ended) => ended.map_err(text)?,
        Err(_elapsed) => {
            let seconds = timeout.as_secs_f64();
            return Err(format!("{program} did not end within {seconds} s and was killed{}", tail.text()));
        }
    };
    cleaned?;
    match status {
        Some(0) => Ok(()),
        Some(status) if libc::WIFSIGNALED(status) => {
            Err(format!("{program} was killed by signal {}{}", libc::WTERMSIG(status), tail.text()))
        }
        Some(status) => Err(format!("{program} ended with {}{}", libc::WEXITSTATUS(status), tail.text())),
        None => Err(format!("{program} ended, and nobody knows how{}", tail.text())),
    }
}

/// Reads what it writes until it has ended.
async fn follow(pidfd: OwnedFd, read: &OwnedFd, tail: &mut Tail) -> io::Result<Option<i32>> {
    let output = watch(read.try_clone()?, Interest::READABLE)?;
    let ended = wait_ended(pidfd);
    tokio::pin!(ended);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            pidfd = &mut ended => return Ok(exits::reap(&pidfd?)),
            ready = output.readable(), if is_open => {
                let mut ready = ready?;
                is_open = tail.drain(read);
                ready.clear_ready();
            }
        }
    }
}

/// The end of an output.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Takes in what is there. Returns whether more can come.
    fn drain(&mut self, read: &OwnedFd) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match rustix::io::read(read, &mut bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    self.0.extend_from_slice(bytes.get(..count).unwrap_or_default());
                    let surplus = self.0.len().saturating_sub(TAIL_BYTES);
                    self.0.drain(..surplus);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return error == rustix::io::Errno::AGAIN,
            }
        }
    }

    /// Its last lines, fit for a terminal.
    fn text(&self) -> String {
        let lines: Vec<String> = self
            .0
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(escape::display)
            .collect();
        let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        if last.is_empty() { String::new() } else { format!(": {}", last.join("; ")) }
    }
}

/// The room of a command that is at work.
struct KillOnDrop(Option<Arc<Room>>);

impl KillOnDrop {
    /// Kills what is left, waits until it is gone, and removes the room.
    async fn finish(mut self) -> Result<(), String> {
        let Some(room) = self.0.take() else { return Ok(()) };
        let text = |error: super::rooms::RoomError| error.to_string();
        room.kill().map_err(text)?;
        let gone = tokio::time::timeout(DYING, room.wait_empty()).await;
        gone.map_err(|_elapsed| format!("{} does not become empty", room.path().display()))?.map_err(text)?;
        room.remove().map_err(text)
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // The emptied room is removed with others when it is tidied up.
        if let Some(room) = self.0.take()
            && let Err(error) = room.kill()
        {
            tracing::warn!("{error}");
        }
    }
}
