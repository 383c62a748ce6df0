//! Who asks, as the kernel says it, and what they may.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

use crate::daemon::door::Peer;

/// Who may read besides those who may act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Readers {
    /// Every user of this host
    All,
    /// Members of the socket's group: that of --group, or else the daemon's own
    #[default]
    Group,
    /// Nobody
    None,
}

impl Readers {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("all", Self::All), ("group", Self::Group), ("none", Self::None)];
}

/// What somebody may do; who may act may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See.
    Read,
    /// Change.
    Act,
}

/// Who is at the other end of a socket, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User and process.
    pub peer: Peer,
    /// The user's groups, the first one and all supplementary ones.
    pub groups: Vec<u32>,
}

impl Caller {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If it does not say.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = supplementary(stream)?;
        groups.push(credentials.gid());
        Ok(Self { peer: Peer { uid: credentials.uid(), pid: credentials.pid().unwrap_or(0) }, groups })
    }
}

/// `SO_PEERGROUPS`: unlike /proc/PID/status it cannot be of another process that has the pid by now.
fn supplementary(socket: &impl AsRawFd) -> io::Result<Vec<u32>> {
    const BYTES: usize = size_of::<libc::gid_t>();
    // Most users are in fewer groups; the kernel says how many there are if they do not fit.
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let room = groups.len().saturating_mul(BYTES);
        let mut length = libc::socklen_t::try_from(room).unwrap_or(libc::socklen_t::MAX);
        // SAFETY: the kernel writes at most `length` bytes to the buffer, which has as many, and the length that it wrote or
        // would need to `length`. Both are valid for the call; any bytes are a value of `gid_t`.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / BYTES;
        if answer == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// The rule by which roles are given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    own_uid: u32,
    own_gid: u32,
    group: Option<u32>,
    readers: Readers,
}

impl Access {
    pub(super) fn new(group: Option<u32>, readers: Readers) -> Self {
        let own_uid = rustix::process::geteuid().as_raw();
        let own_gid = rustix::process::getegid().as_raw();
        Self { own_uid, own_gid, group, readers }
    }

    /// The group that the socket's file belongs to, if not the daemon's own.
    pub(super) const fn group(&self) -> Option<u32> {
        self.group
    }

    /// The socket's mode: whoever could do nothing cannot even connect.
    pub(super) const fn mode(&self) -> u32 {
        match (self.readers, self.group) {
            (Readers::All, _) => 0o666,
            (Readers::Group, _) | (Readers::None, Some(_)) => 0o660,
            (Readers::None, None) => 0o600,
        }
    }

    /// What somebody may do; `None`: nothing.
    pub(super) fn role(&self, caller: &Caller) -> Option<Role> {
        let is_in = |group| caller.groups.contains(&group);
        if caller.peer.uid == 0 || caller.peer.uid == self.own_uid || self.group.is_some_and(is_in) {
            return Some(Role::Act);
        }
        let reads = match self.readers {
            Readers::All => true,
            Readers::Group => is_in(self.group.unwrap_or(self.own_gid)),
            Readers::None => false,
        };
        reads.then_some(Role::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller { peer: Peer { uid, pid: 1 }, groups: groups.to_vec() }
    }

    #[test]
    fn roles() {
        let access = |group, readers| Access { own_uid: 900, own_gid: 901, group, readers };
        let cases = [
            (access(None, Readers::None), caller(0, &[0]), Some(Role::Act)),
            (access(None, Readers::None), caller(900, &[5]), Some(Role::Act)),
            (access(None, Readers::None), caller(1000, &[901]), None),
            (access(None, Readers::Group), caller(1000, &[1000, 901]), Some(Role::Read)),
            (access(None, Readers::Group), caller(1000, &[1000]), None),
            (access(Some(50), Readers::Group), caller(1000, &[1000, 50]), Some(Role::Act)),
            (access(Some(50), Readers::Group), caller(1000, &[901]), None),
            (access(Some(50), Readers::All), caller(1000, &[]), Some(Role::Read)),
            (access(Some(50), Readers::None), caller(1000, &[50]), Some(Role::Act)),
        ];
        for (access, caller, role) in cases {
            assert_eq!(access.role(&caller), role, "{access:?} {caller:?}");
        }
        assert_eq!(access(None, Readers::All).mode(), 0o666);
        assert_eq!(access(Some(1), Readers::None).mode(), 0o660);
        assert_eq!(access(None, Readers::None).mode(), 0o600);
    }

    #[tokio::test]
    async fn the_kernel_names_all_groups() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Caller::of(&one).unwrap();
        assert_eq!(caller.peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.peer.pid, rustix::process::getpid().as_raw_nonzero().get());
        let mut own: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        own.push(rustix::process::getegid().as_raw());
        assert_eq!(caller.groups, own);
    }
}
