//! The files of a recording: numbered, each complete in itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "stream-";
const SUFFIX: &str = ".pgrec";

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Its number, from 1.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// The file of this number.
    #[must_use]
    pub fn new(directory: &Path, number: u64) -> Self {
        Self { number, path: directory.join(format!("{PREFIX}{number:08}{SUFFIX}")) }
    }

    /// Where it is written until it is complete in itself.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.path.with_extension("new")
    }
}

/// All files of a recording, oldest first.
///
/// # Errors
/// If the directory cannot be read.
pub fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| number(name.to_str()?));
        if let Some(number) = number {
            found.push(Segment { number, path });
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_their_order_and_others_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(segments(directory.path()).unwrap(), []);
        let expected: Vec<_> = [2, 9, 10, 123_456_789].map(|n| Segment::new(directory.path(), n)).into();
        for segment in expected.iter().rev() {
            fs::write(&segment.path, "").unwrap();
            fs::write(segment.unfinished(), "").unwrap();
        }
        fs::write(directory.path().join("stream-x.pgrec"), "").unwrap();
        assert_eq!(segments(directory.path()).unwrap(), expected);
    }
}
