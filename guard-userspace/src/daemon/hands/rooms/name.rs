//! Names of rooms: what a control group's directory is called says whose it is, also to a later daemon.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Whose a room is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomName {
    /// Of one life of an instance: `checkout.0.1234567`.
    Life {
        /// The service.
        service: Arc<str>,
        /// Which instance.
        instance: u32,
        /// When the room was made, in nanoseconds since boot: a later life has a larger number, whichever daemon made it.
        life: u64,
    },
    /// Of all instances of a service, whose limits are shared: `checkout.shared`. Holds rooms only.
    Shared(Arc<str>),
    /// Of a hook: `+hook.1234567`.
    Hook(u64),
    /// Of the keeper: `+keeper`.
    Keeper,
    /// Not ours: the control group of a process that somebody else started. Never made, listed or removed.
    Foreign,
}

impl RoomName {
    /// Reads a directory's name; `None`: not one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == "+keeper" {
            return Some(Self::Keeper);
        }
        if let Some(number) = name.strip_prefix("+hook.") {
            return number.parse().ok().map(Self::Hook);
        }
        let mut parts = name.split('.');
        let service: Arc<str> = decode(parts.next()?)?.into();
        let found = match (parts.next()?, parts.next(), parts.next()) {
            ("shared", None, None) => Self::Shared(service),
            (instance, Some(life), None) => {
                Self::Life { service, instance: instance.parse().ok()?, life: life.parse().ok()? }
            }
            _ => return None,
        };
        // One name for one room: `007` is not `7`.
        (found.to_string() == name).then_some(found)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Life { service, instance, life } => write!(f, "{}.{instance}.{life}", encode(service)),
            Self::Shared(service) => write!(f, "{}.shared", encode(service)),
            Self::Hook(number) => write!(f, "+hook.{number}"),
            Self::Keeper => f.write_str("+keeper"),
            Self::Foreign => f.write_str("+foreign"),
        }
    }
}

/// Letters, digits, `-` and `_` stand for themselves, all other bytes as `%2E`.
pub(crate) fn encode(service: &str) -> String {
    let mut text = String::with_capacity(service.len());
    for byte in service.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = (part.get(..2)?, part.get(2..)?);
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|service| !service.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_whose_room_it_is() {
        for service in
            ["checkout", "a.b", "a%2Eb", "tasks", "cgroup.procs", "+keeper", "straße/../x", "a b\n"]
        {
            for name in [
                RoomName::Life { service: service.into(), instance: 0, life: 7 },
                RoomName::Life { service: service.into(), instance: u32::MAX, life: u64::MAX },
                RoomName::Shared(service.into()),
            ] {
                let text = name.to_string();
                assert_eq!(RoomName::parse(&text).as_ref(), Some(&name), "{text}");
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{text}");
            }
        }
        for name in [RoomName::Keeper, RoomName::Hook(3)] {
            assert_eq!(RoomName::parse(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn what_is_not_ours_has_no_name() {
        for text in [
            "",
            "x",
            "x.1",
            "x.1.2.3",
            "x.01.2",
            "x.+1.2",
            ".1.2",
            "x%2e.1.2",
            "x%2.1.2",
            "%FF.1.2",
            "+hook.x",
            "x.shared.1",
        ] {
            assert_eq!(RoomName::parse(text), None, "{text}");
        }
    }
}
