//! Every example in the documents is run as it stands.
//!
//! In README.md, lines of `console` blocks that begin with `$ ` are shell commands; `sh` blocks are
//! the two commands, which CI and this suite itself run. In `--help`, examples are the lines below
//! EXAMPLES that begin with `processguard`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::host;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// A shell with the product on its PATH, in a directory of its own.
struct Shell {
    directory: TempDir,
}

impl Shell {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::copy(host::processguard()?, directory.path().join("processguard"))?;
        Ok(Self { directory })
    }

    /// Runs one line. Returns what it printed.
    fn run(&self, line: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", line])
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", self.directory.path().display()))
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "`{line}` ended with {}: {said}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The bpf file system where the documents say that it is: systemd mounts it, this machine may not.
struct Bpffs {
    is_ours: bool,
}

impl Bpffs {
    fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
        let is_ours = !mounts.lines().any(|line| line.contains(" /sys/fs/bpf bpf "));
        if is_ours {
            mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None).context("mount /sys/fs/bpf")?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if self.is_ours {
            // What a failed test left pinned goes with it.
            let _ = unmount("/sys/fs/bpf", UnmountFlags::DETACH);
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_readme_examples_run() -> Result<()> {
    let readme = fs::read_to_string(workspace().join("README.md"))?;
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            commands.push(command);
        }
    }
    ensure!(commands.len() >= 8, "only {} examples found: has their form changed?", commands.len());
    let (shell, _bpffs) = (Shell::new()?, Bpffs::new()?);
    for command in commands {
        shell.run(command)?;
    }
    let completions = fs::read_to_string(shell.directory.path().join("processguard.bash"))?;
    ensure!(completions.contains("--redact"), "the completions lack an option");
    Ok(())
}

/// The examples of `--help` are written for an operator's host: files lie in /var/log, pids are
/// theirs, and one runs until Ctrl-C. These are put in their place; all else stays.
#[test]
fn the_help_examples_run() -> Result<()> {
    let shell = Shell::new()?;
    let help = shell.run("processguard trace --help")?;
    let examples: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "EXAMPLES")
        .map(str::trim)
        .take_while(|line| *line != "FILES")
        .filter(|line| line.starts_with("processguard "))
        .collect();
    ensure!(examples.len() >= 5, "only {} examples found: has their form changed?", examples.len());
    let pid = std::process::id().to_string();
    let saved = shell.directory.path().join("pg.json").display().to_string();
    for example in examples {
        let mut line = example.replace("/var/log/pg.json", &saved).replace(" 812", &format!(" {pid}"));
        if line.contains("--duration") {
            line = line.replace("--duration 30s", "--duration 1s");
        } else if !line.contains("--input") {
            line.push_str(" --duration 1s");
        }
        shell.run(&line).with_context(|| format!("example: {example}"))?;
    }
    Ok(())
}

/// The recorder's examples record into a directory of the test, for two seconds each.
#[test]
fn the_help_examples_of_the_recorder_run() -> Result<()> {
    let (shell, _bpffs) = (Shell::new()?, Bpffs::new()?);
    let place = shell.directory.path().join("recording").display().to_string();
    let mut examples = Vec::new();
    for verb in ["record", "sensor"] {
        let help = shell.run(&format!("processguard {verb} --help"))?;
        let lines =
            help.lines().skip_while(|line| *line != "EXAMPLES").take_while(|line| *line != "HOW IT WORKS");
        let lines = lines.map(str::trim).filter(|line| line.starts_with("processguard "));
        examples.extend(lines.map(ToOwned::to_owned));
    }
    ensure!(examples.len() >= 5, "only {} examples found: has their form changed?", examples.len());
    for example in examples {
        let line = example.replace("/var/lib/processguard/recording", &place).replace("/srv/rec", &place);
        let line = match line.starts_with("processguard record") {
            true => format!("timeout --preserve-status --signal TERM 2 {line}"),
            false => line,
        };
        shell.run(&line).with_context(|| format!("example: {example}"))?;
    }
    Ok(())
}

/// Pictures can be taken anywhere; the other examples need a terminal, and `tests/host/interface/top.rs` has one.
#[test]
fn the_help_examples_of_top_run() -> Result<()> {
    let shell = Shell::new()?;
    let help = shell.run("processguard top --help")?;
    let examples = help.lines().map(str::trim).filter(|line| line.starts_with("processguard top --once"));
    let examples: Vec<_> = examples.map(|line| line.replace("--interval 5s", "--interval 1s")).collect();
    ensure!(examples.len() >= 2, "only {} examples found: has their form changed?", examples.len());
    for example in examples {
        shell.run(&example).with_context(|| format!("example: {example}"))?;
    }
    let picture = fs::read_to_string(shell.directory.path().join("picture.json"))?;
    ensure!(picture.contains("\"deaths\""), "no deaths in {picture}");
    Ok(())
}

#[test]
fn the_exit_codes_of_the_help_are_all() -> Result<()> {
    let shell = Shell::new()?;
    for verb in ["trace", "record", "sensor", "top", "probe", "completions"] {
        let help = shell.run(&format!("processguard {verb} --help"))?;
        ensure!(help.contains("EXIT STATUS"), "{verb} --help has no exit status");
    }
    Ok(())
}
