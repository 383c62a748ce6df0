//! Writes the archive that a kernel unpacks as its first file system: cpio, "newc" format.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;

/// An archive in the making. Directories come by themselves.
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), directories: BTreeSet::new(), inode: 0 }
    }

    /// An empty directory.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        if let Some((parent, _)) = path.trim_start_matches('/').rsplit_once('/') {
            self.directory(parent)?;
        }
        let path = path.trim_start_matches('/');
        if !path.is_empty() && self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, &[])?;
        }
        Ok(())
    }

    /// A file that can be run, with this content.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path.trim_start_matches('/'), PROGRAM, content)
    }

    /// A copy of a file of this system, whatever links lead to it.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(path, &content)
    }

    /// A symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path.trim_start_matches('/'), SYMLINK, target.as_bytes())
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        path.trim_start_matches('/').rsplit_once('/').map_or(Ok(()), |(parent, _)| self.directory(parent))
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{path}: too large"))?;
        let name = u32::try_from(path.len() + 1).with_context(|| format!("{path}: a long name"))?;
        // inode, mode, uid, gid, links, time, size, device and its number (2 x 2), name, checksum
        let header = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        for number in header {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn an_archive_is_what_the_kernel_reads() {
        let mut archive = Archive::new();
        archive.file("/a/b/program", b"12345").unwrap();
        archive.symlink("a/link", "b").unwrap();
        archive.directory("/a/b").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let names: Vec<_> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/program", "a/link", "TRAILER!!!"]);
        let program = text.split("070701").nth(3).unwrap();
        assert_eq!(&program[8..16], "000081ed");
        assert_eq!(&program[48..56], "00000005");
        assert!(program.contains("a/b/program\0\0\0\x31\x32\x33\x34\x35\0\0\0"), "{program:?}");
    }
}
