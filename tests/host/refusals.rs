//! Bad places and bad input: one clear line, a documented exit code, nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use guard_tests::{bpf, host};
use tempfile::TempDir;

/// The product in a place that every user may reach.
fn public() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let program = directory.path().join("processguard");
    fs::copy(host::processguard()?, &program)?;
    Ok((directory, program))
}

/// Runs the product to its end as a user.
pub(crate) fn run(uid: u32, arguments: &[&str]) -> Result<Output> {
    let (_directory, program) = public()?;
    let output = Command::new(program).args(arguments).uid(uid).gid(uid).output()?;
    println!("{arguments:?} {:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// What `trace --help` says: asked once.
fn help() -> Result<&'static str> {
    static HELP: OnceLock<String> = OnceLock::new();
    if let Some(help) = HELP.get() {
        return Ok(help);
    }
    let help = String::from_utf8(run(0, &["trace", "--help"])?.stdout)?;
    Ok(HELP.get_or_init(|| help))
}

/// Checks for a failure that says why in a few words, with a code that `--help` tells.
pub(crate) fn assert_refused(output: &Output, words: &[&str]) -> Result<()> {
    let stderr = String::from_utf8(output.stderr.clone())?;
    let code = output.status.code().context("it was killed")?;
    ensure!(code != 0 && code != 101, "exit code {code}: {stderr}");
    let help = help()?;
    let documented = help.lines().any(|line| line.trim_start().starts_with(&format!("{code} ")));
    ensure!(documented, "exit code {code} is not in --help:\n{help}");
    for word in words {
        ensure!(stderr.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {stderr}");
    }
    ensure!(stderr.lines().count() <= 6, "a long story: {stderr}");
    Ok(())
}

#[test]
fn without_root() -> Result<()> {
    let output = run(65_534, &["trace", "--format", "json"])?;
    assert_refused(&output, &["root"])?;
    assert_eq!(output.stdout, b"");
    Ok(())
}

#[test]
fn without_root_the_probe_says_what_is_missing() -> Result<()> {
    let output = run(65_534, &["probe"])?;
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout)?.to_lowercase().contains("cap_"));
    Ok(())
}

#[test]
fn the_probe_agrees_with_the_trace() -> Result<()> {
    let output = run(0, &["probe", "--json"])?;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
    }
    let human = run(0, &["probe"])?;
    assert_eq!(human.status.code(), Some(0));
    Ok(())
}

#[test]
fn as_root_without_capabilities() -> Result<()> {
    let output = Command::new(host::tool("setpriv")?)
        .arg("--bounding-set=-sys_admin,-bpf,-perfmon")
        .arg(host::processguard()?)
        .arg("trace")
        .output()?;
    assert_refused(&output, &["cap_bpf", "cap_perfmon"])
}

#[test]
fn capabilities_are_enough_without_root() -> Result<()> {
    let (_directory, program) = public()?;
    let ours = fs::read_to_string("/proc/self/status")?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapEff:")).context("CapEff")?;
    let resource = u64::from_str_radix(ours.trim(), 16)? & 1 << 24 != 0;
    // What --help names; the build machines have no CAP_SYS_RESOURCE to give.
    let given = if resource { "-all,+bpf,+perfmon,+sys_resource" } else { "-all,+bpf,+perfmon" };
    let mut command = Command::new(host::tool("setpriv")?);
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(format!("--inh-caps={given}")).arg(format!("--ambient-caps={given}"));
    command.arg(program).args(["trace", "--format", "json", "--events", "exec", "--count", "3"]);
    let _storm = guard_tests::truth::Workload::start(&["storm", "--seconds", "60"])?;
    let output = command.current_dir("/").output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn without_type_information() -> Result<()> {
    let script = "mount -t tmpfs tmpfs /sys/kernel/btf && exec \"$@\"";
    let run = |verb: &str| {
        let mut command = Command::new(host::tool("unshare")?);
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(host::processguard()?).arg(verb);
        anyhow::Ok(command.output()?)
    };
    assert_refused(&run("trace")?, &["btf"])?;
    let probe = run("probe")?;
    assert_ne!(probe.status.code(), Some(0));
    assert!(
        String::from_utf8(probe.stdout)?.lines().any(|line| line.starts_with("no") && line.contains("btf"))
    );
    Ok(())
}

#[test]
fn a_refusal_leaves_nothing_half_attached() -> Result<()> {
    let before = bpf::Objects::existing()?;
    // A pid that cannot be: found out before or after the programs are loaded.
    run(0, &["trace", "--cgroup", "/no/such/group"])?;
    run(0, &["trace", "--output", "/no/such/directory/file"])?;
    run(65_534, &["trace"])?;
    let new = bpf::Objects::existing()?.without(&before);
    crate::restarts::assert_gone(&new)
}
