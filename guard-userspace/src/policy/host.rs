//! What policies need of the host that they are for.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use guard_core::policy::{Need, Needed};

/// A host's users and groups.
#[derive(Debug, Default)]
pub struct Host {
    users: HashSet<String>,
    groups: HashSet<String>,
}

impl Host {
    /// This host's, from the given directory, which is /etc.
    #[must_use]
    pub fn read(etc: &Path) -> Self {
        let names = |file: &str| {
            let text = fs::read_to_string(etc.join(file)).unwrap_or_default();
            text.lines().filter_map(|line| line.split(':').next().map(str::to_owned)).collect()
        };
        Self { users: names("passwd"), groups: names("group") }
    }

    /// Why the host does not have it; `None`: it does.
    #[must_use]
    pub fn lacks(&self, need: &Need) -> Option<String> {
        match &need.what {
            Needed::User(name) if is_missing(&self.users, name) => {
                Some(format!("this host has no user `{name}`"))
            }
            Needed::Group(name) if is_missing(&self.groups, name) => {
                Some(format!("this host has no group `{name}`"))
            }
            Needed::User(_) | Needed::Group(_) => None,
            Needed::Program(path) => match fs::metadata(path) {
                Err(error) => Some(format!("the program `{path}` cannot be run here: {error}")),
                Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 == 0 => {
                    Some(format!("`{path}` is no program that can be run"))
                }
                Ok(_) => None,
            },
            Needed::Directory(path) => match fs::metadata(path) {
                Err(error) => Some(format!("the directory `{path}` cannot be used here: {error}")),
                Ok(file) if !file.is_dir() => Some(format!("`{path}` is no directory")),
                Ok(_) => None,
            },
            Needed::File(path) => fs::metadata(path)
                .err()
                .map(|error| format!("the file `{path}` cannot be read here: {error}")),
        }
    }
}

/// Numbers need no name.
fn is_missing(names: &HashSet<String>, name: &str) -> bool {
    name.parse::<u32>().is_err() && !names.contains(name)
}

#[cfg(test)]
mod tests {
    use guard_core::policy::Place;

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:\n").unwrap();
        let host = Host::read(etc.path());
        let lacks = |what| host.lacks(&Need { place: Place { file: 0, range: 0..0 }, what });
        assert_eq!(lacks(Needed::User("web".into())), None);
        assert_eq!(lacks(Needed::User("4711".into())), None);
        assert_eq!(lacks(Needed::User("nobody".into())).unwrap(), "this host has no user `nobody`");
        assert_eq!(lacks(Needed::Group("web".into())).unwrap(), "this host has no group `web`");
        assert_eq!(lacks(Needed::Program("/bin/sh".into())), None);
        assert_eq!(
            lacks(Needed::Program("/etc/passwd".into())).unwrap(),
            "`/etc/passwd` is no program that can be run"
        );
        assert!(lacks(Needed::Program("/none".into())).unwrap().contains("No such file"));
        assert_eq!(lacks(Needed::Directory("/etc".into())), None);
        assert_eq!(lacks(Needed::Directory("/etc/passwd".into())).unwrap(), "`/etc/passwd` is no directory");
        assert!(lacks(Needed::File("/none".into())).is_some());
    }
}
