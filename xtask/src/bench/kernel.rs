//! The kernel's own account of its BPF programs: run time and run count, by program id.

use std::{
    collections::BTreeMap,
    io,
    mem::size_of_val,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

// Commands of bpf(2), from include/uapi/linux/bpf.h.
const PROG_GET_NEXT_ID: libc::c_int = 11;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const ENABLE_STATS: libc::c_int = 32;

/// What the kernel counted for one program since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// The name, cut to 15 bytes by the kernel.
    pub(super) name: String,
    /// Time inside the program, interrupts that came meanwhile included.
    pub(super) run_ns: u64,
    /// Completed runs.
    pub(super) runs: u64,
}

/// All programs, by id.
pub(super) type Programs = BTreeMap<u32, Program>;

/// While this lives, the kernel measures its programs. It stops by itself when we die.
#[derive(Debug)]
pub(super) struct Stats(#[expect(dead_code, reason = "held open, never used")] OwnedFd);

impl Stats {
    pub(super) fn enable() -> Result<Self> {
        // The attribute is one u32: BPF_STATS_RUN_TIME = 0.
        bpf_fd(ENABLE_STATS, &mut [0]).map(Self).context("BPF_ENABLE_STATS")
    }
}

/// Reads every program's counters. Programs come and go meanwhile; one that has gone is left out.
pub(super) fn programs() -> Result<Programs> {
    let mut programs = Programs::new();
    let mut id = 0;
    while let Some(next) = next_id(id)? {
        id = next;
        match read(id) {
            Ok(program) => _ = programs.insert(id, program),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("BPF program {id}")),
        }
    }
    Ok(programs)
}

fn next_id(start: u32) -> Result<Option<u32>> {
    let mut attribute = [start, 0, 0];
    match bpf(PROG_GET_NEXT_ID, &mut attribute) {
        Ok(_) => Ok(Some(attribute[1])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("BPF_PROG_GET_NEXT_ID"),
    }
}

/// The head of struct bpf_prog_info, up to and with the run count.
#[repr(C)]
#[derive(Default)]
struct Info {
    before_name: [u64; 8],
    name: [u8; 16],
    before_run_time: [u64; 14],
    run_time_ns: u64,
    run_cnt: u64,
}

const _: () = assert!(std::mem::offset_of!(Info, name) == 64);
const _: () = assert!(std::mem::offset_of!(Info, run_time_ns) == 192);

fn read(id: u32) -> io::Result<Program> {
    let program = bpf_fd(PROG_GET_FD_BY_ID, &mut [id, 0, 0])?;
    let mut info = Info::default();
    let address = (&raw mut info).addr() as u64;
    let length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let descriptor = program.as_raw_fd().cast_unsigned();
    // A little-endian u64 after two u32: { bpf_fd, info_len, info }.
    let mut attribute = [descriptor, length, low(address), low(address >> 32)];
    bpf(OBJ_GET_INFO_BY_FD, &mut attribute)?;
    let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Program {
        name: String::from_utf8_lossy(name).into_owned(),
        run_ns: info.run_time_ns,
        runs: info.run_cnt,
    })
}

/// The low half; the rest is meant to go.
fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn bpf_fd(command: libc::c_int, attribute: &mut [u32]) -> io::Result<OwnedFd> {
    let fd = bpf(command, attribute)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2) with a union bpf_attr that ends after `attribute`: the kernel takes the rest as zero.
fn bpf(command: libc::c_int, attribute: &mut [u32]) -> io::Result<libc::c_int> {
    // SAFETY: the attribute is valid for its stated size. Addresses inside it point to live buffers of the
    // length stated beside them, which is what the only command with one (info by fd) writes to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_mut_ptr(), size_of_val(attribute)) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
