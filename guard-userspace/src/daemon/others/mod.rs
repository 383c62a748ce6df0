//! Others who are asked to act: programs, systemd, container runtimes.

mod container;
mod notepad;
pub(super) mod program;
mod unit;
mod user;

use std::error::Error;
use std::time::Duration;

use guard_core::policy::model::RestartVia;
use program::Program;

/// Has an adopted service restarted, and waits until that is done.
///
/// # Errors
/// In words, if it was not done: what failed, and what whoever was asked said last.
pub async fn restart(via: &RestartVia, timeout: Duration) -> Result<(), String> {
    match via {
        RestartVia::Command(command) => run(command, timeout).await,
        RestartVia::Unit(name) => unit::restart(None, name, timeout).await.map_err(|error| in_words(&error)),
        RestartVia::Container { runtime, container } => {
            match container::command(runtime, container, program::PATH) {
                Ok(command) => run(&command, timeout).await,
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

/// Runs a program that leaves a service behind.
async fn run(command: &[String], timeout: Duration) -> Result<(), String> {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Program { command, leaves: true, timeout, ..Program::default() }.succeed().await
}

/// An error with all that is behind it, in one line.
pub(super) fn in_words(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        // Some errors say their source themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
