//! A program that is told of each alert.

use std::sync::Arc;

use crate::daemon::others::program::Program;

/// How long it may take, in nanoseconds.
const TIMEOUT_NS: u64 = 10_000_000_000;

pub(super) async fn tell(
    command: Vec<String>,
    environment: Vec<(String, String)>,
    document: Arc<str>,
) -> Result<(), String> {
    let input = format!("{document}\n").into_bytes();
    let (command, environment) = (&command, &environment);
    Program { command, environment, input, timeout: TIMEOUT_NS, ..Program::default() }.succeed().await
}
