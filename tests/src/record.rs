//! One record of `processguard trace --format json`: the only place that knows the names.

use anyhow::{Context, Result};
use serde_json::Value;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Value);

impl Record {
    /// A field by its dotted name, in nested objects.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        name.split('.').try_fold(&self.0, |value, key| value.get(key))
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn number(&self, name: &str) -> Result<i64> {
        self.field(name).and_then(Value::as_i64).with_context(|| format!("no {name} in {}", self.0))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.field(name).and_then(Value::as_str).with_context(|| format!("no {name} in {}", self.0))
    }

    /// A string of bytes that must be there: `\xNN` in the text stands for a byte.
    ///
    /// # Errors
    /// If it is not.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.text(name).map(to_bytes)
    }

    /// The captured arguments.
    ///
    /// # Errors
    /// If there are none.
    pub fn args(&self) -> Result<Vec<Vec<u8>>> {
        let args = self.field("process.args").and_then(Value::as_array);
        let args = args.and_then(|args| args.iter().map(|arg| arg.as_str().map(to_bytes)).collect());
        args.with_context(|| format!("no process.args in {}", self.0))
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.field(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// `fork`, `exec`, `exit`, `signal`, `oom`, `listen`, `gap` or `summary`.
    #[must_use]
    pub fn action(&self) -> &str {
        self.field("event.action").and_then(Value::as_str).unwrap_or_default()
    }

    /// The subject's pid; 0 if it has no subject.
    #[must_use]
    pub fn pid(&self) -> i64 {
        self.field("process.pid").and_then(Value::as_i64).unwrap_or(0)
    }

    /// When it happened, in nanoseconds since boot.
    ///
    /// # Errors
    /// If the field is missing.
    pub fn time_ns(&self) -> Result<u64> {
        let time = self.field("processguard.boottime_ns").and_then(Value::as_u64);
        time.with_context(|| format!("no processguard.boottime_ns in {}", self.0))
    }

    /// The identity of a process: `process`, `process.parent`.
    ///
    /// # Errors
    /// If the field is missing.
    pub fn identity(&self, of: &str) -> Result<&str> {
        self.text(&format!("{of}.entity_id"))
    }

    /// When the subject was born, in nanoseconds since boot: the last part of its identity.
    ///
    /// # Errors
    /// If the field is missing or has another shape.
    pub fn start_ns(&self) -> Result<u64> {
        let identity = self.identity("process")?;
        let start = identity.rsplit('-').next().and_then(|start| start.parse().ok());
        start.with_context(|| format!("{identity}: no start time at the end"))
    }
}

/// Undoes `\xNN`.
fn to_bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits =
            part.get(..2).filter(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => bytes.extend(b"\\x".iter().copied().chain(part.bytes())),
        }
    }
    bytes
}
