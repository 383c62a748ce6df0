//! Recordings: frames, the reader that takes them out of a stream in pieces, and the player.
//!
//! Bytes that begin like a recording are one; all its checksums are made right, else the fuzzer would
//! never get past them. Other bytes are a script of frames.

use guard_common::wire::{self, Kind};
use guard_core::event::{Action, LossCause, Lost, Program, ProgramFlags};
use guard_core::ids::BootId;
use guard_userspace::feed;
use guard_userspace::recording::frame::{self, Frame, FrameError, HEADER_BYTES, MAGIC, Process, Start};
use guard_userspace::recording::player::Player;
use guard_userspace::recording::reader::Reader;

use crate::json::shown;
use crate::script::Script;

/// Reads and plays the bytes as a recording, or as a script of one.
pub fn run(data: &[u8]) {
    if !data.starts_with(&MAGIC) {
        // That it is none, or not enough of one, is seen as well in pieces.
        read(data);
        play(&read(&scripted(data)));
        return;
    }
    read(data);
    play(&read(&sealed(data)));
}

/// All frames of a stream, each written again, and why they end: the same in one piece and in many.
fn read(stream: &[u8]) -> Vec<Vec<u8>> {
    let whole = take(stream, std::iter::once(stream.len()));
    let sizes = stream.iter().map(|&byte| usize::from(byte % 32) + 1);
    assert_eq!(take(stream, sizes), whole, "in pieces it is something else");
    assert_eq!(take(stream, std::iter::repeat_n(1, stream.len())), whole, "by bytes it is something else");
    whole.0
}

/// What a reader makes of a stream: frames, bytes used and bytes left.
type Taken = (Vec<Vec<u8>>, u64, Option<FrameError>);

fn take(stream: &[u8], sizes: impl Iterator<Item = usize>) -> Taken {
    let (mut reader, mut frames, mut rest) = (Reader::default(), Vec::new(), stream);
    for size in sizes {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        reader.space().extend_from_slice(piece);
        loop {
            match reader.next(|frame| written(7, &frame)) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, reader.offset(), Some(error)),
            }
        }
        assert_eq!(reader.offset() + (reader.unused() + rest.len()) as u64, stream.len() as u64);
    }
    (frames, reader.offset(), None)
}

/// The frame's bytes. They read as the same frame, not before they are complete, and not if they are damaged.
fn written(position: u64, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, position, frame);
    let Ok(Some(again)) = frame::read(&bytes) else { unreachable!("{frame:?} cannot be read") };
    assert_eq!((&again.frame, again.position, again.bytes), (frame, position, bytes.len()));

    let last = bytes.len() - 1;
    assert_eq!(frame::read(bytes.split_at(last).0), Ok(None), "an incomplete frame");
    let mut damaged = bytes.clone();
    if let Some(byte) = damaged.last_mut() {
        *byte ^= 0x10;
    }
    assert_eq!(frame::read(&damaged), Err(FrameError::Checksum), "a damaged frame");
    bytes
}

/// Plays frames. Each record is one event, all events can be shown, and memory is bounded.
fn play(frames: &[Vec<u8>]) {
    let (mut player, mut told) = (Player::default(), 0);
    for bytes in frames {
        let Ok(Some(read)) = frame::read(bytes) else { unreachable!("it was read before") };
        let played = player.play(read.frame);
        told += drain(&mut player);
        assert!(player.processes().len() <= feed::LIMITS.processes, "{} processes", player.processes().len());
        if played.is_err() {
            break;
        }
    }
    player.finish();
    told += drain(&mut player);
    let seen = Kind::ALL.into_iter().zip(player.seen());
    let due = seen.filter(|(kind, _)| !matches!(*kind, Kind::CGROUP | Kind::SNAPSHOT));
    assert_eq!(told, due.map(|(_, count)| count).sum::<u64>(), "each record is one event");
}

/// How many events are of records.
fn drain(player: &mut Player) -> u64 {
    let mut told = 0;
    while let Some((stamp, event)) = player.poll_event() {
        shown(&stamp, &event);
        // Ends that were found out otherwise have no usage.
        let found_out = matches!(&event.action, Action::Exit { exit, .. } if exit.usage.is_none());
        told += u64::from(event.action.process().is_some() && !found_out);
    }
    told
}

