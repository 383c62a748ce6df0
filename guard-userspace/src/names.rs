//! Names of signals, capabilities and users.

use std::collections::HashMap;
use std::{fmt, fs};

use crate::show::escape;

/// Shows a signal number as its name: `SIGKILL`, `SIGRTMIN+2`.
#[derive(Clone, Copy, Debug)]
pub struct SignalName(pub u32);

/// Signals 1 to 31 of every architecture that eBPF runs on but MIPS.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The first real-time signal that glibc leaves to programs; musl leaves 35, yet calls it by number.
const RTMIN: u32 = 34;
/// The last signal.
const RTMAX: u32 = 64;

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.checked_sub(1).and_then(|index| SIGNALS.get(usize::try_from(index).ok()?));
        match (known, self.0) {
            (Some(name), _) => f.write_str(name),
            (None, RTMIN) => f.write_str("SIGRTMIN"),
            (None, RTMIN..=RTMAX) => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            (None, other) => write!(f, "signal {other}"),
        }
    }
}

/// Capabilities by bit, as of Linux 5.9; none has come since.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The names of the capabilities in a mask, lowest bit first; bits without a name are left out.
pub fn capabilities(mask: u64) -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name)
}

/// All capabilities that have a name.
pub const ALL_CAPABILITIES: u64 = (1 << CAPABILITIES.len()) - 1;

/// Names of users by number, as /etc/passwd has them.
#[derive(Clone, Debug, Default)]
pub struct Users {
    names: HashMap<u32, String>,
}

impl Users {
    /// Reads /etc/passwd, once; without it all users are numbers.
    #[must_use]
    pub fn read() -> Self {
        Self::parse(&fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    /// Reads the text of a file such as /etc/passwd. The first name of a number counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty());
            if let (Some(name), Some(Ok(uid))) = (name, fields.nth(1).map(str::parse)) {
                names.entry(uid).or_insert_with(|| escape::display(name.as_bytes()));
            }
        }
        Self { names }
    }

    /// A user's name, fit for a terminal; the number of one who has none.
    #[must_use]
    pub fn name(&self, uid: u32) -> String {
        self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let users = Users::parse("root:x:0:0::/:/bin/sh\ntoor:x:0:0:::\nbad\n:x:7:::\n\x1b[m:x:9:9:::\n");
        let names = [0, 7, 9, 1000].map(|uid| users.name(uid));
        assert_eq!(names, ["root", "7", r"\x1b[m", "1000"]);
    }

    #[test]
    fn signals() {
        let names = [(1, "SIGHUP"), (9, "SIGKILL"), (31, "SIGSYS"), (34, "SIGRTMIN"), (36, "SIGRTMIN+2")];
        for (number, name) in names {
            assert_eq!(SignalName(number).to_string(), name);
        }
        for odd in [0, 32, 33, 65, u32::MAX] {
            assert_eq!(SignalName(odd).to_string(), format!("signal {odd}"));
        }
    }

    #[test]
    fn capability_bits() {
        assert!(capabilities(1 << 21 | 1 << 39).eq(["CAP_SYS_ADMIN", "CAP_BPF"]));
        assert_eq!(capabilities(u64::MAX).count(), 41);
    }
}
