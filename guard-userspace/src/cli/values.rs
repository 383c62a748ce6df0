//! Values of options: each from its text, or an error that says how to write it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use guard_common::wire::Kind;

use crate::units;

/// Kinds of events that `--events` can name, in the order of their numbers.
pub(super) const EVENTS: [Kind; 9] = [
    Kind::FORK,
    Kind::EXEC,
    Kind::EXIT,
    Kind::SIGNAL,
    Kind::OOM,
    Kind::LISTEN,
    Kind::STALL,
    Kind::LATENCY,
    Kind::RESOURCES,
];

pub(super) fn event(text: &str) -> Result<Kind, String> {
    let known = EVENTS.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| "use some of fork,exec,exit,signal,oom,listen,stall,latency,resources".to_owned())
}

/// How often resources are sampled. The shares of CPU time would be noise in less.
pub(super) fn sample_interval(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_millis(100), text, "samples need an interval of at least 100ms")
}

/// How often the whole process table is read. More often, little else would be done.
pub(super) fn sweep(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_millis(100), text, "each comparison reads all processes: at least 100ms")
}

/// How long records gather. In less nothing would gather in a storm, and nobody else be served.
pub(super) fn gather(text: &str) -> Result<Duration, String> {
    at_least(Duration::from_millis(1), text, "records need at least 1ms to gather")
}

fn at_least(shortest: Duration, text: &str, complaint: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(interval) if interval >= shortest => Ok(interval),
        Ok(_) => Err(complaint.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn pid(text: &str) -> Result<u32, String> {
    // The kernel's PID_MAX_LIMIT on 64-bit machines.
    const LIMIT: u32 = 4 * 1024 * 1024;
    match text.parse() {
        Ok(pid @ 1..=LIMIT) => Ok(pid),
        _ => Err(format!("a pid is a number from 1 to {LIMIT}")),
    }
}

/// A user's number, or a name of /etc/passwd.
pub(super) fn uid(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| "no such user in /etc/passwd; give the number that `id -u NAME` prints".to_owned())
}

/// A group's number, or a name of /etc/group.
pub(super) fn gid(text: &str) -> Result<u32, String> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(text)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        "no such group in /etc/group; make it with `groupadd NAME`, or give its number".to_owned()
    })
}

/// An address with a port. No names: what they mean may change.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:9464 or [::1]:9464".to_owned())
}

/// A program by its path: what a name means depends on who starts the daemon.
pub(super) fn program(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err("give the program's absolute path".to_owned())
    }
}

/// Where something can be sent to.
pub(super) fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => Err("a URL begins with http:// or https:// and has no spaces".to_owned()),
    }
}

/// The name of a control group of our own.
pub(super) fn cgroup_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= 63 && text.bytes().all(fits) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("a name has letters, digits, -, _ and ., at most 63 of them".to_owned())
    }
}

pub(super) fn container(text: &str) -> Result<String, String> {
    let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hexadecimal && (12..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("a container is named by the first 12 or more hexadecimal digits of its id".to_owned())
    }
}

/// `*` and `?` match `/` too: `*/bin/*` and `*python*` are what people mean.
pub(super) fn glob(text: &str) -> Result<GlobMatcher, String> {
    match GlobBuilder::new(text).literal_separator(false).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(format!("not a pattern: {}", error.kind())),
    }
}

pub(super) fn cgroup(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("a control group is an absolute path, such as /sys/fs/cgroup/{text}"))
    }
}

/// Sizes of rings: powers of two, from a page to what a u32 of the kernel's API holds comfortably.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    const SMALLEST: u64 = 4096;
    const LARGEST: u64 = 1 << 30;
    let bytes = units::size(text).map_err(|error| error.to_string())?;
    if bytes.is_power_of_two() && (SMALLEST..=LARGEST).contains(&bytes) {
        return u32::try_from(bytes).map_err(|error| error.to_string());
    }
    let below = bytes.clamp(SMALLEST, LARGEST).ilog2();
    let shown = |power: u32| match power {
        0..20 => format!("{}KiB", 1_u64 << power >> 10),
        20..30 => format!("{}MiB", 1_u64 << power >> 20),
        _ => format!("{}GiB", 1_u64 << power >> 30),
    };
    Err(format!("a ring is a power of two from 4KiB to 1GiB: the next below is {}", shown(below)))
}

/// Shorter intervals would make more lines than waits.
pub(super) fn latency_interval(text: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(interval) if interval < Duration::from_millis(10) => {
            Err("the shortest interval is 10ms".to_owned())
        }
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn max_size(text: &str) -> Result<u64, String> {
    match units::size(text) {
        Ok(0) => Err("a file of no bytes holds nothing".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_remedies() {
        assert_eq!(event("exec"), Ok(Kind::EXEC));
        assert!(event("cgroup").is_err(), "an internal kind");
        assert_eq!(sample_interval("1s"), Ok(Duration::from_secs(1)));
        for text in ["99ms", "0s", "1", ""] {
            assert!(sample_interval(text).is_err(), "{text}");
        }
        assert_eq!(pid("4194304"), Ok(4_194_304));
        for text in ["0", "-1", "4194305", "x", ""] {
            assert!(pid(text).is_err(), "{text}");
        }
        assert_eq!(uid("1000"), Ok(1000));
        assert_eq!(uid("root"), Ok(0));
        assert!(uid("nobody-by-this-name").unwrap_err().contains("id -u"));
        assert_eq!((gid("0"), gid("root")), (Ok(0), Ok(0)));
        assert!(gid("nobody-by-this-name").unwrap_err().contains("groupadd"));
        assert!(socket_address("[::1]:9464").is_ok() && socket_address("localhost:9464").is_err());
        assert!(program("/bin/sh").is_ok() && program("sh").is_err() && program("/bin/").is_err());
        assert!(url("https://x/y").is_ok() && url("ftp://x").is_err() && url("http://a b").is_err());
        assert!(cgroup_name("pg-1.x").is_ok() && cgroup_name("a/b").is_err() && cgroup_name("..").is_err());
        assert!(container("0123456789ab").is_ok());
        for text in ["0123456789a", "0123456789AB", "web-frontend"] {
            assert!(container(text).is_err(), "{text}");
        }
        assert!(glob("ngin[x").unwrap_err().starts_with("not a pattern: "));
        assert!(cgroup("system.slice").unwrap_err().contains("/sys/fs/cgroup/system.slice"));
        assert_eq!(ring_size("8MiB"), Ok(8 << 20));
        assert!(ring_size("10MiB").unwrap_err().ends_with("the next below is 8MiB"));
        assert!(ring_size("1KiB").unwrap_err().ends_with("the next below is 4KiB"));
        assert!(ring_size("4GiB").unwrap_err().ends_with("the next below is 1GiB"));
    }
}
