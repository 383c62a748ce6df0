//! The kernel's set of watched processes: named at the start, grown by the fork hook afterwards.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::Map;
use guard_common::control::{GroupsOfPids, PIDS_AN_ENTRY};
use guard_common::limits::{PIDS, WATCH_GROUPS};
use guard_common::wire::Snapshot;

use super::shared::SharedArray;
use super::{Error, Watch};

/// Entries that the map needs.
pub(crate) const fn entries(watch: u32) -> u32 {
    if watch == 0 { 1 } else { PIDS / PIDS_AN_ENTRY }
}

/// Bytes of the set that are mapped at a time: whole pages. What is mapped counts as our memory, and the whole set is 8 MiB.
const WINDOW_BYTES: u32 = 64 * 1024;

/// Pids whose groups lie in a window.
const WINDOW_PIDS: u32 = WINDOW_BYTES / size_of::<u16>() as u32;

/// Watch groups by pid, shared with the programs.
#[derive(Debug)]
pub struct WatchSet {
    map: OwnedFd,
    /// The window that was used last, by its number.
    window: Mutex<Option<(u32, SharedArray<GroupsOfPids>)>>,
}

impl WatchSet {
    /// Opens the set of a loaded sensor, which was configured to have one.
    pub(crate) fn open(ebpf: &Ebpf) -> Result<Self, Error> {
        let Some(Map::Array(map)) = ebpf.map("GROUPS_BY_PID") else { return Err(Error::NoObject) };
        Self::map(map.fd())
    }

    /// The set in a map.
    pub(crate) fn map(map: impl AsFd) -> Result<Self, Error> {
        let failed = |error| Error::system("map the watch set", error);
        let map = map.as_fd().try_clone_to_owned().map_err(failed)?;
        let first = window(&map, 0).map_err(failed)?;
        Ok(Self { map, window: Mutex::new(Some((0, first))) })
    }

    /// Puts a process into a group; group 0 takes it out of the set. Pids beyond what any kernel
    /// gives are ignored, and so is 0: the idle task waits for nothing.
    pub fn join(&self, pid: u32, group: u16) {
        if pid == 0 {
            return;
        }
        let shift = (pid % PIDS_AN_ENTRY) * u16::BITS;
        let mask = u64::from(u16::MAX) << shift;
        // The programs write single half-words meanwhile: exchange only if none did.
        self.with_entry(pid, |entry| {
            entry.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |four| {
                Some(four & !mask | u64::from(group) << shift)
            })
        });
    }

    /// The group of a process; 0 if it is not watched.
    #[must_use]
    pub fn group(&self, pid: u32) -> u16 {
        let four = self.with_entry(pid, |entry| entry.load(Ordering::Relaxed)).unwrap_or(0);
        (four >> ((pid % PIDS_AN_ENTRY) * u16::BITS)) as u16
    }

    /// Uses the entry of a pid.
    fn with_entry<T>(&self, pid: u32, used: impl FnOnce(&AtomicU64) -> T) -> Option<T> {
        if pid >= PIDS {
            return None;
        }
        let (number, within) = (pid / WINDOW_PIDS, pid % WINDOW_PIDS);
        let mut last = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(last, _)| *last != number) {
            *last = match window(&self.map, number) {
                Ok(groups) => Some((number, groups)),
                Err(error) => {
                    tracing::warn!("process {pid} is not looked up in the watch set: {error}");
                    None
                }
            };
        }
        let (_, groups) = last.as_ref()?;
        groups.word((within / PIDS_AN_ENTRY) as usize, 0).map(used)
    }
}

/// Maps a window.
fn window(map: &OwnedFd, number: u32) -> io::Result<SharedArray<GroupsOfPids>> {
    let offset = u64::from(number) * u64::from(WINDOW_BYTES);
    SharedArray::map_part(map, offset, (WINDOW_PIDS / PIDS_AN_ENTRY) as usize)
}

/// Puts the named processes in, before the programs are attached: their children to come are
/// followed from the first on. The first named one gets group 1, and so on; what is named beyond
/// the number of groups shares the last.
pub(crate) fn insert_named(ebpf: &Ebpf, watch: &Watch) -> Result<(), Error> {
    let (Watch::Pids(named) | Watch::Trees(named)) = watch else { return Ok(()) };
    let watched = WatchSet::open(ebpf)?;
    for (pid, group) in named.iter().zip(groups()) {
        watched.join(*pid, group);
    }
    Ok(())
}

/// The groups of the processes that are named to be watched, in their order: the last group for ever.
pub(crate) fn groups() -> impl Iterator<Item = u16> {
    (1..WATCH_GROUPS as u16).chain(std::iter::repeat(WATCH_GROUPS as u16 - 1))
}

/// Checks that the named processes exist, and puts in the descendants that they have already.
pub(crate) fn insert_descendants(ebpf: &Ebpf, watch: &Watch, snapshots: &[Snapshot]) -> Result<(), Error> {
    match watch {
        Watch::All | Watch::AllFollowed => Ok(()),
        Watch::Pids(named) => check(named, snapshots),
        Watch::Trees(named) => {
            check(named, snapshots)?;
            insert_descendants_in(&WatchSet::open(ebpf)?, named, snapshots);
            Ok(())
        }
    }
}

/// The same for a set that holds the named already: descendants join the group of their parent.
pub(crate) fn insert_descendants_in(watched: &WatchSet, named: &[u32], snapshots: &[Snapshot]) {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for snapshot in snapshots {
        children.entry(snapshot.task.parent.tgid).or_default().push(snapshot.task.key.tgid);
    }
    let mut parents = named.to_vec();
    while let Some(parent) = parents.pop() {
        let group = watched.group(parent);
        for child in children.remove(&parent).unwrap_or_default() {
            if watched.group(child) == 0 {
                watched.join(child, group);
            }
            parents.push(child);
        }
    }
}

/// Checks that the named processes exist.
pub(crate) fn check(named: &[u32], snapshots: &[Snapshot]) -> Result<(), Error> {
    let exists = |pid| snapshots.iter().any(|snapshot| snapshot.task.key.tgid == pid);
    named.iter().find(|&&pid| !exists(pid)).map_or(Ok(()), |absent| Err(Error::NoProcess(*absent)))
}
