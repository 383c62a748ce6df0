//! Stacks of new processes, used again: to map one costs a tenth of what comes between a death and the next life.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::child::Stack;

/// Stacks that are kept while nobody uses them: as many starts as there usually are at a time.
const KEPT: usize = 4;

/// Stacks that were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks(Arc<Mutex<Vec<Arc<Stack>>>>);

impl Stacks {
    /// One that nobody uses any more, or a new one. Whoever drops it says that no process runs on it: it has become a program or
    /// ended.
    pub(super) fn take(&self) -> io::Result<Arc<Stack>> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unused) = made.iter().find(|stack| Arc::strong_count(stack) == 1) {
            return Ok(Arc::clone(unused));
        }
        let stack = Arc::new(Stack::new()?);
        if made.len() < KEPT {
            made.push(Arc::clone(&stack));
        }
        Ok(stack)
    }
}
