//! Names of signals and capabilities, as the kernel numbers them.

use std::fmt;

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

/// Capabilities by bit, as of Linux 5.9; none has come since.
pub const CAPABILITIES: [&str; 41] = [
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

/// Shows a signal number as its name: `SIGKILL`, `SIGRTMIN+2`.
#[derive(Clone, Copy, Debug)]
pub struct SignalName(pub u32);

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

/// The names of all signals, in order of their numbers.
pub fn signals() -> impl Iterator<Item = String> {
    (1..=31).chain(RTMIN..=RTMAX).map(|number| SignalName(number).to_string())
}

/// The number of a signal by its name, as [`SignalName`] shows it.
#[must_use]
pub fn signal(name: &str) -> Option<u8> {
    if let Some(index) = SIGNALS.iter().position(|known| *known == name) {
        return u8::try_from(index + 1).ok();
    }
    let offset = match name.strip_prefix("SIGRTMIN")? {
        "" => 0,
        offset => offset.strip_prefix('+').filter(|offset| !offset.starts_with('+'))?.parse::<u32>().ok()?,
    };
    let number = RTMIN.checked_add(offset).filter(|number| *number <= RTMAX)?;
    (SignalName(number).to_string() == name).then(|| u8::try_from(number).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for name in signals() {
            let number = signal(&name).map(u32::from);
            assert_eq!(number.map(|number| SignalName(number).to_string()), Some(name));
        }
        assert_eq!(signal("SIGKILL"), Some(9));
        assert_eq!(signal("SIGRTMIN+30"), Some(64));
        for wrong in ["KILL", "SIGRTMIN+31", "SIGRTMIN+0", "SIGRTMIN+01", "SIGRTMIN++1", "9", ""] {
            assert_eq!(signal(wrong), None, "{wrong}");
        }
    }
}
