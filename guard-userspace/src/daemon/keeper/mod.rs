//! The keeper: a process of its own that holds the services' log pipes and outlives the daemon.
//!
//! ```text
//! service --1,2--> pipe --> keeper --> file, rotated | journal | nowhere
//!                   ^  ^
//!        daemon ----+  +---- daemon: also the reading end, from which it never reads
//! ```
//! One pipe for each instance, for all its lives. The keeper has the reading end only: a pipe can be opened for writing
//! by it (`/proc/self/fd/N`), and so "nobody can write to it any more" is something that the kernel says. It hands both
//! ends to the next daemon. Were the keeper itself killed, the daemon starts another one with the same pipes: what was
//! written meanwhile waits in them.
//!
//! The other seam is for undo leases of faults (a pidfd, what to do, until when): another kind of message, another thing
//! in the poll.

mod logs;
mod serve;
mod sink;
mod wire;

use std::path::Path;
use std::time::Duration;

pub use logs::{Launch, Logs, LogsError, Sought, ask};
pub use serve::{Error, Keeper, Options};
pub use wire::{Count, Target};

/// The socket's name in the runtime directory.
const SOCKET: &str = "keeper.sock";
/// The lock's name there: whoever has it is the keeper.
const LOCK: &str = "keeper.lock";

/// Where journald listens for streams.
pub const JOURNAL: &str = "/run/systemd/journal/stdout";
/// How long a keeper stays that holds nothing while no daemon is there.
pub const LINGER: Duration = Duration::from_secs(60);
/// What a keeper says on standard output once it listens.
pub(crate) const READY: &str = "ready\n";

/// What it says if there is one already.
const HELD: &str = "a keeper is at work already in";

/// Keeps until nobody needs it. `announce` is called once it listens.
///
/// # Errors
/// If there is a keeper already, or it cannot set itself up.
pub fn keep(options: Options, announce: impl FnOnce(&Path)) -> Result<(), Error> {
    let directory = options.directory.clone();
    let keeper = Keeper::open(options)?;
    announce(&directory);
    super::slim::slim();
    keeper.run()
}

#[cfg(test)]
mod tests;
