//! Frames: the unit of a recording, in a file as on a socket.
//!
//! ```text
//! stream := "PGREC\0\0\1" frame*
//! frame  := bytes:u32 kind:u32 checksum:u32 zero:u32 position:u64 payload[bytes]
//! ```
//! All numbers are little-endian. `position` says up to where in the kernel's ring everything is in the
//! stream once this frame is. The checksum (CRC-32) covers the rest of the header and the payload: what a
//! crash left half-written is recognised, and never read as something else.

use std::fmt;

use guard_common::wire::{Kind, Snapshot};
use guard_core::event::{LossCause, Lost, Program, ProgramFlags};
use guard_core::ids::BootId;
use serde::{Deserialize, Serialize};

/// Begins every stream. The last byte is the format's version.
pub const MAGIC: [u8; 8] = *b"PGREC\0\0\x01";

/// Bytes before each payload.
pub const HEADER_BYTES: usize = 24;

/// The largest payload that is believed: a record of the ring has at most 9 KiB, a process's arguments are
/// bounded by the kernel's `MAX_ARG_STRLEN` (128 KiB) each and 2 MiB in all.
pub const PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A stream of records of one sensor begins, or goes on in another file.
    Start(Start),
    /// What the clocks said when the records that follow were taken in.
    Clock {
        /// Nanoseconds since boot.
        now_ns: u64,
        /// UTC since 1970 minus time since boot, in nanoseconds.
        utc_offset_ns: i64,
    },
    /// A record, as it lay in the ring.
    Record(&'a [u8]),
    /// The process table follows, as of a moment: [`Frame::Process`] and [`Frame::Cgroup`] frames up to
    /// [`Frame::TableEnd`]. A reader that has the table already skips them.
    TableBegin,
    /// A process of a table or of a resync.
    Process(Box<Process>),
    /// A control group of a table.
    Cgroup {
        /// 0 for cgroup v2, else the v1 hierarchy's id.
        hierarchy: u32,
        /// Id within the hierarchy.
        id: u64,
        /// Path below the hierarchy's root.
        path: &'a str,
    },
    /// The table is complete.
    TableEnd,
    /// All losses since the sensor was attached, so far: absolute counts.
    Losses(Vec<Lost>),
    /// Records that this stream lacks because its reader was too slow: counts since the last such frame.
    Dropped(Vec<Lost>),
    /// The iteration over all processes began at this time; its [`Frame::Process`] frames follow.
    ResyncBegin {
        /// Nanoseconds since boot.
        taken_ns: u64,
    },
    /// The iteration is complete.
    ResyncEnd,
    /// All records that lay in the ring when the iteration ended are in the stream.
    Settled,
    /// What a process runs, read because its exec record was lost.
    Program {
        /// Thread group id.
        pid: u32,
        /// Start in nanoseconds since boot.
        start_ns: u64,
        /// Which of its programs.
        exec_count: u64,
        /// The program.
        program: Program,
    },
    /// It was time to compare the table with the kernel's own list.
    Sweep,
    /// How a watched process ended, from the kernel's own memory of it.
    Tombstone {
        /// Thread group id.
        pid: u32,
        /// Start in nanoseconds since boot.
        start_ns: u64,
        /// What `wait()` says.
        status: u32,
        /// When, in nanoseconds since boot.
        time_ns: u64,
    },
}

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The boot, in hexadecimal.
    #[serde(with = "boot_id")]
    pub boot: BootId,
    /// The sensor: its moment of attachment in nanoseconds since boot.
    pub instance: u64,
    /// Version of the records' layout.
    pub wire: u32,
    /// The file system name of the host.
    pub host: String,
    /// Version of the writer.
    pub processguard: String,
    /// The sensor that this one took over from without a gap.
    #[serde(default)]
    pub continues: Option<u64>,
}

