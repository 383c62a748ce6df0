//! A child whose birth and end are known to the nanosecond, from both sides.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::sys;

/// A child that was forked.
pub(super) struct Child {
    pub(super) pid: i32,
    /// A moment before it was born and one after.
    born: (u64, u64),
}

impl Child {
    /// Forks; see [`sys::fork`].
    pub(super) fn fork(body: impl FnOnce() -> Result<i32>) -> Result<Self> {
        let before = sys::boottime_ns();
        let pid = sys::fork(body)?;
        Ok(Self { pid, born: (before, sys::boottime_ns()) })
    }

    /// Waits for its end and describes it. Fails if it ended with 125 or 126, the codes of
    /// children that could not do their work.
    pub(super) fn wait(&self, what: &str) -> Result<Value> {
        let ended = sys::wait(self.pid)?;
        ensure!(
            !libc::WIFEXITED(ended.status) || !matches!(libc::WEXITSTATUS(ended.status), 125 | 126),
            "{what}: the child failed"
        );
        Ok(json!({
            "what": what,
            "pid": self.pid,
            "ppid": sys::pid(),
            "born_after_ns": self.born.0,
            "born_before_ns": self.born.1,
            "reaped_ns": sys::boottime_ns(),
            "status": ended.status,
            "usage": ended.usage.json(),
        }))
    }
}

/// Adds a field to a line of truth.
pub(super) fn with(mut line: Value, key: &str, value: impl Into<Value>) -> Value {
    if let Some(fields) = line.as_object_mut() {
        fields.insert(key.to_owned(), value.into());
    }
    line
}
