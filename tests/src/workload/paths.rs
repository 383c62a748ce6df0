//! `exec-path --kind KIND`: runs `report` in a copy of this program, reached in a way that makes
//! its path hard to know. The report tells the path and working directory as the kernel knows
//! them.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::MemfdFlags;
use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::json;

use super::Args;
use super::child::{Child, with};
use super::truth::Truth;
use crate::sys;
use crate::workload::elf;

/// A program that cannot be named from outside: `/proc` has no place for a path longer than
/// `PATH_MAX` (4096).
const DEEP: usize = 70;
/// Bytes of each directory's name on the way to it.
const DEEP_NAME: usize = 60;

pub(super) fn run(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let kind = args.get("kind").and_then(|kind| kind.to_str()).context("--kind is missing")?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let place = Place { root: directory.path().to_owned(), report: report(args, kind) };
    let child = Child::fork(|| Err(place.exec(kind)?))?;
    let line = with(child.wait("process")?, "kind", kind);
    truth.line(&with(line, "directory", json!(directory.path().to_string_lossy())))
}

/// The arguments of the program that reports.
fn report(args: &Args, kind: &str) -> Vec<Vec<u8>> {
    let truth = args.get("truth").map_or(OsStr::new("/dev/null"), |path| path.as_os_str());
    let words: [&[u8]; 6] = [kind.as_bytes(), b"report", b"--what", b"report", b"--truth", truth.as_bytes()];
    words.map(<[u8]>::to_vec).to_vec()
}

struct Place {
    root: PathBuf,
    report: Vec<Vec<u8>>,
}

impl Place {
    /// Makes the place, goes there and runs the program. Returns only if that failed.
    fn exec(&self, kind: &str) -> Result<anyhow::Error> {
        let work = self.root.join("work");
        fs::create_dir(&work).context("mkdir work")?;
        Ok(match kind {
            "absolute" => self.run(self.copy(&work)?.as_os_str().as_bytes()),
            "relative" => {
                self.copy(&work)?;
                go(&self.root)?;
                self.run(b"./work/../work/program")
            }
            "symlink" => {
                let program = self.copy(&work)?;
                std::os::unix::fs::symlink(program, self.root.join("link")).context("symlink")?;
                go(&work)?;
                self.run(b"../link")
            }
            "fexecve" => {
                let program = open(&self.copy(&work)?)?;
                go(&work)?;
                self.run_file(&program)
            }
            "deleted-executable" => {
                let path = self.copy(&work)?;
                let program = open(&path)?;
                fs::remove_file(&path).context("unlink")?;
                self.run_file(&program)
            }
            "deleted-directory" => {
                let program = self.copy(&self.root)?;
                go(&work)?;
                fs::remove_dir(&work).context("rmdir")?;
                self.run(program.as_os_str().as_bytes())
            }
            "executable-in-deleted-directory" => {
                let program = open(&self.copy(&work)?)?;
                go(&work)?;
                fs::remove_dir_all(&work).context("rmdir")?;
                self.run_file(&program)
            }
            "renamed" => {
                let program = open(&self.copy(&work)?)?;
                go(&work)?;
                fs::rename(&work, self.root.join("moved")).context("rename")?;
                self.run_file(&program)
            }
            "memfd" => self.run_file(&memfd()?),
            "tmpfs" => self.in_tmpfs(&work, 1)?,
            "stacked-tmpfs" => self.in_tmpfs(&work, 3)?,
            "bind" => self.in_bind_mount(&work)?,
            "chroot" => self.in_chroot(&work)?,
            "deep" => self.in_depth(&work)?,
            _ => bail!("unknown kind {kind:?}"),
        })
    }

    /// Copies this program there.
    fn copy(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join("program");
        fs::copy("/proc/self/exe", &path).context("copy this program")?;
        Ok(path)
    }

    fn run(&self, path: &[u8]) -> anyhow::Error {
        sys::execveat(libc::AT_FDCWD, path, &self.report)
    }

    fn run_file(&self, file: &impl std::os::fd::AsRawFd) -> anyhow::Error {
        sys::execveat(file.as_raw_fd(), b"", &self.report)
    }

    /// In a file system that exists in this process's mount namespace only.
    fn in_tmpfs(&self, work: &Path, layers: u32) -> Result<anyhow::Error> {
        private_mounts()?;
        for _ in 0..layers {
            rustix::mount::mount("tmpfs", work, "tmpfs", MountFlags::empty(), None).context("mount")?;
        }
        let inner = work.join("inner");
        fs::create_dir(&inner).context("mkdir inner")?;
        self.copy(&inner)?;
        go(&inner)?;
        Ok(self.run(b"./program"))
    }

    /// Under a name that exists in this process's mount namespace only.
    fn in_bind_mount(&self, work: &Path) -> Result<anyhow::Error> {
        private_mounts()?;
        let (source, inner) = (self.root.join("source"), self.root.join("source/inner"));
        fs::create_dir_all(&inner).context("mkdir source/inner")?;
        self.copy(&inner)?;
        rustix::mount::mount_bind(&source, work).context("bind mount")?;
        go(&work.join("inner"))?;
        Ok(self.run(b"./program"))
    }

    /// Where nothing but a static program runs.
    fn in_chroot(&self, work: &Path) -> Result<anyhow::Error> {
        elf::write(&work.join("bin/program"))?;
        rustix::process::chroot(work).context("chroot")?;
        go(Path::new("/bin"))?;
        Ok(self.run(b"/bin/program"))
    }

    /// At the end of a path that is longer than any path may be.
    fn in_depth(&self, work: &Path) -> Result<anyhow::Error> {
        go(work)?;
        let name = "d".repeat(DEEP_NAME);
        for _ in 0..DEEP {
            fs::create_dir(&name).context("mkdir")?;
            go(Path::new(&name))?;
        }
        elf::write(Path::new("program"))?;
        Ok(self.run(b"./program"))
    }
}

fn go(directory: &Path) -> Result<()> {
    std::env::set_current_dir(directory).with_context(|| format!("chdir {}", directory.display()))
}

/// A file to be executed, gone for the program that it becomes.
fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("open {}", path.display()))
}

/// This program in a file that has no directory.
fn memfd() -> Result<File> {
    let name = CString::new("in-memory")?;
    let file = rustix::fs::memfd_create(&name, MemfdFlags::CLOEXEC).context("memfd_create")?;
    let mut file = File::from(file);
    std::io::copy(&mut open(Path::new("/proc/self/exe"))?, &mut file).context("copy this program")?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(&path).with_context(|| format!("open {path}")) // Writable files are not run.
}

/// From now on, mounts are this process's own.
fn private_mounts() -> Result<()> {
    // SAFETY: no pointers; this process has one thread.
    sys::check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).context("unshare(CLONE_NEWNS)")?;
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).context("make mounts private")
}