/// A process of a table.
#[derive(Clone, Debug)]
pub struct Process {
    /// As the task iterator gives it.
    pub snapshot: Snapshot,
    /// What it runs, if that is known.
    pub program: Option<Program>,
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot.task == other.snapshot.task && self.program == other.program
    }
}

impl Eq for Process {}

const START: u32 = 1;
const CLOCK: u32 = 2;
const RECORD: u32 = 3;
const TABLE_BEGIN: u32 = 4;
const PROCESS: u32 = 5;
const CGROUP: u32 = 6;
const TABLE_END: u32 = 7;
const LOSSES: u32 = 8;
const DROPPED: u32 = 9;
const RESYNC_BEGIN: u32 = 10;
const RESYNC_END: u32 = 11;
const SETTLED: u32 = 12;
const TOMBSTONE: u32 = 13;
const PROGRAM: u32 = 15;
const SWEEP: u32 = 16;

/// No CPU: the loss is known for all of them together.
const ALL_CPUS: u32 = u32::MAX;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It does not begin like a recording.
    NoMagic,
    /// It is a recording of another version of the format.
    Version(u8),
    /// A payload of this many bytes cannot be.
    TooLong(u32),
    /// The checksum does not fit.
    Checksum,
    /// The payload does not fit its kind.
    Malformed(u32),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMagic => f.write_str("it does not begin like a recording"),
            Self::Version(version) => {
                write!(f, "it is a recording of format {version}; this version reads format 1")
            }
            Self::TooLong(bytes) => write!(f, "a frame of {bytes} bytes cannot be"),
            Self::Checksum => f.write_str("a checksum does not fit"),
            Self::Malformed(kind) => write!(f, "a frame of kind {kind} is malformed"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Checks the beginning of a stream. `None`: too few bytes to tell.
///
/// # Errors
/// If it is none, or of another version.
pub fn check_magic(bytes: &[u8]) -> Result<Option<()>, FrameError> {
    let Some(found) = bytes.first_chunk::<8>() else {
        return if MAGIC.starts_with(bytes) { Ok(None) } else { Err(FrameError::NoMagic) };
    };
    let ([name @ .., version], [expected @ .., ours]) = (found, &MAGIC);
    match (name == expected, version == ours) {
        (true, true) => Ok(Some(())),
        (true, false) => Err(FrameError::Version(*version)),
        (false, _) => Err(FrameError::NoMagic),
    }
}

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Up to where in the ring everything is in the stream.
    pub position: u64,
    /// Bytes that the frame takes.
    pub bytes: usize,
}

/// Reads the frame that the bytes begin with. `None`: it is not complete yet.
///
/// # Errors
/// If it is no frame.
pub fn read(bytes: &[u8]) -> Result<Option<Read<'_>>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let mut fields = Fields(header);
    let (length, kind) = (fields.u32(), fields.u32());
    let (checksum, zero, position) = (fields.u32(), fields.u32(), fields.u64());
    let (Some(length), Some(kind), Some(checksum), Some(0), Some(position)) =
        (length, kind, checksum, zero, position)
    else {
        return Err(FrameError::Checksum);
    };
    let size = length as usize;
    if size > PAYLOAD_BYTES {
        return Err(FrameError::TooLong(length));
    }
    let Some(payload) = rest.get(..size) else { return Ok(None) };
    if checksum != self::checksum(length, kind, position, payload) {
        return Err(FrameError::Checksum);
    }
    let frame = parse(kind, payload).ok_or(FrameError::Malformed(kind))?;
    Ok(Some(Read { frame, position, bytes: HEADER_BYTES + size }))
}

