//! Rooms: the control groups in which services live.
//!
//! ```text
//! <cgroup2>/processguard/              the root; holds no processes
//!     checkout.0.1234567/              a life of an instance
//!     queue.shared/queue.3.1234599/    ... whose limits all instances share
//!     +hook.1234600/   +keeper/
//! ```
//! Killing, freezing and being empty are matters of cgroup v2. A limit goes where its controller is: where that is a
//! hierarchy of v1, the group has a twin of the same path there.

mod limits;
pub(crate) mod name;
mod room;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use guard_core::policy::model::Limits;

use crate::clock;
use crate::sensor::cgroups;
use limits::Controller;
pub use name::RoomName;
pub use room::Room;

/// Why there is no room, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// No cgroup v2.
    #[error("no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")]
    NoHierarchy,
    /// The root's name leads elsewhere.
    #[error("{} is no place below the cgroup2 mount; name one such as `processguard`", .0.display())]
    Root(PathBuf),
    /// It cannot be made.
    #[error(
        "cannot make the control group {}: {source}; is the cgroup file system writable for the daemon (root, or a unit with Delegate=yes)?",
        path.display()
    )]
    Make {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel has no such controller.
    #[error(
        "this host has no `{0}` controller for control groups; enable it (kernel parameter cgroup_enable={0}) or leave the limit out"
    )]
    NoController(&'static str),
    /// The controller does not reach our groups.
    #[error(
        "cannot hand the `{controller}` controller down to groups below {}: {source}; no process may be in that group itself (in a unit: DelegateSubgroup=)",
        path.display()
    )]
    Delegation {
        /// Which.
        controller: &'static str,
        /// From where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A limit is refused.
    #[error("cannot limit {what} by {}: {source}", path.display())]
    Limit {
        /// Of what.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds whoever must not be touched.
    #[error("the control group {} holds {what}: nothing is done to it", path.display())]
    Forbidden {
        /// Which.
        path: PathBuf,
        /// Who.
        what: String,
    },
    /// Something else about it.
    #[error("cannot {action} the control group {}: {source}", path.display())]
    Use {
        /// What was tried.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// All rooms of a daemon.
#[derive(Clone, Debug)]
pub struct Rooms {
    tree: Arc<Tree>,
}

#[derive(Debug)]
struct Tree {
    /// Where cgroup v2 is mounted.
    mount: PathBuf,
    /// The root, below any mount.
    root: PathBuf,
    /// Controllers that v2 has.
    controllers: Vec<Controller>,
    /// Mounts of v1 for the others.
    v1: Vec<(Controller, PathBuf)>,
}

impl Rooms {
    /// Makes the root, such as `processguard`, if it is not there.
    ///
    /// # Errors
    /// If there is no cgroup v2, or the root cannot be made.
    pub fn open(root: &Path) -> Result<Self, RoomError> {
        let below: PathBuf = root.components().filter(|part| !matches!(part, Component::RootDir)).collect();
        if below.as_os_str().is_empty()
            || below.components().any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(RoomError::Root(root.to_owned()));
        }
        let hierarchies = cgroups::all().map_err(|source| RoomError::Use {
            action: "find the mount of",
            path: below.clone(),
            source,
        })?;
        let v2 = hierarchies.iter().find(|hierarchy| hierarchy.id == 0).ok_or(RoomError::NoHierarchy)?;
        let offered = fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap_or_default();
        let (controllers, others): (Vec<_>, Vec<_>) = Controller::ALL
            .into_iter()
            .partition(|controller| offered.split_whitespace().any(|name| name == controller.name()));
        let v1 = others
            .into_iter()
            .filter_map(|controller| {
                let hierarchy = hierarchies.iter().find(|one| one.id != 0 && one.has(controller.name()))?;
                Some((controller, hierarchy.mount.clone()))
            })
            .collect();
        let tree = Tree { mount: v2.mount.clone(), root: below, controllers, v1 };
        make(&tree.mount.join(&tree.root))?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// The root's directory in cgroup v2.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.tree.mount.join(&self.tree.root)
    }

    /// Makes a room for the next life of an instance, with its limits.
    ///
    /// # Errors
    /// If the group cannot be made, or a limit not be set; nothing is left of it then.
    pub fn make(&self, service: &str, instance: u32, limits: &Limits) -> Result<Room, RoomError> {
        let name = |life| RoomName::Life { service: service.into(), instance, life };
        let mut inside = self.tree.root.clone();
        if limits.per_service {
            inside.push(RoomName::Shared(service.into()).to_string());
            self.make_group(&inside, limits)?;
        }
        let own = if limits.per_service { Limits::default() } else { *limits };
        // Twins in v1 for all that a shared parent limits, too: its children count to it.
        self.make_new(&inside, name, &own, limits)
    }

    /// Makes a room for a hook.
    ///
    /// # Errors
    /// If the group cannot be made.
    pub fn make_hook(&self) -> Result<Room, RoomError> {
        let none = Limits::default();
        self.make_new(&self.tree.root, RoomName::Hook, &none, &none)
    }

    /// The keeper's room, which is kept.
    ///
    /// # Errors
    /// If the group cannot be made.
    pub fn keeper(&self) -> Result<Room, RoomError> {
        let below = self.tree.root.join(RoomName::Keeper.to_string());
        make(&self.tree.mount.join(&below))?;
        Room::open(RoomName::Keeper, &self.tree.mount, &below, Vec::new())
    }

    /// Somebody else's control group, by its path from the root of the hierarchy.
    pub(crate) fn foreign(&self, group: &Path) -> Result<Room, RoomError> {
        let below = group.strip_prefix("/").unwrap_or(group);
        Room::open(RoomName::Foreign, &self.tree.mount, below, Vec::new())
    }

    fn make_new(
        &self,
        inside: &Path,
        name: impl Fn(u64) -> RoomName,
        own: &Limits,
        all: &Limits,
    ) -> Result<Room, RoomError> {
        let mut number = clock::boot_ns();
        let (name, below) = loop {
            let name = name(number);
            let below = inside.join(name.to_string());
            let path = self.tree.mount.join(&below);
            match fs::create_dir(&path) {
                Ok(()) => break (name, below),
                // The clock's grain.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(RoomError::Make { path, source }),
            }
        };
        let made = self
            .set_limits(&below, own)
            .and_then(|()| self.make_twins(&below, all))
            .and_then(|()| Room::open(name, &self.tree.mount, &below, self.twins(&below)));
        if made.is_err() {
            self.remove_group(&below);
        }
        made
    }

    /// A group with limits that may exist already.
    fn make_group(&self, below: &Path, limits: &Limits) -> Result<(), RoomError> {
        make(&self.tree.mount.join(below))?;
        self.make_twins(below, limits)?;
        self.set_limits(below, limits)
    }

    fn make_twins(&self, below: &Path, limits: &Limits) -> Result<(), RoomError> {
        for (_, mount) in self.tree.v1.iter().filter(|(controller, _)| controller.is_needed(limits)) {
            make(&mount.join(below))?;
        }
        Ok(())
    }

    fn set_limits(&self, below: &Path, limits: &Limits) -> Result<(), RoomError> {
        for controller in Controller::ALL.into_iter().filter(|controller| controller.is_needed(limits)) {
            let v1 = self.tree.v1.iter().find(|(one, _)| *one == controller);
            if self.tree.controllers.contains(&controller) {
                let path = self.tree.mount.join(below);
                limits::hand_down(&self.tree.mount, path.parent().unwrap_or(&path), controller)?;
                controller.set(&path, limits, false)?;
            } else if let Some((_, mount)) = v1 {
                make(&mount.join(below))?;
                controller.set(&mount.join(below), limits, true)?;
            } else {
                return Err(RoomError::NoController(controller.name()));
            }
        }
        Ok(())
    }

    /// Groups of the same path in v1, as far as there are any.
    fn twins(&self, below: &Path) -> Vec<PathBuf> {
        let mut twins: Vec<PathBuf> = self.tree.v1.iter().map(|(_, mount)| mount.join(below)).collect();
        twins.dedup();
        twins.retain(|path| path.is_dir());
        twins
    }

    fn remove_group(&self, below: &Path) {
        for path in self.twins(below).into_iter().chain([self.tree.mount.join(below)]) {
            if let Err(error) = fs::remove_dir(&path) {
                tracing::debug!("{} stays: {error}", path.display());
            }
        }
    }

    /// All rooms that exist, of whichever daemon: what a new one takes up. What is not ours below the root is left out.
    ///
    /// # Errors
    /// If the root cannot be read.
    pub fn all(&self) -> Result<Vec<Room>, RoomError> {
        let mut rooms = Vec::new();
        self.list(&self.tree.root, &mut rooms)?;
        rooms.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(rooms)
    }

    fn list(&self, inside: &Path, rooms: &mut Vec<Room>) -> Result<(), RoomError> {
        let path = self.tree.mount.join(inside);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(source) => return Err(RoomError::Use { action: "list", path, source }),
        };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let file = entry.file_name();
            let below = inside.join(&file);
            match file.to_str().and_then(RoomName::parse) {
                Some(RoomName::Shared(_)) if inside == self.tree.root => self.list(&below, rooms)?,
                Some(RoomName::Shared(_)) | None => {}
                // One that goes away meanwhile is none.
                Some(name) => {
                    rooms.extend(Room::open(name, &self.tree.mount, &below, self.twins(&below)).ok())
                }
            }
        }
        Ok(())
    }

    /// Removes rooms that nobody is in, but for the keeper's and those of `kept`; how many.
    ///
    /// # Errors
    /// If the root cannot be read.
    pub fn tidy(&self, kept: &dyn Fn(&Room) -> bool) -> Result<usize, RoomError> {
        let mut removed = 0;
        for room in self.all()? {
            if *room.name() != RoomName::Keeper && !kept(&room) && room.is_empty() && room.remove().is_ok() {
                removed += 1;
            }
        }
        let entries = fs::read_dir(self.path()).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if matches!(RoomName::parse(&name), Some(RoomName::Shared(_))) {
                // Refused by the kernel as long as it has rooms.
                self.remove_group(&self.tree.root.join(name));
            }
        }
        Ok(removed)
    }
}

/// Makes a directory and those above it, if it is not there.
fn make(path: &Path) -> Result<(), RoomError> {
    fs::create_dir_all(path).map_err(|source| RoomError::Make { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
