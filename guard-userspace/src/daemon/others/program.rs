//! Programs that are asked something, or told: probes, hooks, restarts. Never a shell.
//!
//! A program runs in a process group of its own, with a small environment that is made for it, and its output is read as it comes.
//! What it starts is killed with it: when its time is over, when nobody waits for it any more, and (unless it is a restart, which
//! leaves a service behind) when it has ended. The group is only ever killed while its leader has not been reaped, so its number
//! cannot be somebody else's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use guard_core::names::SignalName;
use guard_core::policy::model::{Span, span};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::notepad::Notepad;
use super::user;
use crate::show::escape;

/// Where root looks for programs.
pub(in crate::daemon) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes that are kept of an output's beginning, and as many of its end.
const KEPT: usize = 4096;

/// How long the last words of a program that has ended may take: they are in its pipe already.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How long a killed program may take to go. One that is stuck in the kernel is left to it.
const GOING: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Program<'a> {
    /// Program and arguments.
    pub(in crate::daemon) command: &'a [String],
    /// Who runs it, by name or number; `None`: us.
    pub(in crate::daemon) user: Option<&'a str>,
    /// What it is told besides.
    pub(in crate::daemon) environment: &'a [(String, String)],
    /// What it can read.
    pub(in crate::daemon) input: Vec<u8>,
    /// A directory of a cgroup v2 hierarchy. It is put into a group of its own there as soon as it runs, which is killed with it:
    /// then also what left its process group is.
    pub(in crate::daemon) cgroup: Option<&'a Path>,
    /// What it starts may outlive it.
    pub(in crate::daemon) leaves: bool,
    /// How long it may take, in nanoseconds.
    pub(in crate::daemon) timeout: Span,
}

/// How it ended.
#[derive(Debug)]
pub(in crate::daemon) struct Ended {
    pub(in crate::daemon) status: ExitStatus,
    pub(in crate::daemon) said: Said,
}

/// What it said.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Said {
    pub(in crate::daemon) out: Kept,
    err: Kept,
}

/// Why it did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum Error {
    /// There is nothing to run.
    #[error("the command is empty")]
    Empty,
    /// There is no such user.
    #[error(transparent)]
    User(#[from] user::Error),
    /// It cannot be run.
    #[error("cannot run `{program}`")]
    Spawn { program: String, source: io::Error },
    /// It cannot be put where it belongs.
    #[error("cannot put `{program}` into the control group {}", group.display())]
    Group { program: String, group: PathBuf, source: io::Error },
    /// It cannot be waited for.
    #[error("cannot wait for `{program}`")]
    Wait { program: String, source: io::Error },
    /// It took too long, and was killed.
    #[error("`{program}` did not end within {} and was killed{}", span(*.timeout), .said.tail_text())]
    Late { program: String, timeout: Span, said: Kept },
}

impl Program<'_> {
    /// Runs it to its end.
    pub(in crate::daemon) async fn run(self) -> Result<Ended, Error> {
        let until = Instant::now() + Duration::from_nanos(self.timeout);
        let mut leader = self.spawn()?;
        let program = self.name();
        let mut said = Said::default();
        let heard = leader.hear(&self.input, &mut said, until).await;
        if let Some(notepad) = &mut leader.notepad {
            said.out.take(&notepad.read().unwrap_or_default());
        }
        match heard {
            Ok(Ok(())) if self.leaves => {}
            Ok(Ok(())) => leader.kill(),
            Ok(Err(source)) => return Err(Error::Wait { program, source }),
            Err(_over) => {
                leader.kill();
                if timeout(GOING, leader.reap()).await.is_err() {
                    tracing::warn!("`{program}` was killed and does not go: it is stuck in the kernel");
                }
                leader.clear().await;
                return Err(Error::Late { program, timeout: self.timeout, said: said.last() });
            }
        }
        let status = leader.reap().await.map_err(|source| Error::Wait { program, source })?;
        if !self.leaves {
            leader.clear().await;
        }
        Ok(Ended { status, said })
    }

    /// Runs it to its end, which must be a success. Else: what failed, and what it said last.
    pub(in crate::daemon) async fn succeed(self) -> Result<(), String> {
        let name = self.name();
        let ended = self.run().await.map_err(|error| super::in_words(&error))?;
        if ended.status.success() {
            return Ok(());
        }
        Err(format!("`{name}` failed: {}{}", ended.how(), ended.said.last().tail_text()))
    }

    fn name(&self) -> String {
        escape::display(self.command.first().map_or(b"", |program| program.as_bytes()))
    }

    fn spawn(&self) -> Result<Leader, Error> {
        let (program, arguments) = self.command.split_first().ok_or(Error::Empty)?;
        let failed = |source| Error::Spawn { program: self.name(), source };
        let mut command = Command::new(program);
        let (mut home, mut name) = ("/root".to_owned(), "root".to_owned());
        if let Some(wanted) = self.user {
            let found = user::find(wanted)?;
            // Without privileges we are who we are.
            if !rustix::process::geteuid().is_root() {
                tracing::debug!("`{wanted}` is not asked for: we are not root");
            } else {
                // This gives up our supplementary groups, too.
                command.uid(found.uid).gid(found.gid);
            }
            (home, name) = (found.home, found.name);
        }
        command
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("HOME", &home), ("USER", &name), ("LOGNAME", &name)])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true)
            .stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let notepad = self.leaves.then(Notepad::new).transpose().map_err(failed)?;
        if let Some(notepad) = &notepad {
            command.stdout(notepad.writer().map_err(failed)?).stderr(notepad.writer().map_err(failed)?);
        }
        let child = command.spawn().map_err(failed)?;
        let mut leader = Leader::new(child, notepad).map_err(failed)?;
        if let Some(parent) = self.cgroup {
            let group = |source| Error::Group { program: self.name(), group: parent.to_owned(), source };
            leader.group = Some(Group::make(parent, leader.pid).map_err(group)?);
        }
        Ok(leader)
    }
}

