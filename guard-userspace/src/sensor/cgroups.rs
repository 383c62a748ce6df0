//! The control groups that exist: read once, later changes come as records.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mounted hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// 0 for cgroup v2, else the kernel's number of the v1 hierarchy.
    pub(crate) id: u32,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// v1 controllers.
    controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether the kernel programs name processes' groups in it: v2, or v1 with one of the two
    /// controllers that they consult.
    fn is_consulted(&self) -> bool {
        self.id == 0 || self.has("pids") || self.has("memory")
    }

    /// Whether it has a v1 controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// The hierarchies in which the programs place processes.
pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // Absent without v1.
    let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    Ok(parse(&mounts, &controllers))
}

/// All hierarchies: v2 first, then those of v1 in the kernel's order.
pub(crate) fn all() -> io::Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    Ok(parse_all(&mounts, &controllers))
}

/// Whether one of the two v1 controllers that the programs consult is in use, wherever it is mounted. One
/// that is mounted later is not seen.
pub(crate) fn first_version() -> bool {
    fs::read_to_string("/proc/cgroups").is_ok_and(|controllers| uses_first_version(&controllers))
}

fn uses_first_version(controllers: &str) -> bool {
    controllers.lines().any(|line| {
        let mut words = line.split_whitespace();
        // A controller of v2 is in hierarchy 0.
        matches!(words.next(), Some("pids" | "memory")) && words.next().is_some_and(|number| number != "0")
    })
}

/// v2 comes first.
fn parse(mounts: &str, controllers: &str) -> Vec<Hierarchy> {
    let mut found = parse_all(mounts, controllers);
    found.retain(Hierarchy::is_consulted);
    found
}

/// v2 comes first.
fn parse_all(mounts: &str, controllers: &str) -> Vec<Hierarchy> {
    let number = |name: &str| {
        controllers.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then(|| words.next()?.parse::<u32>().ok()).flatten()
        })
    };
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (Some(root), Some(mount)) = (before.next(), before.next()) else { continue };
        let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
        let names: Vec<String> =
            options.split(',').filter(|name| number(name).is_some()).map(str::to_owned).collect();
        let id = match kind {
            Some("cgroup2") => Some(0),
            Some("cgroup") => names.first().and_then(|name| number(name)),
            _ => None,
        };
        let Some(id) = id else { continue };
        // A bind mount of a part of the hierarchy does not show it from its root.
        if root != "/" || found.iter().any(|known| known.id == id) {
            continue;
        }
        found.push(Hierarchy { id, mount: unescape(mount), controllers: names });
    }
    found.sort_unstable_by_key(|hierarchy| hierarchy.id);
    found
}

/// mountinfo writes blanks and the like as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.into()
}

/// Calls back with id and path of every group of a hierarchy, parents first. A group that goes
/// away meanwhile is left out.
pub(crate) fn walk(hierarchy: &Hierarchy, found: &mut impl FnMut(u64, &str)) {
    descend(&hierarchy.mount, &hierarchy.mount, found);
}

fn descend(root: &Path, directory: &Path, found: &mut impl FnMut(u64, &str)) {
    let Ok(metadata) = fs::symlink_metadata(directory) else { return };
    let below = directory.strip_prefix(root).unwrap_or(directory);
    // On 64-bit kernels the inode number is the id.
    found(metadata.ino(), &format!("/{}", below.display()));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            descend(root, &entry.path(), found);
        }
    }
}

/// A control group that the user names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) hierarchy: u32,
    pub(crate) id: u64,
    pub(crate) level: u32,
}

/// Finds a control group by its path in the file system, or below a hierarchy's mount: v2's first.
pub(crate) fn find(hierarchies: &[Hierarchy], path: &str) -> Option<Place> {
    hierarchies.iter().find_map(|hierarchy| {
        let below = Path::new(path)
            .strip_prefix(&hierarchy.mount)
            .unwrap_or_else(|_| Path::new(path.trim_start_matches('/')));
        let full = hierarchy.mount.join(below);
        let metadata = fs::symlink_metadata(full).ok().filter(fs::Metadata::is_dir)?;
        let level = u32::try_from(below.components().count()).ok()?;
        Some(Place { hierarchy: hierarchy.id, id: metadata.ino(), level })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_in_use_if_a_controller_has_a_hierarchy() {
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\n";
        assert!(!uses_first_version(&format!("{head}memory\t0\t55\t1\npids\t0\t55\t1\n")));
        assert!(uses_first_version(&format!("{head}memory\t0\t55\t1\npids\t7\t55\t1\n")));
        assert!(!uses_first_version(""));
    }

    #[test]
    fn consulted_hierarchies_are_found() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n\
            31 23 0:27 / /sys/fs/cgroup/pids rw shared:5 - cgroup cgroup rw,pids\n\
            32 23 0:28 / /sys/fs/cgroup/cpu rw shared:6 - cgroup cgroup rw,cpu\n\
            33 23 0:29 / /sys/fs/cgroup/systemd rw shared:7 - cgroup cgroup rw,name=systemd\n\
            34 23 0:26 /inner /mnt/my\\040place rw shared:8 - cgroup2 cgroup2 rw\n";
        let controllers = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\npids\t7\t1\t1\n";
        let found = parse(mounts, controllers);
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(unescape("/mnt/my\\040place"), Path::new("/mnt/my place"));
    }
}
