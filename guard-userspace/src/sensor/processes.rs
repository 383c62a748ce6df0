//! The processes that exist: identity from the task iterator, program and arguments from procfs.
//! Read when the sensor is attached, and again when the process table must be made sure.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use guard_common::decode::{self, Record};
use guard_common::wire::{Snapshot, TASK_KERNEL_THREAD};
use guard_core::event::{Program, ProgramFlags};
use guard_core::ids::ProcId;

use super::{Error, bpf};
use crate::sample;

/// What the kernel appends to the path of an unlinked file.
const DELETED: &[u8] = b" (deleted)";

/// Bytes of arguments that are believed. A process may move its argument area: the kernel then shows as much as it
/// has mapped, gigabytes perhaps.
const ARGS_BYTES: u64 = 64 * 1024;

/// Room for a pass over 500 processes; more make it grow.
const PASS_BYTES: usize = 64 * 1024;

/// Makes a pass of the task iterator and reads all snapshot records that it yields.
pub(crate) fn read(iterator: &OwnedFd) -> Result<Vec<Snapshot>, Error> {
    // Each call goes over the list until its room is full: a few large ones, not many small.
    let mut bytes = Vec::with_capacity(PASS_BYTES);
    bpf::open_iterator(iterator.as_fd())
        .and_then(|mut pass| pass.read_to_end(&mut bytes))
        .map_err(|error| Error::system("read the task iterator", error))?;
    bytes
        .chunks_exact(size_of::<Snapshot>())
        .map(|record| match decode::decode(record) {
            Ok(Record::Snapshot(snapshot)) => Ok(snapshot),
            Ok(_) => Err(Error::system("read the task iterator", "a record of another kind")),
            Err(error) => Err(Error::system("read the task iterator", error)),
        })
        .collect()
}

/// Program and arguments of a snapshot's process, if it is still there and has one.
pub(crate) fn program(snapshot: &Snapshot) -> Option<Program> {
    if snapshot.task.flags & TASK_KERNEL_THREAD != 0 {
        return None;
    }
    program_of(snapshot.task.key.into())
}

/// Program and arguments of a process, if it is still there. All is read below the opened
/// directory of the process, which fails once it has gone; its start time, in ticks, says that it
/// is not a later one with the same pid.
pub(crate) fn program_of(id: ProcId) -> Option<Program> {
    let process = sample::process(id)?;
    let (executable, executable_deleted) = split_deleted(process.exe().ok()?);
    let (working_directory, working_directory_deleted) = split_deleted(process.cwd().ok()?);
    let mut args = Vec::new();
    process.open_relative("cmdline").ok()?.take(ARGS_BYTES).read_to_end(&mut args).ok()?;
    let args_truncated = args.len() as u64 == ARGS_BYTES;
    let file = process.open_relative("exe").ok().and_then(|file| file.metadata().ok());
    let device = file.as_ref().map_or(0, |file| {
        let device = file.dev();
        rustix::fs::major(device) << 20 | rustix::fs::minor(device)
    });
    Some(Program {
        executable,
        inode: file.as_ref().map_or(0, MetadataExt::ino),
        device,
        working_directory,
        args_count: u32::try_from(args.iter().filter(|&&byte| byte == 0).count()).unwrap_or(u32::MAX),
        args,
        flags: ProgramFlags {
            args_truncated,
            executable_truncated: false,
            working_directory_truncated: false,
            executable_deleted,
            working_directory_deleted,
        },
    })
}

fn split_deleted(path: PathBuf) -> (Vec<u8>, bool) {
    let path = path.into_os_string().into_vec();
    match path.strip_suffix(DELETED) {
        Some(kept) => (kept.to_vec(), true),
        None => (path, false),
    }
}
