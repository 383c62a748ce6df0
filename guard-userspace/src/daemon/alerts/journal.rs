//! The system's journal, by its native protocol; where there is none, syslog.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::{Alert, document};
use crate::show::escape;

/// Of journald.
const NATIVE: &str = "/run/systemd/journal/socket";
/// Of all others.
const SYSLOG: &str = "/dev/log";
/// What a syslog line is about: `LOG_DAEMON`.
const FACILITY: u8 = 3;

/// Who we are in the log.
const IDENTIFIER: &str = "processguard";

/// Where logs go.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    pub(super) native: PathBuf,
    pub(super) syslog: PathBuf,
}

impl Default for Journal {
    fn default() -> Self {
        Self { native: NATIVE.into(), syslog: SYSLOG.into() }
    }
}

/// Why the log was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is none.
    #[error("there is neither a journal ({}) nor a syslog ({})", .0.native.display(), .0.syslog.display())]
    Nobody(Journal),
    /// It does not take it: it is stuck, or full.
    #[error("cannot write to the log at {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Journal {
    /// Tells it, without waiting.
    pub(super) fn tell(&self, alert: &Alert) -> Result<(), Error> {
        match send(&self.native, &fields(alert)) {
            Err(error) if is_absent(&error) => {}
            other => return other.map_err(|source| Error::Write { path: self.native.clone(), source }),
        }
        match send(&self.syslog, line(alert).as_bytes()) {
            Err(error) if is_absent(&error) => Err(Error::Nobody(self.clone())),
            other => other.map_err(|source| Error::Write { path: self.syslog.clone(), source }),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn send(path: &Path, datagram: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(datagram, path).map(|_all| ())
}

/// `NAME=value` a line; a value with a line end is `NAME`, its length as 8 bytes, itself.
/// <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>
fn fields(alert: &Alert) -> Vec<u8> {
    let (_, priority) = document::severity(alert.severity);
    let mut out = Vec::new();
    let mut put = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    put("MESSAGE", &alert.message);
    put("PRIORITY", &priority.to_string());
    put("SYSLOG_IDENTIFIER", IDENTIFIER);
    put("SYSLOG_FACILITY", &FACILITY.to_string());
    for (name, value) in document::environment(alert) {
        put(&name, &value);
    }
    out
}

/// Without a time: whoever reads it has the same clock, and sets it.
fn line(alert: &Alert) -> String {
    let priority = FACILITY << 3 | document::severity(alert.severity).1;
    let text = escape::message(&alert.message);
    format!("<{priority}>{IDENTIFIER}[{}]: {text}", std::process::id())
}
