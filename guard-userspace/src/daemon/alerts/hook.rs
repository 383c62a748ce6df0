//! A program that is told of each alert.

use std::sync::Arc;

use crate::daemon::others::{in_words, program::Program};

/// How long it may take, in nanoseconds.
const TIMEOUT_NS: u64 = 10_000_000_000;

pub(super) async fn tell(
    command: Vec<String>,
    environment: Vec<(String, String)>,
    document: Arc<str>,
) -> Result<(), String> {
    let program = Program {
        command: &command,
        environment: &environment,
        input: format!("{document}\n").into_bytes(),
        timeout: TIMEOUT_NS,
        ..Program::default()
    };
    let ended = program.run().await.map_err(|error| in_words(&error))?;
    if ended.status.success() {
        return Ok(());
    }
    let name = command.first().map_or("", String::as_str);
    Err(format!("`{name}` failed: {}{}", ended.how(), ended.said().tail_text()))
}
