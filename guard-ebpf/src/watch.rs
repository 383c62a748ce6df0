//! The watch set: which processes are followed, and in which group.

use guard_common::control::{GroupsOfPids, PIDS_AN_ENTRY};

use crate::maps::GROUPS_BY_PID;

/// The watch group of a thread group; 0 if it is not watched.
#[inline(always)]
pub(crate) fn group(tgid: u32) -> u16 {
    // SAFETY: a place within the map; kernel and userspace access it as one aligned half-word.
    place(tgid).map_or(0, |place| unsafe { place.read_volatile() })
}

/// Puts a thread group into a watch group.
#[inline(always)]
pub(crate) fn join(tgid: u32, group: u16) {
    if let Some(place) = place(tgid) {
        // SAFETY: as in `group`.
        unsafe { place.write_volatile(group) };
    }
}

/// Takes a thread group out of the watch set.
#[inline(always)]
pub(crate) fn leave(tgid: u32) {
    join(tgid, 0);
}

#[inline(always)]
fn place(tgid: u32) -> Option<*mut u16> {
    let entry: *mut GroupsOfPids = GROUPS_BY_PID.get_ptr_mut(tgid / PIDS_AN_ENTRY)?;
    // In bounds: the remainder of a division by the entry's length.
    Some(entry.cast::<u16>().wrapping_add((tgid % PIDS_AN_ENTRY) as usize))
}
