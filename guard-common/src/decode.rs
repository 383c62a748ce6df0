//! From ring bytes to borrowed records: fallible, without allocation, without trust.

use core::{fmt, mem::size_of};

use crate::wire::{self, Kind, Plain};

/// A decoded record; variable parts borrow from the ring.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A new process.
    Fork(wire::Fork),
    /// A new program in a process.
    Exec(Exec<'a>),
    /// The end of a process.
    Exit(wire::Exit),
    /// A signal.
    Signal(wire::Signal),
    /// An out-of-memory victim.
    Oom(wire::Oom),
    /// A listening socket.
    Listen(wire::Listen),
    /// A change among the control groups.
    Cgroup(Cgroup<'a>),
    /// A thread that waited too long.
    Stall(wire::Stall),
    /// A process found by the task iterator.
    Snapshot(wire::Snapshot),
}

impl Record<'_> {
    /// What the record tells.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fork(_) => Kind::FORK,
            Self::Exec(_) => Kind::EXEC,
            Self::Exit(_) => Kind::EXIT,
            Self::Signal(_) => Kind::SIGNAL,
            Self::Oom(_) => Kind::OOM,
            Self::Listen(_) => Kind::LISTEN,
            Self::Cgroup(_) => Kind::CGROUP,
            Self::Stall(_) => Kind::STALL,
            Self::Snapshot(_) => Kind::SNAPSHOT,
        }
    }
}

/// An exec record with its variable parts.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    /// The fixed part.
    pub fixed: wire::Exec,
    /// Path of the executable.
    pub exe: Path<'a>,
    /// Path of the working directory.
    pub cwd: Path<'a>,
    /// The arguments, NUL-terminated each, the last one perhaps cut short.
    pub args: &'a [u8],
}

/// A control group record with its path.
#[derive(Clone, Copy, Debug)]
pub struct Cgroup<'a> {
    /// The fixed part.
    pub fixed: wire::Cgroup,
    /// Path below the hierarchy's root, with a leading slash.
    pub path: &'a [u8],
}

/// An absolute path as the kernel walk left it: NUL-terminated components, the last one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a>(pub &'a [u8]);

impl<'a> Path<'a> {
    /// The components from the root down, without slashes. Empty for the root itself.
    pub fn components(self) -> impl Iterator<Item = &'a [u8]> {
        let body = self.0.strip_suffix(&[0]).unwrap_or(self.0);
        body.rsplit(|&byte| byte == 0).filter(|component| !component.is_empty())
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than the record's fixed part or than its lengths promise.
    Short {
        /// Kind, if it could be read.
        kind: Option<Kind>,
        /// Bytes that the record needs.
        needed: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// A kind that this version does not know.
    UnknownKind(Kind),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { kind, needed, found } => {
                let name = kind.map_or("headless", Kind::name);
                write!(f, "{name} record needs {needed} bytes but has {found}")
            }
            Self::UnknownKind(Kind(number)) => write!(f, "unknown record kind {number}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Decodes one record.
///
/// # Errors
/// If the bytes are fewer than the record says, or its kind is unknown.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let (header, _) = split::<wire::Header>(bytes, None)?;
    let kind = header.kind;
    Ok(match kind {
        Kind::FORK => Record::Fork(fixed(bytes, kind)?),
        Kind::EXEC => Record::Exec(exec(bytes)?),
        Kind::EXIT => Record::Exit(fixed(bytes, kind)?),
        Kind::SIGNAL => Record::Signal(fixed(bytes, kind)?),
        Kind::OOM => Record::Oom(fixed(bytes, kind)?),
        Kind::LISTEN => Record::Listen(fixed(bytes, kind)?),
        Kind::CGROUP => Record::Cgroup(cgroup(bytes)?),
        Kind::STALL => Record::Stall(fixed(bytes, kind)?),
        Kind::SNAPSHOT => Record::Snapshot(fixed(bytes, kind)?),
        unknown => return Err(DecodeError::UnknownKind(unknown)),
    })
}

/// The kind of a record, the process that it is about and that one's parent, with nothing else decoded. `None` if it is about
/// none, or too short.
#[inline]
#[must_use]
pub fn kin(bytes: &[u8]) -> Option<(Kind, wire::ProcKey, wire::ProcKey)> {
    // All records begin as a snapshot does, but those of control groups.
    let (wire::Snapshot { header, task }, _) = split(bytes, None).ok()?;
    (header.kind != Kind::CGROUP).then_some((header.kind, task.key, task.parent))
}

/// Takes the first of the records that the task iterator of resources yields off the bytes.
///
/// # Errors
/// If the bytes are fewer than a record.
pub fn usage(bytes: &[u8]) -> Result<(wire::Usage, &[u8]), DecodeError> {
    split(bytes, None)
}

fn exec(bytes: &[u8]) -> Result<Exec<'_>, DecodeError> {
    let (fixed, data) = split::<wire::Exec>(bytes, Some(Kind::EXEC))?;
    let (exe, data) = take(data, fixed.exe_bytes, Kind::EXEC)?;
    let (cwd, data) = take(data, fixed.cwd_bytes, Kind::EXEC)?;
    let (args, _) = take(data, fixed.args_bytes, Kind::EXEC)?;
    Ok(Exec { fixed, exe: Path(exe), cwd: Path(cwd), args })
}

fn cgroup(bytes: &[u8]) -> Result<Cgroup<'_>, DecodeError> {
    let (fixed, data) = split::<wire::Cgroup>(bytes, Some(Kind::CGROUP))?;
    let (path, _) = take(data, fixed.path_bytes, Kind::CGROUP)?;
    Ok(Cgroup { fixed, path })
}

fn fixed<T: Plain>(bytes: &[u8], kind: Kind) -> Result<T, DecodeError> {
    split(bytes, Some(kind)).map(|(value, _)| value)
}

fn take(data: &[u8], bytes: u32, kind: Kind) -> Result<(&[u8], &[u8]), DecodeError> {
    let needed = bytes as usize;
    data.split_at_checked(needed).ok_or(DecodeError::Short { kind: Some(kind), needed, found: data.len() })
}

fn split<T: Plain>(bytes: &[u8], kind: Option<Kind>) -> Result<(T, &[u8]), DecodeError> {
    let needed = size_of::<T>();
    let Some((head, tail)) = bytes.split_at_checked(needed) else {
        return Err(DecodeError::Short { kind, needed, found: bytes.len() });
    };
    // SAFETY: `head` is `size_of::<T>()` readable bytes, the read does not need alignment, and
    // `Plain` promises that any bytes form a `T`.
    let value = unsafe { head.as_ptr().cast::<T>().read_unaligned() };
    Ok((value, tail))
}