/// The stream with right checksums in all its frames, as far as their lengths lead.
fn sealed(stream: &[u8]) -> Vec<u8> {
    let (magic, mut rest) = stream.split_at(MAGIC.len());
    let mut sealed = magic.to_vec();
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let [l0, l1, l2, l3, k0, k1, k2, k3, _, _, _, _, _, _, _, _, position @ ..] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        let head = [l0, l1, l2, l3, k0, k1, k2, k3];
        let mut checksum = crc32fast::Hasher::new();
        [&head, &position, payload].into_iter().for_each(|part| checksum.update(part));
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(&checksum.finalize().to_le_bytes());
        sealed.extend_from_slice(&[0; 4]);
        sealed.extend_from_slice(&position);
        sealed.extend_from_slice(payload);
        rest = behind;
    }
    sealed.extend_from_slice(rest);
    sealed
}

/// The stream that a script tells.
fn scripted(data: &[u8]) -> Vec<u8> {
    let (mut script, mut stream) = (Script(data), MAGIC.to_vec());
    while let Some(what) = script.byte() {
        let frame = scripted_frame(what, &mut script);
        stream.extend(written(script.number(), &frame));
    }
    stream
}

fn scripted_frame<'a>(what: u8, script: &mut Script<'a>) -> Frame<'a> {
    match what % 17 {
        0 => Frame::Start(start(script)),
        1 => Frame::Clock { now_ns: script.number(), utc_offset_ns: script.number().cast_signed() },
        2 => Frame::TableBegin,
        3 => Frame::Process(Box::new(Process {
            snapshot: script.snapshot(),
            program: (script.small() % 2 == 1).then(|| program(script)),
        })),
        4 => {
            let (hierarchy, id) = (script.number() as u32, script.number());
            Frame::Cgroup { hierarchy, id, path: std::str::from_utf8(script.block()).unwrap_or_default() }
        }
        5 => Frame::TableEnd,
        6 => Frame::Losses(losses(script)),
        7 => Frame::Dropped(losses(script)),
        8 => Frame::ResyncBegin { taken_ns: script.number() },
        9 => Frame::ResyncEnd,
        10 => Frame::Settled,
        11 => {
            let id = script.id();
            let (exec_count, program) = (script.number(), program(script));
            Frame::Program { pid: id.pid, start_ns: id.start_ns, exec_count, program }
        }
        12 => Frame::Sweep,
        13 => {
            let (id, status) = (script.id(), script.number() as u32);
            Frame::Tombstone { pid: id.pid, start_ns: id.start_ns, status, time_ns: script.number() }
        }
        _ => Frame::Record(script.block()),
    }
}

fn start(script: &mut Script<'_>) -> Start {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Start {
        boot: BootId(script.number().into()),
        instance: script.number(),
        // Nothing can be played after another layout.
        wire: if script.small() == 255 { 0 } else { wire::VERSION },
        host: text(script.block()),
        processguard: text(script.block()),
        continues: (script.small() % 2 == 1).then(|| script.number()),
    }
}

fn losses(script: &mut Script<'_>) -> Vec<Lost> {
    let causes = LossCause::ALL.into_iter().cycle();
    let lost = causes.take(script.small() as usize % 8).map(|cause| Lost {
        kind: Kind(script.number() as u32),
        cause,
        // The largest number stands for all CPUs.
        cpu: Some(script.number() as u32).filter(|&cpu| cpu != u32::MAX),
        count: script.number(),
    });
    lost.collect()
}

fn program(script: &mut Script<'_>) -> Program {
    let bits = script.small();
    Program {
        executable: script.block().to_vec(),
        inode: script.number(),
        device: script.number() as u32,
        working_directory: script.block().to_vec(),
        args: script.block().to_vec(),
        args_count: script.number() as u32,
        flags: ProgramFlags {
            args_truncated: bits & 1 != 0,
            executable_truncated: bits & 2 != 0,
            working_directory_truncated: bits & 4 != 0,
            executable_deleted: bits & 8 != 0,
            working_directory_deleted: bits & 16 != 0,
        },
    }
}
