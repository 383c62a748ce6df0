//! Ends of main processes: one descriptor for all, readable once any has ended.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use guard_core::ids::ProcId;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::identity::has_ended;

/// Ends that are taken in at once.
const AT_ONCE: usize = 64;

/// A process that has ended, to its last thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: ProcId,
    /// What `wait()` says, if it was our child. Of others the kernel's records say it.
    pub status: Option<i32>,
}

/// All main processes that are waited for.
#[derive(Debug)]
pub struct Exits {
    epoll: AsyncFd<OwnedFd>,
    waited: HashMap<u64, (ProcId, OwnedFd)>,
    numbers: HashMap<ProcId, u64>,
    /// Of those who have been told of: let go before the next look, since somebody is to be started first.
    told: Vec<OwnedFd>,
    last: u64,
}

impl Exits {
    /// Waits for nobody yet. Within a tokio runtime.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: super::watch(epoll, Interest::READABLE)?,
            waited: HashMap::new(),
            numbers: HashMap::new(),
            told: Vec::new(),
            last: 0,
        })
    }

    /// Waits for this one, too: our child or not. One that has ended already is told next.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn add(&mut self, id: ProcId, pidfd: OwnedFd) -> io::Result<()> {
        self.remove(id);
        self.last += 1;
        let data = epoll::EventData::new_u64(self.last);
        epoll::add(self.epoll.get_ref(), &pidfd, data, epoll::EventFlags::IN)?;
        self.waited.insert(self.last, (id, pidfd));
        self.numbers.insert(id, self.last);
        Ok(())
    }

    /// Waits for this one no longer.
    pub fn remove(&mut self, id: ProcId) {
        if let Some((_, pidfd)) = self.numbers.remove(&id).and_then(|number| self.waited.remove(&number)) {
            // It goes with its last descriptor; another one of it may be elsewhere.
            let _ = epoll::delete(self.epoll.get_ref(), &pidfd);
        }
    }

    /// Whether this one is waited for.
    #[must_use]
    pub fn has(&self, id: ProcId) -> bool {
        self.numbers.contains_key(&id)
    }

    /// Whether this one has ended, and is yet to be told of. Costs a look: its status is not taken, which takes the kernel longer.
    #[must_use]
    pub fn is_over(&self, id: ProcId) -> bool {
        let waited = self.numbers.get(&id).and_then(|number| self.waited.get(number));
        waited.is_some_and(|(_, pidfd)| has_ended(pidfd.as_fd()))
    }

    /// Those who have ended since the last time; at least one. Nothing is lost if this is given up before it is ready.
    ///
    /// # Errors
    /// If the system refuses.
    pub async fn next(&mut self) -> io::Result<Vec<Ended>> {
        loop {
            let mut guard = self.epoll.readable().await?;
            let numbers = ended(guard.get_inner(), &mut self.told)?;
            if numbers.is_empty() {
                guard.clear_ready();
                continue;
            }
            let ended = self.take_all(numbers);
            if !ended.is_empty() {
                return Ok(ended);
            }
        }
    }

    /// Those who have ended by now, without waiting.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn now(&mut self) -> io::Result<Vec<Ended>> {
        let numbers = ended(self.epoll.get_ref(), &mut self.told)?;
        Ok(self.take_all(numbers))
    }

    fn take_all(&mut self, numbers: Vec<u64>) -> Vec<Ended> {
        numbers.into_iter().filter_map(|number| self.take(number)).collect()
    }

    fn take(&mut self, number: u64) -> Option<Ended> {
        let (id, pidfd) = self.waited.remove(&number)?;
        self.numbers.remove(&id);
        let status = reap(&pidfd);
        self.told.push(pidfd);
        Some(Ended { id, status })
    }
}

/// The numbers of some who have ended by now, and were not told of.
fn ended(epoll: &OwnedFd, told: &mut Vec<OwnedFd>) -> io::Result<Vec<u64>> {
    for pidfd in told.drain(..) {
        let _ = epoll::delete(epoll, &pidfd);
    }
    let mut events: Vec<epoll::Event> = Vec::with_capacity(AT_ONCE);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    retry_on_intr(|| epoll::wait(epoll, spare_capacity(&mut events), Some(&now)))?;
    Ok(events.iter().map(|event| event.data.u64()).collect())
}

/// Takes the status of a child that has ended, in the form of `wait()`. `None`: it is no child of ours, or somebody
/// else took it.
pub(crate) fn reap(pidfd: &OwnedFd) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            Ok(status) => break status?,
            Err(_) => return None,
        }
    };
    let signal = status.terminating_signal();
    Some(match (status.exit_status(), signal) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, signal) => signal.unwrap_or(0) | if status.dumped() { 0x80 } else { 0 },
    })
}

#[cfg(test)]
mod tests;
