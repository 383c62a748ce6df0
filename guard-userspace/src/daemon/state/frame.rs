//! How changes lie in the journal.
//!
//! ```text
//! frame  := header change*                        what belongs together, whole or not at all
//! header := "PGJ1" bytes:u32 number:u64 checksum:u32 header_checksum:u32
//! change := statement:u8 values:u8 value*
//! value  := 0 | 1 number:i64 | 2 bytes:u32 text | 3 bytes:u32 blob
//! ```
//! All numbers are little-endian; `bytes` is the length of the changes, and `checksum` (CRC-32) is theirs. The
//! header has its own, so that a frame of which an end is missing is told from one that is damaged. Frames are numbered without a gap for as long as the state exists.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// Begins every frame; the digit is the format's version.
pub(super) const MAGIC: [u8; 4] = *b"PGJ1";

/// Bytes before the changes.
pub(super) const HEADER_BYTES: usize = 24;

/// The largest frame that is believed: the saved state of 1,000 services is some hundred KiB, a set of policies a few MiB.
pub(super) const FRAME_BYTES: usize = 64 * 1024 * 1024;

/// A value as SQLite knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Times, counts and numbers above `i64::MAX` keep their bits.
    pub(super) fn unsigned(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }

    pub(super) fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// `None`: a kind that we never write.
    pub(super) fn of(column: ValueRef<'a>) -> Option<Self> {
        match column {
            ValueRef::Null => Some(Self::Null),
            ValueRef::Integer(number) => Some(Self::Int(number)),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(Self::Text),
            ValueRef::Blob(blob) => Some(Self::Blob(blob)),
            ValueRef::Real(_) => None,
        }
    }

    pub(super) fn int(self) -> Option<i64> {
        if let Self::Int(number) = self { Some(number) } else { None }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn blob(self) -> Option<&'a [u8]> {
        if let Self::Blob(blob) = self { Some(blob) } else { None }
    }

    /// The value's bytes, in pieces: in the journal, and for a row's checksum.
    fn write(self, mut sink: impl FnMut(&[u8])) {
        let mut sized = |tag: u8, bytes: &[u8]| {
            sink(&[tag]);
            sink(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            sink(bytes);
        };
        match self {
            Self::Text(text) => sized(2, text.as_bytes()),
            Self::Blob(blob) => sized(3, blob),
            Self::Null => sink(&[0]),
            Self::Int(number) => {
                sink(&[1]);
                sink(&number.to_le_bytes());
            }
        }
    }

    fn read(from: &mut &'a [u8]) -> Option<Self> {
        Some(match take::<1>(from)? {
            [0] => Self::Null,
            [1] => Self::Int(i64::from_le_bytes(take(from)?)),
            [2] => Self::Text(std::str::from_utf8(sized(from)?).ok()?),
            [3] => Self::Blob(sized(from)?),
            _ => return None,
        })
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

fn sized<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = u32::from_le_bytes(take(from)?) as usize;
    let (head, rest) = from.split_at_checked(bytes)?;
    *from = rest;
    Some(head)
}

/// The checksum of a row of this table: a bit that turns in a database's page is no error for SQLite.
pub(super) fn sum<'a>(table: u8, values: impl Iterator<Item = Value<'a>>) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[table]);
    for value in values {
        value.write(|bytes| hasher.update(bytes));
    }
    i64::from(hasher.finalize())
}

/// Begins a frame.
pub(super) fn begin(frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(&[0; HEADER_BYTES]);
}