/// Appends a frame.
pub fn write(out: &mut Vec<u8>, position: u64, frame: &Frame<'_>) {
    let begin = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let kind = write_payload(out, frame);
    let Some((header, payload)) =
        out.get_mut(begin..).and_then(|written| written.split_first_chunk_mut::<HEADER_BYTES>())
    else {
        return;
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let checksum = checksum(length, kind, position, payload);
    let words = [length, kind, checksum, 0].into_iter().flat_map(u32::to_le_bytes);
    header.iter_mut().zip(words.chain(position.to_le_bytes())).for_each(|(to, from)| *to = from);
}

fn checksum(length: u32, kind: u32, position: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut head = [0; 16];
    let words = [length, kind].into_iter().flat_map(u32::to_le_bytes).chain(position.to_le_bytes());
    head.iter_mut().zip(words).for_each(|(to, from)| *to = from);
    hasher.update(&head);
    hasher.update(payload);
    hasher.finalize()
}

fn write_payload(out: &mut Vec<u8>, frame: &Frame<'_>) -> u32 {
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    match frame {
        Frame::Start(start) => {
            // Strings and numbers only: this cannot fail.
            put(&serde_json::to_vec(start).unwrap_or_default());
            START
        }
        Frame::Clock { now_ns, utc_offset_ns } => {
            put(&now_ns.to_le_bytes());
            put(&utc_offset_ns.to_le_bytes());
            CLOCK
        }
        Frame::Record(bytes) => {
            put(bytes);
            RECORD
        }
        Frame::TableBegin => TABLE_BEGIN,
        Frame::Process(process) => {
            put(guard_common::wire::bytes_of(&process.snapshot));
            if let Some(program) = &process.program {
                write_program(&mut put, program);
            }
            PROCESS
        }
        Frame::Cgroup { hierarchy, id, path } => {
            put(&hierarchy.to_le_bytes());
            put(&id.to_le_bytes());
            put(path.as_bytes());
            CGROUP
        }
        Frame::TableEnd => TABLE_END,
        Frame::Losses(losses) => {
            write_losses(&mut put, losses);
            LOSSES
        }
        Frame::Dropped(losses) => {
            write_losses(&mut put, losses);
            DROPPED
        }
        Frame::ResyncBegin { taken_ns } => {
            put(&taken_ns.to_le_bytes());
            RESYNC_BEGIN
        }
        Frame::ResyncEnd => RESYNC_END,
        Frame::Settled => SETTLED,
        Frame::Program { pid, start_ns, exec_count, program } => {
            put(&pid.to_le_bytes());
            put(&start_ns.to_le_bytes());
            put(&exec_count.to_le_bytes());
            write_program(&mut put, program);
            PROGRAM
        }
        Frame::Sweep => SWEEP,
        Frame::Tombstone { pid, start_ns, status, time_ns } => {
            put(&pid.to_le_bytes());
            put(&start_ns.to_le_bytes());
            put(&status.to_le_bytes());
            put(&time_ns.to_le_bytes());
            TOMBSTONE
        }
    }
}

fn parse(kind: u32, payload: &[u8]) -> Option<Frame<'_>> {
    let mut fields = Fields(payload);
    let frame = match kind {
        START => return serde_json::from_slice(payload).ok().map(Frame::Start),
        CLOCK => Frame::Clock { now_ns: fields.u64()?, utc_offset_ns: fields.u64()?.cast_signed() },
        RECORD => return Some(Frame::Record(payload)),
        TABLE_BEGIN => Frame::TableBegin,
        PROCESS => Frame::Process(Box::new(read_process(&mut fields)?)),
        CGROUP => Frame::Cgroup {
            hierarchy: fields.u32()?,
            id: fields.u64()?,
            path: std::str::from_utf8(fields.rest()).ok()?,
        },
        TABLE_END => Frame::TableEnd,
        LOSSES => Frame::Losses(read_losses(&mut fields)?),
        DROPPED => Frame::Dropped(read_losses(&mut fields)?),
        RESYNC_BEGIN => Frame::ResyncBegin { taken_ns: fields.u64()? },
        RESYNC_END => Frame::ResyncEnd,
        SETTLED => Frame::Settled,
        TOMBSTONE => Frame::Tombstone {
            pid: fields.u32()?,
            start_ns: fields.u64()?,
            status: fields.u32()?,
            time_ns: fields.u64()?,
        },
        PROGRAM => Frame::Program {
            pid: fields.u32()?,
            start_ns: fields.u64()?,
            exec_count: fields.u64()?,
            program: read_program(&mut fields)?,
        },
        SWEEP => Frame::Sweep,
        _ => return None,
    };
    fields.0.is_empty().then_some(frame)
}

