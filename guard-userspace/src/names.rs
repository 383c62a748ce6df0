//! Names of signals and capabilities.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