/// Puts a change into a frame that was begun.
pub(super) fn change(frame: &mut Vec<u8>, statement: u8, values: &[Value<'_>]) {
    frame.push(statement);
    frame.push(u8::try_from(values.len()).unwrap_or(u8::MAX));
    for value in values {
        value.write(|bytes| frame.extend_from_slice(bytes));
    }
}

/// Completes a frame.
pub(super) fn seal(frame: &mut [u8], number: u64) {
    let Some((head, changes)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let bytes = u32::try_from(changes.len()).unwrap_or(u32::MAX);
    *head = Header { bytes, number, checksum: crc32fast::hash(changes) }.to_bytes();
}

#[derive(Clone, Copy, Debug)]
struct Header {
    bytes: u32,
    number: u64,
    checksum: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        head[8..16].copy_from_slice(&self.number.to_le_bytes());
        head[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let own = crc32fast::hash(&head[..20]);
        head[20..24].copy_from_slice(&own.to_le_bytes());
        head
    }

    /// `None` if it is no header of ours, or not whole.
    fn read(mut from: &[u8]) -> Option<Self> {
        let head: [u8; HEADER_BYTES] = take(&mut from)?;
        let mut rest = head.get(MAGIC.len()..)?;
        let header = Self {
            bytes: u32::from_le_bytes(take(&mut rest)?),
            number: u64::from_le_bytes(take(&mut rest)?),
            checksum: u32::from_le_bytes(take(&mut rest)?),
        };
        (header.to_bytes() == head).then_some(header)
    }
}

/// Whether these bytes are a frame of which an end is missing, or nothing: what a write that did not come to its end
/// leaves.
pub(super) fn is_torn(bytes: &[u8]) -> bool {
    let is_short = |header: Header| bytes.len() - HEADER_BYTES < header.bytes as usize;
    bytes.len() < HEADER_BYTES || Header::read(bytes).is_some_and(is_short)
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    changes: &'a [u8],
    /// All of its bytes.
    pub(super) bytes: usize,
}

impl<'a> Frame<'a> {
    /// The frame with which these bytes begin, if it is whole.
    pub(super) fn read(from: &'a [u8]) -> Option<Self> {
        let header = Header::read(from)?;
        let changes = from.get(HEADER_BYTES..)?.get(..header.bytes as usize)?;
        let is_whole = crc32fast::hash(changes) == header.checksum;
        is_whole.then_some(Self { number: header.number, changes, bytes: HEADER_BYTES + changes.len() })
    }

    /// Its changes: statements with their values. `None` for one that cannot be read.
    pub(super) fn changes(self) -> impl Iterator<Item = Option<(u8, Vec<Value<'a>>)>> {
        let mut rest = self.changes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let change = read_change(&mut rest);
            if change.is_none() {
                rest = &[];
            }
            Some(change)
        })
    }
}

fn read_change<'a>(from: &mut &'a [u8]) -> Option<(u8, Vec<Value<'a>>)> {
    let [statement, values] = take(from)?;
    let values = (0..values).map(|_| Value::read(from)).collect::<Option<_>>()?;
    Some((statement, values))
}

/// The whole frames at the beginning of these bytes.
pub(super) fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let frame = Frame::read(rest)?;
        rest = rest.get(frame.bytes..)?;
        Some(frame)
    })
}

/// Whether a whole frame stands anywhere in these bytes, with a number from `first` on.
pub(super) fn has_frame(bytes: &[u8], first: u64) -> bool {
    bytes
        .windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .any(|(at, _)| bytes.get(at..).and_then(Frame::read).is_some_and(|frame| frame.number >= first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(number: u64, values: &[Value<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        change(&mut bytes, 7, values);
        change(&mut bytes, 9, &[]);
        seal(&mut bytes, number);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let values = [Value::Null, Value::Int(-3), Value::Text("größe"), Value::Blob(&[0, 255])];
        let bytes = frame(5, &values);
        let read = Frame::read(&bytes).unwrap();
        assert_eq!((read.number, read.bytes), (5, bytes.len()));
        let changes: Vec<_> = read.changes().map(Option::unwrap).collect();
        assert_eq!(changes, [(7, values.to_vec()), (9, vec![])]);
    }

    proptest! {
        #[test]
        fn a_frame_is_whole_or_is_none(at in 0_usize..60, turned in 1_u8.., cut in 0_usize..60) {
            let whole = frame(5, &[Value::Text("some words of text"), Value::Int(7)]);
            let mut bytes = whole.clone();
            let at = at % bytes.len();
            bytes[at] ^= turned;
            prop_assert_eq!(Frame::read(&bytes), None);
            prop_assert!(!is_torn(&bytes));
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(Frame::read(&whole[..cut]), None);
            prop_assert!(is_torn(&whole[..cut]));
            bytes.extend_from_slice(&whole);
            prop_assert!(has_frame(&bytes, 5) && !has_frame(&bytes, 6));
        }

        #[test]
        fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut sealed = vec![0; HEADER_BYTES];
            sealed.extend_from_slice(&bytes);
            seal(&mut sealed, 1);
            prop_assert!(Frame::read(&sealed).unwrap().changes().count() <= bytes.len());
            let _ = frames(&bytes).count();
        }
    }
}
