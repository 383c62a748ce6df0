//! What services say to their `NOTIFY_SOCKET` (`sd_notify`): that they are ready, that they stop, how they are.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A longer message is nobody's business: systemd's own bound is of the same order.
const MESSAGE_BYTES: usize = 4096;
/// What is kept of a status.
const STATUS_BYTES: usize = 256;

/// What a process said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Who, as the kernel says it.
    pub pid: u32,
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `WATCHDOG=1`.
    pub watchdog: bool,
    /// `STATUS=...`, as it was sent: to be escaped where it is shown.
    pub status: Option<String>,
}

/// The socket.
#[derive(Debug)]
pub struct Notices {
    socket: AsyncFd<OwnedFd>,
    path: PathBuf,
}

impl Notices {
    /// Makes the socket; one that an earlier daemon left is replaced. Every user may write to it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        sockopt::set_socket_passcred(&socket, true)?;
        socket.set_nonblocking(true)?;
        let socket = super::watch(OwnedFd::from(socket), Interest::READABLE)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is said next. What makes no sense is passed over; descriptors that come along are closed by the kernel.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn next(&mut self) -> io::Result<Notice> {
        loop {
            let mut guard = self.socket.readable().await?;
            match receive(self.socket.get_ref()) {
                Ok(Some(notice)) => return Ok(notice),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Room for the sender's credentials, and none for descriptors. Aligned as the kernel's headers are.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// A header of 16 bytes, and `struct ucred` of 12, padded.
const CONTROL_BYTES: usize = 32;

/// By hand: a sender that is in no pid namespace of ours has pid 0, which is no `rustix::process::Pid`.
fn receive(socket: &OwnedFd) -> io::Result<Option<Notice>> {
    let mut bytes = [0; MESSAGE_BYTES];
    let mut control = Control([0; CONTROL_BYTES]);
    let mut parts = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeros are a value of the structure.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut parts;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: all that the message points to is valid for the call.
    let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let read = usize::try_from(read).map_err(|_negative| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled in the control buffer up to its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() || message.msg_flags & libc::MSG_TRUNC != 0 {
        return Ok(None);
    }
    // SAFETY: the header is one of the buffer, which is aligned for it.
    let kind = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
    if kind != (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
        return Ok(None);
    }
    // SAFETY: behind a header of this kind there are credentials, and the buffer has room for them.
    let sender: libc::ucred = unsafe { libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned() };
    let pid = u32::try_from(sender.pid).unwrap_or(0);
    Ok(bytes.get(..read).filter(|_| pid != 0).and_then(|bytes| parse(pid, bytes)))
}

/// Lines of `NAME=value`. `None`: nothing that we know.
fn parse(pid: u32, bytes: &[u8]) -> Option<Notice> {
    let mut notice = Notice { pid, ..Notice::default() };
    for line in bytes.split(|&byte| byte == b'\n') {
        match line {
            b"READY=1" => notice.ready = true,
            b"STOPPING=1" => notice.stopping = true,
            b"WATCHDOG=1" => notice.watchdog = true,
            _ => {
                if let Some(status) = line.strip_prefix(b"STATUS=") {
                    let kept = status.get(..STATUS_BYTES).unwrap_or(status);
                    notice.status = Some(String::from_utf8_lossy(kept).into_owned());
                }
            }
        }
    }
    (notice != Notice { pid, ..Notice::default() }).then_some(notice)
}

#[cfg(test)]
mod tests;
