//! Every example in the documents is run as it stands.
//!
//! In README.md and docs/daemon.md, lines of `console` blocks that begin with `$ ` are shell commands; `sh` blocks are
//! the two commands, which CI and this suite itself run. In `--help`, examples are the lines below
//! EXAMPLES that begin with `processguard`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The control group of the guide's daemon. If an example fails half-way, daemon and services end with it.
struct Group {
    path: PathBuf,
}

impl Group {
    fn new() -> Result<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists());
        let path = root.context("no cgroup v2 is mounted")?.join("processguard");
        let is_used =
            fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"));
        ensure!(!is_used, "a daemon keeps services in {}: it would be disturbed", path.display());
        Ok(Self { path })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let end = Instant::now() + Duration::from_secs(10);
        while self.path.exists() && Instant::now() < end {
            for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            let _ = fs::remove_dir(&self.path);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The processes whose pids the guide writes to files: ended if an example was not.
struct Started(PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        for name in ["daemon", "server"] {
            let Ok(pid) = fs::read_to_string(self.0.join(format!("{name}.pid"))) else { continue };
            // The number may be somebody else's by now: ours is known by where it was started.
            if fs::read_link(format!("/proc/{}/cwd", pid.trim())).is_ok_and(|place| place == self.0) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            }
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands of a document's `console` blocks.
fn examples(document: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join(document)).context(document.to_owned())?;
    let (mut commands, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        }
    }
    ensure!(commands.len() >= 8, "only {} examples found: has their form changed?", commands.len());
    Ok(commands)
}

/// Runs them in order, in one directory, on a host without another daemon.
fn run_examples(document: &str) -> Result<Shell> {
    let (shell, _bpffs, _group) = (Shell::new()?, Bpffs::new()?, Group::new()?);
    let _started = Started(shell.directory.path().to_owned());
    for command in examples(document)? {
        shell.run(&command)?;
    }
    Ok(shell)
}

#[test]
fn the_readme_examples_run() -> Result<()> {
    let shell = run_examples("README.md")?;
    let completions = fs::read_to_string(shell.directory.path().join("processguard.bash"))?;
    ensure!(completions.contains("--redact"), "the completions lack an option");
    Ok(())
}

#[test]
fn the_examples_of_the_page_on_the_daemon_run() -> Result<()> {
    run_examples("docs/daemon.md").map(drop)
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

/// A host of the policies' examples: the shipped stories are `policies/`, what holds now lies where `/etc/processguard/policies` is
/// said, and something was recorded.
fn with_policies() -> Result<Shell> {
    let shell = Shell::new()?;
    let shipped = workspace().join("policies");
    let place = shell.directory.path().to_owned();
    let copy = |from: &Path, to: &str| fs::copy(from, place.join(to)).context("copy").map(|_bytes| ());
    for story in fs::read_dir(shipped.join("stories"))? {
        let story = story?.path();
        if !story.is_dir() {
            continue;
        }
        let name = story.file_name().context("no name")?.to_string_lossy().into_owned();
        fs::create_dir_all(place.join("policies/stories").join(&name))?;
        for file in fs::read_dir(&story)? {
            let file = file?.path();
            // What its servers need is no policy.
            if !file.is_file() {
                continue;
            }
            let file_name = file.file_name().context("no name")?.to_string_lossy().into_owned();
            copy(&file, &format!("policies/stories/{name}/{file_name}"))?;
        }
    }
    copy(&shipped.join("recordings/shop/shop.json"), "pg.json")?;
    fs::create_dir(place.join("now"))?;
    let policy = "version: processguard/v1\nservice: checkout\nimpact: low\nrun: { command: [/bin/sh, -c, sleep 9] }\n";
    fs::write(place.join("now/checkout.yaml"), policy)?;
    fs::write(place.join("old.yaml"), policy)?;
    fs::write(place.join("new.yaml"), policy.replace("sleep 9", "sleep 10"))?;
    Ok(shell)
}

/// Paths of an operator's host are put in their place; `explain` without any asks for what holds now.
fn placed(example: &str) -> String {
    let line = example.replace("/etc/processguard/policies", "now").replace("/var/log/pg.json", "pg.json");
    if line.contains("policy explain") && !line.contains("--policies") {
        line + " --policies now"
    } else {
        line
    }
}

#[test]
fn the_help_examples_of_policy_run() -> Result<()> {
    let shell = with_policies()?;
    let mut said = Vec::new();
    for verb in ["check", "explain", "diff", "test", "schema"] {
        let help = shell.run(&format!("processguard policy {verb} --help"))?;
        let below = help.lines().skip_while(|line| *line != "EXAMPLES");
        let below = below.take_while(|line| !["SCENARIOS", "EXIT STATUS"].contains(line)).map(str::trim);
        let examples: Vec<&str> = below.filter(|line| line.starts_with("processguard ")).collect();
        ensure!(!examples.is_empty(), "{verb} --help has no examples: has their form changed?");
        for example in examples {
            let output = shell.run(&placed(example)).with_context(|| format!("example: {example}"))?;
            said.push((example.to_owned(), output));
        }
    }
    ensure!(said.len() >= 12, "only {} examples found: has their form changed?", said.len());
    let output = |part: &str| said.iter().find(|(example, _)| example.contains(part)).map(|(_, said)| said);
    let has = |part: &str, text: &str| output(part).is_some_and(|said| said.contains(text));
    ensure!(has("--recording", "not watched"), "{said:#?}");
    ensure!(has("leak.scenario.yaml --show", "memory.rss"), "{said:#?}");
    ensure!(output("old.yaml").map(String::as_str) == Some("checkout\n"), "{said:#?}");
    let schema = fs::read_to_string(shell.directory.path().join("policy.schema.json"))?;
    ensure!(schema.contains("restart_via"), "the schema lacks a key");
    Ok(())
}

/// The commands of docs/policies.md, with something for each placeholder.
#[test]
fn the_commands_of_the_page_on_policies_run() -> Result<()> {
    let shell = with_policies()?;
    let page = fs::read_to_string(workspace().join("docs/policies.md"))?;
    let (above, _) = page.split_once("## All keys").context("no reference")?;
    let commands: Vec<&str> =
        above.split('`').filter(|piece| piece.starts_with("processguard policy ")).collect();
    ensure!(commands.len() >= 6, "only {} commands found: has their form changed?", commands.len());
    for command in commands {
        let line = [
            ("PATH...", "policies"),
            ("PATH", "policies"),
            ("SERVICE", "checkout"),
            ("OLD NEW", "old.yaml new.yaml"),
            ("SCENARIO...", "policies/stories/checkout/leak.scenario.yaml"),
            ("FILE", "pg.json"),
        ]
        .iter()
        .fold(command.to_owned(), |line, (name, value)| line.replace(name, value));
        ensure!(
            !line.split(' ').any(|word| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase())),
            "{line}"
        );
        shell.run(&placed(&line)).with_context(|| format!("command: {command}"))?;
    }
    Ok(())
}

#[test]
fn the_exit_codes_of_the_help_are_all() -> Result<()> {
    let shell = Shell::new()?;
    for verb in ["trace", "record", "sensor", "top", "probe", "policy", "completions"] {
        let help = shell.run(&format!("processguard {verb} --help"))?;
        ensure!(help.contains("EXIT STATUS"), "{verb} --help has no exit status");
    }
    Ok(())
}
