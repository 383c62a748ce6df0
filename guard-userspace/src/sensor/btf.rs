//! The running kernel's type information, as far as the sensor needs it.
//!
//! Format: the kernel's `Documentation/bpf/btf.rst`. Integers are in the machine's byte order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the kernel keeps its own type information.
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// How deep embedded structures and type chains are followed; the kernel's own limit for
/// resolving types is 32 as well (`MAX_RESOLVE_DEPTH`).
const DEPTH: u32 = 32;

/// Why type information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not type information.
    #[error("{} is not BTF: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Parsed type information.
pub(crate) struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Byte offset of each type in `types`; type ids count from 1.
    starts: Vec<u32>,
    structures: HashMap<Box<str>, u32>,
    enums: HashMap<Box<str>, u32>,
    tracepoints: HashMap<Box<str>, u32>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    length: u32,
    bit_fields: bool,
    /// Size, or the id of the type that this one refers to.
    value: u32,
    /// Byte offset of what follows the common part.
    tail: usize,
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset from the structure's beginning, in bits.
    pub(crate) bits: u32,
    /// Whether it is a bit field.
    pub(crate) bit_field: bool,
}

impl Btf {
    /// Reads the running kernel's.
    pub(crate) fn running() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path).map_err(|source| BtfError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes).map_err(|reason| BtfError::Malformed { path: path.to_owned(), reason })
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let magic = bytes.first_chunk::<2>().ok_or("shorter than its header")?;
        if u16::from_ne_bytes(*magic) != MAGIC {
            return Err("no magic number at its beginning");
        }
        let header = |at| word(bytes, at).ok_or("shorter than its header");
        let body = bytes.get(header(4)? as usize..).ok_or("header longer than the file")?;
        let section = |at, length| {
            let (at, length) = (at as usize, length as usize);
            body.get(at..).and_then(|tail| tail.get(..length)).ok_or("a section lies outside the file")
        };
        let mut btf = Self {
            types: section(header(8)?, header(12)?)?.to_vec(),
            strings: section(header(16)?, header(20)?)?.to_vec(),
            starts: Vec::new(),
            structures: HashMap::new(),
            enums: HashMap::new(),
            tracepoints: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    /// Finds where each type begins and names those that are looked up.
    fn index(&mut self) -> Result<(), &'static str> {
        let mut at = 0;
        while at < self.types.len() {
            let found = self.type_at(at).ok_or("a type is cut short")?;
            self.starts.push(u32::try_from(at).map_err(|_| "over 4 GiB of types")?);
            let id = u32::try_from(self.starts.len()).map_err(|_| "over 2^32 types")?;
            let name = self.name(found.name);
            match found.kind {
                KIND_STRUCT => _ = self.structures.entry(name.into()).or_insert(id),
                KIND_ENUM | KIND_ENUM64 => _ = self.enums.entry(name.into()).or_insert(id),
                KIND_TYPEDEF => {
                    if let Some(name) = name.strip_prefix("btf_trace_") {
                        self.tracepoints.entry(name.into()).or_insert(id);
                    }
                }
                _ => {}
            }
            at = found.tail + tail_bytes(&found).ok_or("an unknown kind of type")?;
        }
        Ok(())
    }

    /// Offset of a member: `path` leads through embedded structures and unions; members of
    /// anonymous ones count as the structure's own.
    pub(crate) fn member(&self, structure: &str, path: &str) -> Option<Place> {
        let mut id = *self.structures.get(structure)?;
        let mut place = Place { bits: 0, bit_field: false };
        for name in path.split('.') {
            let (inner, member_type) = self.find(self.resolve(id)?, name, DEPTH)?;
            place = Place { bits: place.bits.checked_add(inner.bits)?, bit_field: inner.bit_field };
            id = member_type;
        }
        Some(place)
    }

    /// Size of a structure in bytes.
    pub(crate) fn size(&self, structure: &str) -> Option<u32> {
        Some(self.get(*self.structures.get(structure)?)?.value)
    }

    /// Value of an enumerator.
    pub(crate) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let found = self.get(*self.enums.get(enumeration)?)?;
        let stride = if found.kind == KIND_ENUM64 { 12 } else { 8 };
        (0..found.length as usize)
            .map(|index| found.tail + index * stride)
            .find(|&at| self.word(at).is_some_and(|name_at| self.name(name_at) == name))
            .and_then(|at| self.word(at + 4))
    }

    /// The parameters of a tracepoint, without the hidden first one: for each, the name of the
    /// structure that it points to, if it does. `None` if there is no such tracepoint.
    pub(crate) fn tracepoint(&self, name: &str) -> Option<Vec<Option<&str>>> {
        let pointer = self.resolve(*self.tracepoints.get(name)?)?;
        let prototype = self.resolve(pointer.value)?;
        if pointer.kind != KIND_PTR || prototype.kind != KIND_FUNC_PROTO {
            return None;
        }
        (1..prototype.length as usize)
            .map(|index| self.word(prototype.tail + index * 8 + 4).map(|id| self.pointee(id)))
            .collect()
    }

    fn pointee(&self, id: u32) -> Option<&str> {
        let pointer = self.resolve(id)?;
        let target = (pointer.kind == KIND_PTR).then(|| self.resolve(pointer.value)).flatten()?;
        (target.kind == KIND_STRUCT).then(|| self.name(target.name))
    }

    fn find(&self, structure: Type, name: &str, depth: u32) -> Option<(Place, u32)> {
        if !matches!(structure.kind, KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        (0..structure.length as usize).find_map(|index| {
            let at = structure.tail + index * 12;
            let (member_name, member_type, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            // With bit fields in the structure, the upper 8 bits hold a member's width.
            let (bits, bit_field) = if structure.bit_fields {
                (offset & 0x00ff_ffff, offset >> 24 != 0)
            } else {
                (offset, false)
            };
            let member_name = self.name(member_name);
            if member_name == name {
                return Some((Place { bits, bit_field }, member_type));
            }
            if !member_name.is_empty() {
                return None;
            }
            let (inner, found) = self.find(self.resolve(member_type)?, name, depth - 1)?;
            Some((Place { bits: bits.checked_add(inner.bits)?, ..inner }, found))
        })
    }

    /// The type behind type definitions and qualifiers.
    fn resolve(&self, id: u32) -> Option<Type> {
        let mut found = self.get(id)?;
        for _ in 0..DEPTH {
            match found.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    found = self.get(found.value)?;
                }
                _ => return Some(found),
            }
        }
        None
    }

    fn get(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.type_at(*self.starts.get(index)? as usize)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let (name, info, value) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
        Some(Type {
            name,
            kind: info >> 24 & 0x1f,
            length: info & 0xffff,
            bit_fields: info >> 31 != 0,
            value,
            tail: at + 12,
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.types, at)
    }

    fn name(&self, at: u32) -> &str {
        let tail = self.strings.get(at as usize..).unwrap_or_default();
        let name = tail.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// Bytes that follow the common part of a type.
fn tail_bytes(found: &Type) -> Option<usize> {
    let each = match found.kind {
        // Integer, variable, declaration tag: one word, whatever the length says.
        1 | 14 | 17 => return Some(4),
        KIND_ARRAY => return Some(12),
        KIND_STRUCT | KIND_UNION | KIND_ENUM64 | 15 => 12,
        KIND_ENUM | KIND_FUNC_PROTO => 8,
        KIND_PTR | 7..=KIND_FUNC | 16 | KIND_TYPE_TAG => 0,
        _ => return None,
    };
    Some(found.length as usize * each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_answers() {
        let btf = Btf::running().unwrap();
        assert_eq!(btf.member("list_head", "prev"), Some(Place { bits: 64, bit_field: false }));
        assert_eq!(btf.size("list_head"), Some(16));
        assert_eq!(btf.member("task_struct", "no_such_member"), None);
        assert!(btf.member("linux_binprm", "secureexec").unwrap().bit_field);
        // An embedded structure, then a member of it.
        let (outer, inner) = (btf.member("path", "dentry").unwrap(), btf.member("file", "f_path").unwrap());
        assert_eq!(btf.member("file", "f_path.dentry").unwrap().bits, inner.bits + outer.bits);
        assert_eq!(btf.tracepoint("sched_process_fork"), Some(vec![Some("task_struct"); 2]));
        assert_eq!(btf.tracepoint("no_such_tracepoint"), None);
        assert!(btf.enumerator("pid_type", "PIDTYPE_TGID").is_some());
    }

    #[test]
    fn bytes_that_are_not_btf_are_refused() {
        for bytes in [&b""[..], b"\x9f\xeb", b"not type information", &[0x9f, 0xeb, 1, 0, 255, 0, 0, 0]] {
            assert!(Btf::parse(bytes).is_err());
        }
    }
}