/// The first process of a group, which is killed with it.
#[derive(Debug)]
struct Leader {
    child: Child,
    pid: Pid,
    /// Readable when it has ended, before it is reaped.
    pidfd: AsyncFd<OwnedFd>,
    group: Option<Group>,
    /// Where it writes, unless that is a pipe.
    notepad: Option<Notepad>,
    is_reaped: bool,
}

impl Leader {
    fn new(child: Child, notepad: Option<Notepad>) -> io::Result<Self> {
        let pid =
            child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or(io::ErrorKind::NotFound)?;
        // Nobody else reaps our children, so this is the one.
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // SAFETY: the descriptor is ours alone and is closed only when the registration is dropped, with it.
        let pidfd = unsafe { AsyncFd::register(pidfd) }?;
        Ok(Self { child, pid, pidfd, group: None, notepad, is_reaped: false })
    }

    /// Tells it what it is to read, and hears what it says, until it has ended.
    async fn hear(
        &mut self,
        input: &[u8],
        said: &mut Said,
        until: Instant,
    ) -> Result<io::Result<()>, Elapsed> {
        let stdin = self.child.stdin.take();
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let talk = async {
            // One that does not read what it is told has its reason.
            let tell = async {
                if let Some(mut stdin) = stdin {
                    let _unread = stdin.write_all(input).await;
                }
            };
            tokio::join!(tell, said.out.read(stdout), said.err.read(stderr));
        };
        let mut talk = pin!(talk);
        let ended = async {
            tokio::select! {
                ended = self.pidfd.readable() => return ended.map(|_guard| false),
                () = &mut talk => {}
            }
            // It said all, and goes on.
            self.pidfd.readable().await.map(|_guard| true)
        };
        let ended = timeout_at(until, ended).await;
        if let Ok(Ok(false)) = ended {
            let _rest_is_not_its = timeout(LAST_WORDS, talk).await;
        }
        ended.map(|ended| ended.map(|_said_all| ()))
    }

    /// Kills the group, as long as its number is its own.
    fn kill(&self) {
        if self.is_reaped {
            return;
        }
        let _gone = kill_process_group(self.pid, Signal::KILL);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Removes its control group, once it is empty.
    async fn clear(&mut self) {
        if let Some(group) = self.group.take() {
            group.remove().await;
        }
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        // It ended, or was killed: this reaps it in the same step in which it says so.
        let status = self.child.wait().await;
        self.is_reaped = true;
        status
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A control group for one program. It goes with what is in it.
#[derive(Debug)]
struct Group(PathBuf);

impl Group {
    /// Named after the process, which nobody else can be while it has not been reaped.
    fn make(parent: &Path, pid: Pid) -> io::Result<Self> {
        let path = parent.join(format!("program-{}", pid.as_raw_nonzero()));
        match fs::create_dir(&path) {
            // What an earlier one with this pid left, because it was stuck in the kernel.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let group = Self(path);
        match fs::write(group.0.join("cgroup.procs"), pid.as_raw_nonzero().to_string()) {
            // It has ended already.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(group),
            put => put.map(|()| group),
        }
    }

    fn kill(&self) {
        // Before Linux 5.14 there is no such file: then the process group must do.
        let _gone = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Waits a while until all that was killed is gone.
    async fn remove(self) {
        let until = Instant::now() + GOING;
        while fs::remove_dir(&self.0).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            if Instant::now() >= until {
                tracing::warn!(
                    "{} cannot be removed: something in it is stuck in the kernel",
                    self.0.display()
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is given up at once may still be ending in it.
        let _later = fs::remove_dir(&self.0);
    }
}

impl Ended {
    /// `exit code 3`, `killed by SIGSEGV`.
    pub(in crate::daemon) fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by {}", SignalName(signal.cast_unsigned())),
            (None, None) => "ended somehow".to_owned(),
        }
    }
}

impl Said {
    /// What it says of itself: the errors, or else the output.
    pub(in crate::daemon) fn last(self) -> Kept {
        if self.err.head.is_empty() { self.out } else { self.err }
    }
}

/// The beginning and the end of an output.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Kept {
    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = [0; KEPT];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.take(buffer.get(..read).unwrap_or_default());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        self.tail.drain(..self.tail.len().saturating_sub(KEPT));
    }

    /// The beginning.
    pub(in crate::daemon) fn head(&self) -> &[u8] {
        &self.head
    }

    /// `: no such table`, fit for a terminal; nothing, if nothing was said.
    pub(in crate::daemon) fn first_line(&self) -> String {
        let mut lines = self.head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
        if line.is_empty() { String::new() } else { format!(": {}", escape::display(line)) }
    }

    /// The last lines: what a program says at last is why it failed.
    pub(in crate::daemon) fn tail_text(&self) -> String {
        /// Bytes; two or three lines.
        const SHOWN: usize = 400;
        let all = [self.head.as_slice(), self.tail.as_slice()].concat();
        let all = all.trim_ascii();
        let end = all.get(all.len().saturating_sub(SHOWN)..).unwrap_or(all);
        let lines: Vec<String> =
            end.split(|&byte| byte == b'\n').map(|line| escape::display(line.trim_ascii())).collect();
        if all.is_empty() { String::new() } else { format!(": {}", lines.join(" | ")) }
    }
}
