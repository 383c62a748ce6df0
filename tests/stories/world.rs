//! A host as the shipped policies name it: users, programs and directories, in a mount namespace of its own, so that this one
//! stays as it is.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guard_tests::host;
use serde_json::Value;
use tempfile::TempDir;

/// Users that the policies name and this host may lack, with numbers that nobody else has.
const USERS: [(&str, u32); 3] = [("checkout", 64_101), ("stream", 64_102), ("ci", 64_103)];

/// Directories below /srv, and whose they are.
const DIRECTORIES: [(&str, &str); 8] = [
    ("checkout", "checkout"),
    ("stream", "stream"),
    ("ci", "ci"),
    ("ci/0", "ci"),
    ("ci/1", "ci"),
    ("ci/2", "ci"),
    ("log", "root"),
    ("postgresql", "postgres"),
];

/// What is mounted where. `$1` is the directory with all of it. The shell then is the namespace's keeper.
const MOUNTS: &str = "
set -e
mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=$1/bin,workdir=$1/work /usr/bin
mount --bind $1/local /usr/local/bin
mount --bind $1/srv /srv
mount --bind $1/srv/log /var/log
mkdir -p /run/postgresql
mount --bind $1/srv/postgresql /run/postgresql
mount --bind $1/passwd /etc/passwd
mount --bind $1/group /etc/group
echo ready
exec cat";

/// The host of the stories.
pub(crate) struct World {
    directory: TempDir,
    keeper: Child,
}

/// The shipped policies, with their programs.
pub(crate) fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/stories")
}

impl World {
    /// Makes it.
    pub(crate) fn new() -> Result<Self> {
        for program in ["/usr/lib/postgresql/15/bin/postgres", "/usr/bin/pg_isready"] {
            ensure!(Path::new(program).exists(), "{program} is missing: run `cargo xtask setup`");
        }
        let directory = tempfile::tempdir().context("make a directory")?;
        let at = |name: &str| directory.path().join(name);
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).context("chmod")?;
        for name in ["bin", "work", "local", "srv"] {
            fs::create_dir(at(name)).with_context(|| format!("create {name}"))?;
        }
        accounts(&at("passwd"), &at("group"))?;
        let passwd = fs::read_to_string(at("passwd")).context("read the accounts")?;
        for (name, owner) in DIRECTORIES {
            let path = at("srv").join(name);
            fs::create_dir(&path).with_context(|| path.display().to_string())?;
            let (user, group) = ids(&passwd, owner)?;
            chown(&path, Some(user), Some(group)).context("chown")?;
        }
        // PostgreSQL makes its own directories there.
        fs::set_permissions(at("srv"), Permissions::from_mode(0o777)).context("chmod")?;
        fs::copy(host::guard_workload()?, at("bin/guard-workload")).context("copy the workload")?;
        for story in ["checkout", "stream-worker", "ci-runner"] {
            copy_all(&stories().join(story).join("bin"), &at("bin"))?;
        }
        copy_all(&stories().join("orders-db/bin"), &at("local"))?;
        fs::copy(stories().join("orders-db/prepare"), at("local/prepare")).context("copy")?;

        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNTS, "sh"]).arg(directory.path());
        let mut keeper =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("run unshare")?;
        let stdout = keeper.stdout.take().context("no standard output")?;
        let world = Self { directory, keeper };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("wait for the mounts")?;
        ensure!(line == "ready\n", "the world could not be mounted");
        Ok(world)
    }

    /// Whoever is in the namespace for as long as it is there.
    pub(crate) fn pid(&self) -> i32 {
        self.keeper.id().cast_signed()
    }

    /// A program of that host.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.pid())).args(["--", program]);
        command.stdin(Stdio::null());
        command
    }

    /// A path below its /srv, as this host sees it.
    pub(crate) fn srv(&self, name: &str) -> PathBuf {
        self.directory.path().join("srv").join(name)
    }

    /// What a workload wrote down below /srv so far: all lines that are whole.
    pub(crate) fn truth(&self, name: &str) -> Result<Vec<Value>> {
        let text = match fs::read_to_string(self.srv(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| name.to_owned())?,
        };
        let whole = text.rfind('\n').map_or("", |end| text.split_at(end).0);
        let lines: serde_json::Result<_> = whole.lines().map(serde_json::from_str).collect();
        lines.with_context(|| name.to_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // End of file ends it, and with the last process in it the namespace.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The lines of one kind.
pub(crate) fn of_kind<'a>(truth: &'a [Value], what: &str) -> Vec<&'a Value> {
    truth.iter().filter(|line| line.get("what").is_some_and(|found| found == what)).collect()
}

/// A number in a line.
pub(crate) fn number(line: &Value, key: &str) -> Result<u64> {
    line.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in {line}"))
}

/// Waits for something that the policies let happen only after a while.
pub(crate) fn within<T>(
    time: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("{what}: not within {time:?}")
}

/// Whether a process lives, a zombie not counted.
pub(crate) fn lives(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// This host's accounts and those that it lacks.
fn accounts(passwd: &Path, group: &Path) -> Result<()> {
    let mut users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let mut groups = fs::read_to_string("/etc/group").context("read /etc/group")?;
    for (name, id) in USERS {
        if !users.lines().any(|line| line.starts_with(&format!("{name}:"))) {
            users.push_str(&format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n"));
            groups.push_str(&format!("{name}:x:{id}:\n"));
        }
    }
    fs::write(passwd, users).and_then(|()| fs::write(group, groups)).context("write the accounts")
}

fn ids(passwd: &str, name: &str) -> Result<(u32, u32)> {
    let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")));
    let mut fields = line.with_context(|| format!("no user {name}"))?.split(':').skip(2);
    let mut next = || fields.next().and_then(|field| field.parse().ok()).context("a broken account");
    Ok((next()?, next()?))
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        fs::copy(&path, to.join(path.file_name().context("no name")?)).context("copy a program")?;
    }
    Ok(())
}
