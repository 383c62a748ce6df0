//! The few bpf(2) commands that aya keeps to itself: pins by descriptor, what the kernel says of its
//! objects, links of perf events.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{
    bpf_attach_type::{BPF_PERF_EVENT, BPF_TRACE_ITER},
    bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info, bpf_prog_info,
};

/// Gives an object a name in a bpf file system: it then outlives its last descriptor.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd().cast_unsigned();
    // SAFETY: the path is NUL-terminated and lives until the call returns.
    unsafe { call(bpf_cmd::BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens a pinned object.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path is NUL-terminated and lives until the call returns.
    let fd = unsafe { call(bpf_cmd::BPF_OBJ_GET, &mut attr) }?;
    descriptor(fd)
}

/// Attaches a loaded tracing program to the tracepoint that it was loaded for.
pub(crate) fn attach_tracing(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.raw_tracepoint.prog_fd = program.as_raw_fd().cast_unsigned();
    // SAFETY: integers only; the name stays null, as the program knows its tracepoint.
    let fd = unsafe { call(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr) }?;
    descriptor(fd)
}

/// Links a loaded iterator program: each [`open_iterator`] of the link is one pass.
pub(crate) fn link_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    attr.link_create.attach_type = BPF_TRACE_ITER as u32;
    // SAFETY: integers only.
    let fd = unsafe { call(bpf_cmd::BPF_LINK_CREATE, &mut attr) }?;
    descriptor(fd)
}

/// Begins a pass of an iterator: reading the file runs the program.
pub(crate) fn open_iterator(link: BorrowedFd<'_>) -> io::Result<File> {
    let mut attr = zeroed();
    attr.iter_create.link_fd = link.as_raw_fd().cast_unsigned();
    // SAFETY: integers only.
    let fd = unsafe { call(bpf_cmd::BPF_ITER_CREATE, &mut attr) }?;
    descriptor(fd).map(File::from)
}

/// Links a program to a perf event (since 5.15): unlike what the event's own ioctl makes, this can be
/// pinned.
pub(crate) fn link_perf_event(program: BorrowedFd<'_>, event: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    attr.link_create.__bindgen_anon_2.target_fd = event.as_raw_fd().cast_unsigned();
    attr.link_create.attach_type = BPF_PERF_EVENT as u32;
    // SAFETY: integers only.
    let fd = unsafe { call(bpf_cmd::BPF_LINK_CREATE, &mut attr) }?;
    descriptor(fd)
}

/// What the kernel says of a program.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<Info<bpf_prog_info>> {
    info(program)
}

/// What the kernel says of a map.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    info(map).map(|info| info.value)
}

/// Id of a link.
pub(crate) fn link_id(link: BorrowedFd<'_>) -> io::Result<u32> {
    info::<bpf_link_info>(link).map(|info| info.value.id)
}

/// Whether a link still exists.
pub(crate) fn link_exists(id: u32) -> bool {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.link_id = id;
    // SAFETY: integers only.
    let fd = unsafe { call(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &mut attr) };
    fd.and_then(descriptor).is_ok()
}

/// Information of one of the kernel's `bpf_*_info` types.
pub(crate) struct Info<T> {
    pub(crate) value: T,
    /// Bytes of it that this kernel knows; the rest is zero.
    pub(crate) known: usize,
}

/// `T` must be the information type of the object's kind: integers and addresses only.
fn info<T: Copy>(object: BorrowedFd<'_>) -> io::Result<Info<T>> {
    // SAFETY: the kernel's information types are made of integers; zeros are valid.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = object.as_raw_fd().cast_unsigned();
    attr.info.info_len = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    attr.info.info = (&raw mut value) as u64;
    // SAFETY: `attr` names a buffer of the given length; the kernel writes at most as much.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    // SAFETY: the `info` member was the one used; the kernel wrote the length that it knows.
    let known = unsafe { attr.info.info_len } as usize;
    Ok(Info { value, known })
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of structures of integers; zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// Every address in `attr` must be valid for what the command does with it.
unsafe fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: a valid attribute block of the size stated; the rest is the caller's promise.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn descriptor(fd: i64) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a descriptor that the kernel has just given us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
