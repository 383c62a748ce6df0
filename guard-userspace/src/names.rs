//! Names of signals, capabilities and users.

use std::collections::HashMap;
use std::fs;

use guard_core::names::CAPABILITIES;
pub use guard_core::names::SignalName;

use crate::show::escape;

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
