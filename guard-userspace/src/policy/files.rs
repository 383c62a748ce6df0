//! Files of policies: which there are, and what they hold.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use guard_core::policy::{Bounds, Source};

use crate::show::escape;

/// What a scenario's name ends with.
pub const SCENARIO: &str = ".scenario.yaml";

/// Directories inside each other. Deeper ones are a mistake, or a loop of mounts.
const DEPTH: usize = 32;

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", shown(path))]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a device, a pipe or a socket.
    #[error("{} is neither a file nor a directory", shown(.0))]
    Special(PathBuf),
    /// Directories lie too deep inside each other.
    #[error("{} lies more than {DEPTH} directories deep", shown(.0))]
    Deep(PathBuf),
    /// There is nothing to read.
    #[error("no {what} in {}", list(.paths))]
    None {
        /// What was looked for.
        what: &'static str,
        /// Where.
        paths: Vec<PathBuf>,
    },
    /// It cannot be written.
    #[error("cannot write {}", shown(path))]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Special(_) => {
                "name files or directories that you may read, or - for standard input"
            }
            Self::Deep(_) => "name the directory that holds the files",
            Self::None { .. } => {
                "names of policies end with .yaml or .yml, names of scenarios with .scenario.yaml"
            }
            Self::Write { .. } => "give write permission to its directory",
        }
    }
}

/// A path for a message.
#[must_use]
pub fn shown(path: &Path) -> String {
    escape::display(path.as_os_str().as_encoded_bytes())
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| shown(path)).collect();
    shown.join(", ")
}

/// What lies below paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `.yaml` and `.yml`, but no scenarios.
    Policies,
    /// `.scenario.yaml`.
    Scenarios,
}

impl Wanted {
    const fn what(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Scenarios => "scenarios",
        }
    }

    fn takes(self, name: &str) -> bool {
        match self {
            Self::Policies => {
                (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.ends_with(SCENARIO)
            }
            Self::Scenarios => name.ends_with(SCENARIO),
        }
    }
}

/// A file and what it holds.
#[derive(Clone, Debug)]
pub struct Text {
    /// Where it is.
    pub path: PathBuf,
    /// What it is called in messages.
    pub name: String,
    /// Its bytes, at most one more than are allowed.
    pub bytes: Vec<u8>,
}

impl Text {
    /// As the core reads it.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        Source { name: &self.name, bytes: &self.bytes }
    }
}

/// Files that are named, and all that lie below directories that are named, in order of path. Hidden ones are left out.
///
/// # Errors
/// If something cannot be read, or there are none.
pub fn find(named: &[PathBuf], wanted: Wanted) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in named {
        if path == Path::new("-") {
            found.push(path.clone());
            continue;
        }
        let kind = fs::metadata(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        if kind.is_dir() {
            below(path, wanted, 0, &mut found)?;
        } else if kind.is_file() {
            found.push(path.clone());
        } else {
            return Err(Error::Special(path.clone()));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(Error::None { what: wanted.what(), paths: named.to_vec() });
    }
    Ok(found)
}

fn below(directory: &Path, wanted: Wanted, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    if depth > DEPTH {
        return Err(Error::Deep(directory.to_owned()));
    }
    let failed = |source| Error::Read { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            below(&path, wanted, depth + 1, found)?;
        } else if wanted.takes(&name) && path.is_file() {
            // Also what a link leads to: a directory of policies is often made of links.
            found.push(path);
        }
    }
    Ok(())
}

/// Reads files, each no further than its size can be told to be too large.
///
/// # Errors
/// If one cannot be read.
pub fn read(paths: Vec<PathBuf>) -> Result<Vec<Text>, Error> {
    paths.into_iter().map(read_one).collect()
}

fn read_one(path: PathBuf) -> Result<Text, Error> {
    let limit = Bounds::default().bytes as u64 + 1;
    let mut bytes = Vec::new();
    let (name, read) = if path == Path::new("-") {
        ("standard input".to_owned(), io::stdin().lock().take(limit).read_to_end(&mut bytes))
    } else {
        let read = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        (shown(&path), read)
    };
    match read {
        Ok(_) => Ok(Text { path, name, bytes }),
        Err(source) => Err(Error::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_scenarios_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("sub")).unwrap();
        for name in ["b.yaml", "a.yml", "sub/c.yaml", "a.scenario.yaml", "notes.txt", ".hidden.yaml"] {
            fs::write(root.join(name), name).unwrap();
        }
        let names = |wanted| -> Vec<String> {
            let found = find(&[root.to_owned()], wanted).unwrap();
            let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.iter().map(name).collect()
        };
        assert_eq!(names(Wanted::Policies), ["a.yml", "b.yaml", "sub/c.yaml"]);
        assert_eq!(names(Wanted::Scenarios), ["a.scenario.yaml"]);
        // What is named is taken, whatever it is called; once, however often.
        let named = [root.join("notes.txt"), root.join("notes.txt")];
        assert_eq!(find(&named, Wanted::Policies).unwrap(), [root.join("notes.txt")]);
    }

    #[test]
    fn what_is_not_there_or_no_file_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let missing = find(&[directory.path().join("x")], Wanted::Policies).unwrap_err();
        assert!(matches!(missing, Error::Read { .. }), "{missing}");
        let empty = find(&[directory.path().to_owned()], Wanted::Policies).unwrap_err();
        assert!(empty.to_string().starts_with("no policies in "), "{empty}");
        let special = find(&[PathBuf::from("/dev/null")], Wanted::Policies).unwrap_err();
        assert!(matches!(special, Error::Special(_)), "{special}");
    }

    #[test]
    fn a_huge_file_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.yaml");
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let texts = read(vec![path]).unwrap();
        assert_eq!(texts[0].bytes.len(), Bounds::default().bytes + 1);
    }
}
