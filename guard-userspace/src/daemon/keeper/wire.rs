//! What daemon and keeper say to each other: one JSON object a packet, with descriptors beside it.
//!
//! Both may be of different versions. A field that is not known is passed over, a message that is not known is ignored
//! and counted; whoever gives a message another meaning gives it another name.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// The version of the messages: told, never compared for equality.
pub(super) const VERSION: u32 = 1;

/// A longer packet is nobody's.
const PACKET_BYTES: usize = 64 * 1024;

/// Descriptors beside one message: the two ends of a pipe.
const DESCRIPTORS: usize = 2;

/// Where a pipe leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Nowhere.
    Null,
    /// To a file, which is rotated.
    File {
        /// Which.
        path: PathBuf,
        /// It is never larger, in bytes.
        max_size: u64,
        /// So many older ones are kept.
        keep: u32,
    },
    /// To the journal.
    Journal {
        /// Under this name.
        identifier: String,
        /// To this file, where there is no journal or it does not listen.
        fallback: PathBuf,
    },
}

/// What a pipe brought so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Of which service.
    pub service: String,
    /// Of which instance.
    pub instance: u32,
    /// Bytes that were written to it, in all lives.
    pub bytes: u64,
    /// Of these, bytes that could not be put down.
    pub lost: u64,
    /// What is wrong with its target now.
    pub trouble: Option<String>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Message {
    /// A daemon is here for good. Answered by `Welcome` and as many `Pipe`.
    Hello { version: u32 },
    /// What the keeper is, and how many pipes it holds.
    Welcome { version: u32, pid: u32, pipes: usize },
    /// From a daemon: keep the pipe whose reading end is beside this; without a descriptor: it leads elsewhere from now
    /// on. From the keeper: it has this one, reading and writing end beside this.
    Pipe { service: String, instance: u32, target: Target },
    /// The pipe is not needed any more once nobody can write to it.
    Forget { service: String, instance: u32 },
    /// Tell what came. Answered by `Counts`, of which the last says so.
    Ask,
    /// What came, and how many messages were not understood.
    Counts { counts: Vec<Count>, last: bool, unknown: u64 },
    /// Of another version.
    #[serde(other)]
    Unknown,
}

/// Sends a message.
pub(super) fn send(socket: impl AsFd, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent.map(|_| ()).map_err(Into::into),
        }
    }
}

/// The next message. `None`: the other side has gone. `WouldBlock`: there is none yet.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            got => break got?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    let is_whole = !got.flags.contains(ReturnFlags::TRUNC);
    let text = bytes.get(..got.bytes).filter(|_| is_whole).unwrap_or_default();
    Ok(Some((serde_json::from_slice(text).unwrap_or(Message::Unknown), descriptors)))
}