fn write_program(put: &mut impl FnMut(&[u8]), program: &Program) {
    let flags = program.flags;
    let bits = [
        flags.args_truncated,
        flags.executable_truncated,
        flags.working_directory_truncated,
        flags.executable_deleted,
        flags.working_directory_deleted,
    ];
    let bits = bits.iter().enumerate().fold(0, |bits, (at, &set)| bits | u32::from(set) << at);
    for number in [bits, program.device, program.args_count] {
        put(&number.to_le_bytes());
    }
    put(&program.inode.to_le_bytes());
    for bytes in [&program.executable, &program.working_directory, &program.args] {
        put(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        put(bytes);
    }
}

fn read_process(fields: &mut Fields<'_>) -> Option<Process> {
    let snapshot = fields.take(size_of::<Snapshot>())?;
    let Ok(guard_common::decode::Record::Snapshot(snapshot)) = guard_common::decode::decode(snapshot) else {
        return None;
    };
    let program = if fields.0.is_empty() { None } else { Some(read_program(fields)?) };
    Some(Process { snapshot, program })
}

fn read_program(fields: &mut Fields<'_>) -> Option<Program> {
    let (bits, device, args_count, inode) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u64()?);
    let set = |at: u32| bits & 1 << at != 0;
    let flags = ProgramFlags {
        args_truncated: set(0),
        executable_truncated: set(1),
        working_directory_truncated: set(2),
        executable_deleted: set(3),
        working_directory_deleted: set(4),
    };
    let mut bytes = || {
        let length = fields.u32()? as usize;
        fields.take(length).map(<[u8]>::to_vec)
    };
    let (executable, working_directory, args) = (bytes()?, bytes()?, bytes()?);
    Some(Program { executable, inode, device, working_directory, args, args_count, flags })
}

fn write_losses(put: &mut impl FnMut(&[u8]), losses: &[Lost]) {
    for lost in losses {
        put(&lost.kind.0.to_le_bytes());
        put(&cause_number(lost.cause).to_le_bytes());
        put(&lost.cpu.unwrap_or(ALL_CPUS).to_le_bytes());
        put(&lost.count.to_le_bytes());
    }
}

fn read_losses(fields: &mut Fields<'_>) -> Option<Vec<Lost>> {
    let mut losses = Vec::new();
    while !fields.0.is_empty() {
        let (kind, cause) = (Kind(fields.u32()?), numbered_cause(fields.u32()?)?);
        let (cpu, count) = (fields.u32()?, fields.u64()?);
        losses.push(Lost { kind, cause, cpu: (cpu != ALL_CPUS).then_some(cpu), count });
    }
    Some(losses)
}

/// The causes by their numbers in frames: others may only be added.
const CAUSES: [LossCause; 4] = LossCause::ALL;

fn cause_number(cause: LossCause) -> u32 {
    CAUSES.iter().zip(0..).find_map(|(known, number)| (*known == cause).then_some(number)).unwrap_or(u32::MAX)
}

fn numbered_cause(number: u32) -> Option<LossCause> {
    CAUSES.get(number as usize).copied()
}

/// Takes little-endian numbers off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*taken))
    }

    fn u64(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

mod boot_id {
    use guard_core::ids::BootId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(boot: &BootId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(boot)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BootId, D::Error> {
        let text = String::deserialize(from)?;
        BootId::parse(&text).ok_or_else(|| D::Error::custom("not a boot id"))
    }
}
