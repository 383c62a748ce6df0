//! Attachment to classic tracepoints, without leaving a mount behind.
//!
//! Their numbers and record formats are told by tracefs, which need not be mounted anywhere: a
//! detached mount of it, reachable through a descriptor alone, does, and is gone with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::{perf_event_attr, perf_type_id::PERF_TYPE_TRACEPOINT};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::bpf;

/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF` of `linux/perf_event.h`.
const IOC_ENABLE: libc::Ioctl = 0x2400;
const IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// The tracing file system.
#[derive(Debug)]
pub(crate) struct Tracefs {
    root: OwnedFd,
}

impl Tracefs {
    /// Makes a detached mount.
    pub(crate) fn open() -> io::Result<Self> {
        let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        Ok(Self { root })
    }

    /// Number of a tracepoint, for `perf_event_open`.
    pub(crate) fn id(&self, tracepoint: &str) -> io::Result<u64> {
        self.read(tracepoint, "id")?.trim().parse().map_err(io::Error::other)
    }

    /// Offset of a field in a tracepoint's record; `None` if it has no such field.
    pub(crate) fn field(&self, tracepoint: &str, name: &str) -> io::Result<Option<u32>> {
        Ok(offset_in_format(&self.read(tracepoint, "format")?, name))
    }

    fn read(&self, tracepoint: &str, file: &str) -> io::Result<String> {
        let path = format!("events/{tracepoint}/{file}");
        let mut text = String::new();
        let file = openat(&self.root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        File::from(file).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Finds a field's offset in the text of a `format` file, whose lines read
/// `field:pid_t child_pid;  offset:28;  size:4;  signed:1;`.
fn offset_in_format(format: &str, name: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';');
        let declared = parts.next()?.rsplit([' ', '\t']).next()?;
        let offset = parts.find_map(|part| part.trim().strip_prefix("offset:"))?;
        (declared == name).then(|| offset.parse().ok()).flatten()
    })
}

/// Attaches a program to a tracepoint, on all CPUs, until the result is dropped.
pub(crate) fn attach(program: BorrowedFd<'_>, tracepoint: u64) -> io::Result<OwnedFd> {
    // SAFETY: integers only; zeros are valid.
    let mut attr: perf_event_attr = unsafe { std::mem::zeroed() };
    attr.type_ = PERF_TYPE_TRACEPOINT as u32;
    attr.size = u32::try_from(size_of::<perf_event_attr>()).unwrap_or(u32::MAX);
    attr.config = tracepoint;
    let (any_process, first_cpu, no_group) = (-1, 0, -1);
    // SAFETY: `attr` is a valid attribute block of the size it states.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            any_process,
            first_cpu,
            no_group,
            FLAG_FD_CLOEXEC,
        )
    };
    let event = i32::try_from(event).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a descriptor that the kernel has just given us.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    // A link can be pinned; before 5.15 only the event's own descriptor holds the program.
    let held = match bpf::link_perf_event(program, event.as_fd()) {
        Ok(link) => link,
        Err(_) => {
            control(&event, IOC_SET_BPF, program.as_raw_fd())?;
            event.try_clone()?
        }
    };
    control(&event, IOC_ENABLE, 0)?;
    Ok(held)
}

fn control(event: &OwnedFd, request: libc::Ioctl, argument: i32) -> io::Result<()> {
    // SAFETY: requests of this kind of descriptor that take an integer.
    let answer = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_by_name() {
        let format = "name: sched_process_fork\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
            \tfield:char parent_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
            \tfield:pid_t child_pid;\toffset:44;\tsize:4;\tsigned:1;\n";
        assert_eq!(offset_in_format(format, "child_pid"), Some(44));
        assert_eq!(offset_in_format(format, "pid"), None);
    }
}
