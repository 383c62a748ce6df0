//! Those who are meant besides a main process: its room, its process group, their threads.

use std::fs;
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::path::Path;

use guard_core::ids::ProcId;
use guard_core::supervise::ActionId;
use rustix::process::{Pid, setpriority_process};

use super::DeedError;
use super::identity::{self, Checked, IdentityError, Stat};
use super::rooms::{Room, RoomName, Rooms};

/// Passes over the process table in which a process group is killed: its members can fork meanwhile.
const PASSES: u32 = 10;

/// The room of a process.
pub(super) enum RoomOf<'a> {
    /// One of ours.
    Known(&'a Room),
    /// Somebody else's control group.
    Found(Room),
}

impl Deref for RoomOf<'_> {
    type Target = Room;

    fn deref(&self) -> &Room {
        match self {
            Self::Known(room) => room,
            Self::Found(room) => room,
        }
    }
}

/// The room of a process. One that we did not start is in somebody else's control group: that counts as its room if it is
/// one of its own, as those of units and containers are.
pub(super) fn room_of<'a>(
    rooms: &Rooms,
    target: ProcId,
    room: Option<&'a Room>,
) -> Result<RoomOf<'a>, DeedError> {
    if let Some(room) = room {
        return Ok(RoomOf::Known(room));
    }
    let held = Checked::open(target)?;
    let group = identity::group_of(target.pid).ok_or(IdentityError::Gone(target.pid))?;
    if !is_its_own(&group) {
        return Err(DeedError::Shared { pid: target.pid, group });
    }
    let room = rooms.foreign(Path::new(&group))?;
    // The path was read of the one that we mean.
    if identity::has_ended(held.as_fd()) {
        return Err(IdentityError::Gone(target.pid).into());
    }
    Ok(RoomOf::Found(room))
}

/// Sessions and slices hold whatever people start there; so does our own root.
fn is_its_own(group: &str) -> bool {
    let name = group.rsplit('/').next().unwrap_or_default();
    let is_session = name.starts_with("session-") && name.ends_with(".scope");
    let is_part = name == "init.scope" || name.ends_with(".slice") || name.ends_with(".shared");
    !name.is_empty() && !is_session && !is_part && !matches!(RoomName::parse(name), Some(RoomName::Keeper))
}

/// The process group of a main process. If that has ended, only its room can tell whether a group of its pid is its own.
pub(super) fn process_group(target: ProcId, room: Option<&Room>) -> Option<u32> {
    let own = Stat::read(std::process::id()).map(|stat| stat.group);
    let group = match Stat::read(target.pid) {
        Some(stat) if stat.start_ticks == identity::ticks(target.start_ns) => stat.group,
        _ => room.map(|_| target.pid)?,
    };
    (group > 1 && Some(group) != own).then_some(group)
}

/// Kills each of a process group; in a room only those who are in it.
pub(super) fn kill_process_group(group: u32, room: Option<&Room>, id: ActionId) {
    for _ in 0..PASSES {
        let is_member = |pid: u32| {
            Stat::read(pid).is_some_and(|stat| stat.group == group)
                && room.is_none_or(|room| identity::is_in_group(pid, room.group()))
        };
        let members: Vec<u32> = match room {
            Some(room) => room.pids(),
            None => processes(),
        };
        let mut any = false;
        for pid in members.into_iter().filter(|&pid| is_member(pid)) {
            let killed =
                Checked::member(pid, is_member).and_then(|member| member.send(libc::SIGKILL, Some(id.0)));
            any |= killed.is_ok();
        }
        if !any {
            break;
        }
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Sets the nice value of each thread in a room. One that has gone is none.
pub(super) fn renice(room: &Room, nice: i8) -> io::Result<()> {
    for thread in room.threads() {
        let Some(pid) = i32::try_from(thread).ok().and_then(Pid::from_raw) else { continue };
        // A number that another thread has by now is not in the room.
        if !identity::is_in_group(thread, room.group()) {
            continue;
        }
        match setpriority_process(Some(pid), nice.into()) {
            Err(rustix::io::Errno::SRCH) => {}
            set => set?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_its_own;

    #[test]
    fn groups_that_hold_others_are_nobody_s_own() {
        for group in
            ["/", "/init.scope", "/user.slice/user-0.slice/session-3.scope", "/system.slice", "/a/+keeper"]
        {
            assert!(!is_its_own(group), "{group}");
        }
        for group in ["/system.slice/nginx.service", "/docker/0af", "/processguard/a.0.7"] {
            assert!(is_its_own(group), "{group}");
        }
    }
}
