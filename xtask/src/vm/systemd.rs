//! The least of systemd that keeps a service: the manager, its journal, the bus, and the units that these need.
//!
//! As the host has it: it is what Debian ships, in another place. After the other tests init.sh hands the machine over to it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::cpio::Archive;
use super::programs::needed;
use crate::sh;

/// Programs, with the libraries that they need.
const PROGRAMS: [&str; 4] = [
    "/lib/systemd/systemd",
    "/lib/systemd/systemd-journald",
    "/usr/bin/dbus-daemon",
    // What an operator types, and the test does.
    "/bin/systemctl",
];

/// Units, all in one directory.
const UNITS: [&str; 16] = [
    "basic.target",
    "dbus.service",
    "dbus.socket",
    "local-fs.target",
    "multi-user.target",
    "network.target",
    "paths.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "timers.target",
    "umount.target",
];

/// Who may do what on the bus.
const BUS: [&str; 2] =
    ["/usr/share/dbus-1/system.conf", "/usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf"];

/// Packs it with our unit, as it is shipped, and the one that runs the tests; gives the libraries that are needed.
pub(super) fn pack(archive: &mut Archive) -> Result<BTreeSet<String>> {
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        archive.copy(program, Path::new(program))?;
        libraries.extend(needed(Path::new(program))?);
    }
    for unit in UNITS {
        let path = format!("/lib/systemd/system/{unit}");
        archive.copy(&path, Path::new(&path))?;
    }
    for file in BUS {
        archive.copy(file, Path::new(file))?;
    }
    archive.file("/etc/systemd/system/tests.service", include_bytes!("tests.service"))?;
    let unit = sh::workspace().join("guard-userspace/dist/processguard.service");
    archive.copy("/etc/systemd/system/processguard.service", &unit)?;
    archive.symlink("/usr/bin/processguard", "/opt/processguard")?;
    // Where the bus is by its specification.
    archive.symlink("/var/run", "/run")?;
    Ok(libraries)
}
