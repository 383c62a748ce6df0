//! Control groups of the tests' own, removed when they are dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    made: Vec<PathBuf>,
    path: PathBuf,
}

impl Cgroup {
    /// In cgroup v2: below `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid system.
    ///
    /// # Errors
    /// If there is no cgroup v2.
    pub fn v2(path: &str) -> Result<Self> {
        let root = mounted(|kind, _| kind == "cgroup2").context("no cgroup v2 is mounted")?;
        Self::make(root, path)
    }

    /// In the first version's hierarchy of a controller, where there is one, else in cgroup v2.
    ///
    /// # Errors
    /// If there is neither.
    pub fn v1(controller: &str, path: &str) -> Result<Self> {
        match v1(controller) {
            Ok(root) => Self::make(root, path),
            Err(_) => Self::v2(path),
        }
    }

    /// With a memory limit, wherever the memory controller is.
    ///
    /// # Errors
    /// If there is none.
    pub fn memory(path: &str, bytes: u64) -> Result<Self> {
        let (group, file) = match v1("memory") {
            Ok(root) => (Self::make(root, path)?, "memory.limit_in_bytes"),
            Err(_) => {
                let group = Self::v2(path).context("no memory controller")?;
                // A controller is handed down from each level to the next, and not in the leaf.
                let above: Vec<&Path> =
                    group.path.ancestors().skip(1).take_while(|path| path.starts_with(&group.root)).collect();
                for directory in above.into_iter().rev() {
                    fs::write(directory.join("cgroup.subtree_control"), "+memory").context("+memory")?;
                }
                (group, "memory.max")
            }
        };
        fs::write(group.directory().join(file), bytes.to_string()).context("limit the memory")?;
        Ok(group)
    }

    fn make(root: PathBuf, path: &str) -> Result<Self> {
        let mut group = Self { path: root.clone(), root, made: Vec::new() };
        for part in path.split('/') {
            group.path.push(part);
            if !group.path.exists() {
                fs::create_dir(&group.path).with_context(|| format!("mkdir {}", group.path.display()))?;
                group.made.push(group.path.clone());
            }
        }
        Ok(group)
    }

    /// Where it lies in the file system.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// Its path below the hierarchy's root, beginning with a slash.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.path.strip_prefix(&self.root).unwrap_or(&self.path).display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // It is busy until the last process in it is gone altogether.
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Where the first version's hierarchy of a controller is mounted.
fn v1(controller: &str) -> Result<PathBuf> {
    mounted(|kind, options| kind == "cgroup" && options.split(',').any(|option| option == controller))
}

/// The first mount point whose file system type and options suit.
fn mounted(suits: impl Fn(&str, &str) -> bool) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        suits(kind, options).then(|| place.into())
    });
    found.context("no such control group hierarchy")
}
