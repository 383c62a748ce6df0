//! What control groups use: small files of the control group file systems.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use guard_core::resources::{GroupResources, Percent, Pressure, Stalled};

use crate::sensor::{Error, cgroups};

/// cgroup v1 says "no limit" by the largest number of whole pages below 2^63.
const NO_LIMIT: u64 = 1 << 62;

/// Where the control group hierarchies are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// cgroup v2: pressure, and memory unless v1 has it.
    pub v2: Option<PathBuf>,
    /// The memory controller of cgroup v1.
    pub v1_memory: Option<PathBuf>,
}

impl Groups {
    /// As this host has them.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn mounted() -> Result<Self, Error> {
        let found = cgroups::hierarchies()
            .map_err(|error| Error::system("read the mounted control group hierarchies", error))?;
        let mount = |hierarchy: &cgroups::Hierarchy| hierarchy.mount.clone();
        Ok(Self {
            v2: found.iter().find(|hierarchy| hierarchy.id == 0).map(mount),
            v1_memory: found.iter().find(|hierarchy| hierarchy.has("memory")).map(mount),
        })
    }

    /// What a group uses. `path` leads from the root of its hierarchy, with a leading slash. Where the host has several
    /// hierarchies, the groups of the same path in each are taken for one, as all that make groups there keep it.
    /// What the kernel does not say is `None`, above all if the group is no more.
    #[must_use]
    pub fn read(&self, path: &str) -> GroupResources {
        let below = Path::new(path.trim_start_matches('/'));
        let v2 = self.v2.as_ref().map(|mount| mount.join(below));
        let v1 = self.v1_memory.as_ref().map(|mount| mount.join(below));
        let memory = |v2_file: &str, v1_file: &str| {
            number(v2.as_deref(), v2_file).or_else(|| number(v1.as_deref(), v1_file))
        };
        let pressure = |file: &str| parse_pressure(&text(v2.as_deref(), file)?);
        GroupResources {
            memory_bytes: memory("memory.current", "memory.usage_in_bytes"),
            memory_limit_bytes: memory("memory.max", "memory.limit_in_bytes")
                .filter(|&limit| limit < NO_LIMIT),
            cpu_pressure: pressure("cpu.pressure"),
            memory_pressure: pressure("memory.pressure"),
            io_pressure: pressure("io.pressure"),
        }
    }
}

/// `None` also if the file is there and pressure accounting is off: reading it then fails.
fn text(group: Option<&Path>, file: &str) -> Option<String> {
    let text: io::Result<String> = fs::read_to_string(group?.join(file));
    text.ok()
}

/// `None` for `max`, too.
fn number(group: Option<&Path>, file: &str) -> Option<u64> {
    text(group, file)?.trim_end().parse().ok()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and perhaps a second line for `full`.
fn parse_pressure(text: &str) -> Option<Pressure> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let some = parse_stall(line("some")?)?;
    Some(Pressure { some, full: line("full").and_then(parse_stall) })
}

fn parse_stall(line: &str) -> Option<Stalled> {
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    // Always with two decimals.
    let (whole, hundredths) = value("avg10")?.split_once('.')?;
    let hundredths = (hundredths.len() == 2).then(|| hundredths.parse::<u64>().ok()).flatten()?;
    let hundredths = whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    // In microseconds.
    let total_ns = value("total")?.parse::<u64>().ok()?.checked_mul(1_000)?;
    Some(Stalled { avg10: Percent { hundredths }, total_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(root).unwrap();
        for (name, text) in files {
            fs::write(root.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_pure_v2_host() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root.path().join("system.slice/nginx.service"),
            &[
                ("memory.current", "12345678\n"),
                ("memory.max", "max\n"),
                // Before 5.13 there is no second line for CPUs.
                ("cpu.pressure", "some avg10=1.25 avg60=0.10 avg300=0.00 total=1234567\n"),
                (
                    "io.pressure",
                    "some avg10=100.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.07 avg60=0.00 avg300=0.00 total=4\n",
                ),
            ],
        );
        let groups = Groups { v2: Some(root.path().into()), v1_memory: None };
        let read = groups.read("/system.slice/nginx.service");
        let stall = |hundredths, total_ns| Stalled { avg10: Percent { hundredths }, total_ns };
        let expected = GroupResources {
            memory_bytes: Some(12_345_678),
            memory_limit_bytes: None,
            cpu_pressure: Some(Pressure { some: stall(125, 1_234_567_000), full: None }),
            memory_pressure: None,
            io_pressure: Some(Pressure { some: stall(10_000, 5_000), full: Some(stall(7, 4_000)) }),
        };
        assert_eq!(read, expected);
        assert_eq!(groups.read("/gone"), GroupResources::default());
        assert_eq!(Groups::default().read("/"), GroupResources::default());
    }

    #[test]
    fn a_hybrid_host() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("unified/a"), &[("memory.pressure", "some avg10=0.00 total=0\n")]);
        write(
            &root.path().join("memory/a"),
            &[("memory.usage_in_bytes", "4096\n"), ("memory.limit_in_bytes", "8192\n")],
        );
        write(&root.path().join("memory/b"), &[("memory.limit_in_bytes", "9223372036854771712\n")]);
        let groups =
            Groups { v2: Some(root.path().join("unified")), v1_memory: Some(root.path().join("memory")) };
        let read = groups.read("/a");
        assert_eq!((read.memory_bytes, read.memory_limit_bytes), (Some(4096), Some(8192)));
        assert_eq!(read.memory_pressure, Some(Pressure { some: Stalled::default(), full: None }));
        assert_eq!(groups.read("/b"), GroupResources::default(), "that limit is none");
    }

    #[test]
    fn what_is_no_pressure_is_none() {
        for text in
            ["", "some", "some avg10=1.0 total=1", "some avg10=x.00 total=1", "full avg10=1.00 total=1"]
        {
            assert_eq!(parse_pressure(text), None, "{text}");
        }
        let huge = "some avg10=1.00 total=99999999999999999999";
        assert_eq!(parse_pressure(huge), None);
    }
}
