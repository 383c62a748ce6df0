//! Starting a process: all that can be done ahead is in a [`Prepared`]; [`Prepared::start`] is one clone and one exec.
//!
//! What a service finds: a session and a control group of its own, `umask` 022, no signal blocked or ignored, no
//! descriptors but 0 (`/dev/null`), 1 and 2 (its log, or `/dev/null`), `oom_score_adj` and nice value 0, and the limits that
//! the daemon was started with. Its environment
//! is the policy's and `PATH`; if it runs as a named user also `HOME`, `LOGNAME`, `USER` and `SHELL`, as systemd has it;
//! if it is to say that it is ready, `NOTIFY_SOCKET`. Whoever is dropped to a user other than root gets no privileges by
//! set-user-ID programs either (`no_new_privs`).

mod account;
mod child;
mod entrant;
mod error;
mod stacks;

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use guard_core::names::CAPABILITIES;
use guard_core::policy::model::{Limits, Run};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, WaitId, WaitIdOptions, getrlimit, waitid};

use super::rooms::Room;
use crate::clock;
use account::Account;
use child::Recipe;
use entrant::Entrant;
pub use error::{StartError, Step};
use stacks::Stacks;

/// `PATH`, unless the policy has one: what systemd gives to services.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What all starts have in common; read once.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    null: Arc<OwnedFd>,
    /// Signals that we ignore, which would be inherited: bit 0 is signal 1.
    ignored: u64,
    /// Capabilities that the kernel knows.
    known: u32,
    reset_score: bool,
    reset_nice: bool,
    /// Open files: soft and hard limit, as we were given them.
    files: (u64, u64),
    stacks: Stacks,
}

impl Common {
    pub(super) fn read() -> Result<Self, StartError> {
        let failed = |action| move |source| StartError::Prepare { action, source };
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty())
            .map_err(|error| failed("open /dev/null")(error.into()))?;
        let status = fs::read_to_string("/proc/self/status").map_err(failed("read /proc/self/status"))?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let number =
            |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i64>().ok());
        let files = getrlimit(Resource::Nofile);
        let bound = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        let last = number("/proc/sys/kernel/cap_last_cap").and_then(|last| u32::try_from(last).ok());
        Ok(Self {
            null: Arc::new(null),
            ignored: ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0),
            known: last.map_or(CAPABILITIES.len(), |last| last as usize + 1).min(64) as u32,
            reset_score: number("/proc/self/oom_score_adj").is_some_and(|score| score != 0),
            reset_nice: rustix::process::nice(0).is_ok_and(|nice| nice != 0),
            files: (bound(files.current), bound(files.maximum)),
            stacks: Stacks::default(),
        })
    }

    /// Prepares a start. A room that is not used after all is removed.
    pub(super) fn prepare(
        &self,
        run: &Run,
        room: RoomInUse,
        log: Option<Arc<OwnedFd>>,
        notify: Option<&Path>,
    ) -> Result<Prepared, StartError> {
        let account = account::find(run.user.as_deref(), run.group.as_deref())?;
        let kept = run.capabilities.as_deref().map(mask).transpose()?;
        let program = run.command.first().ok_or(StartError::Empty)?;
        let arguments = run.command.iter().map(|text| c_string(text)).collect::<Result<_, _>>()?;
        let environment = environment(run, account.as_ref(), notify)
            .iter()
            .map(|(name, value)| c_string(&format!("{name}={value}")))
            .collect::<Result<_, _>>()?;
        if let (Some(log), Some(account)) = (&log, &account) {
            // Else `/dev/stderr` could not be opened by whoever logs to it by that name.
            let owner = rustix::fs::Uid::from_raw(account.uid);
            if let Err(error) = rustix::fs::fchown(log, Some(owner), None) {
                tracing::debug!("the log pipe of {program} stays ours: {error}");
            }
        }
        Ok(Prepared {
            program: c_string(program)?,
            arguments,
            environment,
            directory: c_string(&run.directory.to_string_lossy())?,
            files: run.limits.open_files,
            core: run.limits.core,
            account,
            kept,
            log,
            room,
            common: self.clone(),
        })
    }
}

/// A room for a process to come: removed again, if none comes.
#[derive(Debug)]
pub(super) struct RoomInUse {
    room: Option<Arc<Room>>,
    entrant: Option<Entrant>,
}

impl RoomInUse {
    /// `limits`: those of its process, its service's among them.
    pub(super) fn new(room: Room, limits: &Limits) -> Self {
        let entrant = Entrant::new(&room, limits);
        Self { room: Some(Arc::new(room)), entrant }
    }

    pub(super) fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }
}

impl Drop for RoomInUse {
    fn drop(&mut self) {
        if let Some(entrant) = self.entrant.take() {
            entrant.leave();
        }
        if let Some(room) = self.room.take()
            && let Err(error) = room.remove()
        {
            tracing::warn!("{error}");
        }
    }
}

/// A process that can be started at once.
#[derive(Debug)]
pub struct Prepared {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: CString,
    files: Option<u64>,
    core: Option<u64>,
    account: Option<Account>,
    kept: Option<u64>,
    log: Option<Arc<OwnedFd>>,
    room: RoomInUse,
    common: Common,
}

/// A process that was started, and is the program by now.
#[derive(Debug)]
pub struct Started {
    /// Its pid.
    pub pid: u32,
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
    /// Where it lives.
    pub room: Arc<Room>,
    /// Before it was made, in nanoseconds since boot.
    pub clone_ns: u64,
    /// When it had become the program, in nanoseconds since boot.
    pub exec_ns: u64,
}

impl Started {
    /// When it was made, in ticks since boot: for comparing only, the kernel's records have the exact time. `None`: it is
    /// gone.
    #[must_use]
    pub fn start_ticks(&self) -> Option<u64> {
        super::identity::Stat::read(self.pid).map(|stat| stat.start_ticks)
    }
}

impl Prepared {
    /// Its room alone: for a start that is prepared anew.
    pub(super) fn into_room(self) -> RoomInUse {
        self.room
    }

    /// Where it will live.
    #[must_use]
    pub fn room(&self) -> Option<&Room> {
        self.room.room().map(AsRef::as_ref)
    }

    /// Makes the process and waits until it has become the program: usually half a millisecond, but as long as the file
    /// system takes that has it. Not for the loop that serves others.
    ///
    /// # Errors
    /// If it could not become the program: nothing of it is left then.
    pub fn start(mut self) -> Result<Started, StartError> {
        match self.room.entrant.take() {
            Some(entrant) => entrant.start(Box::new(self)),
            None => self.start_here(false),
        }
    }

    /// `is_inside`: this thread is in the room's twins already.
    fn start_here(mut self, is_inside: bool) -> Result<Started, StartError> {
        let made = match self.make(true, is_inside) {
            Err(StartError::Clone { source }) if is_unknown(&source) => self.make(false, is_inside),
            made => made,
        };
        let (pid, pidfd, clone_ns) = made?;
        let exec_ns = clock::boot_ns();
        let room = self.room.room.take().ok_or(StartError::Empty)?;
        Ok(Started { pid, pidfd, room, clone_ns, exec_ns })
    }

    /// `directly`: it is made in its room; otherwise it enters it by itself.
    fn make(&self, directly: bool, is_inside: bool) -> Result<(u32, OwnedFd, u64), StartError> {
        let room = self.room.room().ok_or(StartError::Empty)?;
        let entrance = if directly {
            None
        } else {
            let file = File::options().write(true).open(room.path().join("cgroup.procs"));
            Some(file.map_err(|source| StartError::Prepare {
                action: "open the control group's cgroup.procs",
                source,
            })?)
        };
        let mut groups_to_enter: [RawFd; 4] = [-1; 4];
        let twins = room.twin_procs().iter().filter(|_| !is_inside);
        let files = entrance.iter().chain(twins);
        for (place, file) in groups_to_enter.iter_mut().zip(files) {
            *place = file.as_raw_fd();
        }
        let pointers = |texts: &[CString]| -> Vec<*const c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let none = self.common.null.as_raw_fd();
        let log = self.log.as_ref().map_or(none, |log| log.as_raw_fd());
        let limit = |limit: u64| libc::rlimit { rlim_cur: limit, rlim_max: limit };
        let (rlim_cur, rlim_max) = self.common.files;
        let inherited = libc::rlimit { rlim_cur, rlim_max };
        let account = self.account.as_ref();
        let recipe = Recipe {
            program: self.program.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            directory: self.directory.as_ptr(),
            standard: [none, log, log],
            groups_to_enter,
            files: self.files.map_or(inherited, limit),
            core: self.core.map(limit),
            reset_score: self.common.reset_score,
            reset_nice: self.common.reset_nice,
            ignored: self.common.ignored,
            account: account.map(|one| (one.uid, one.gid, one.groups.as_ptr(), one.groups.len())),
            kept: self.kept.map(|kept| (kept, self.common.known)),
            no_new_privileges: account.is_some_and(|account| account.uid != 0),
            step: AtomicU32::new(0),
            errno: AtomicI32::new(0),
        };
        let stack = self
            .common
            .stacks
            .take()
            .map_err(|source| StartError::Prepare { action: "make a stack for a new process", source })?;
        let clone_ns = clock::boot_ns();
        let into = directly.then(|| room.directory().as_raw_fd());
        let (pid, pidfd) =
            child::clone_and_run(&recipe, &stack, into).map_err(|source| StartError::Clone { source })?;
        let failed = recipe.step.load(Ordering::Acquire);
        let Some(step) = Step::ALL.into_iter().find(|step| *step as u32 == failed) else {
            return Ok((pid, pidfd, clone_ns));
        };
        // Nobody else knows of it.
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        Err(StartError::Child {
            step,
            source: io::Error::from_raw_os_error(recipe.errno.load(Ordering::Relaxed)),
            program: path(&self.program),
            directory: path(&self.directory),
        })
    }
}

/// The kernel does not know some flag or the size of the arguments.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP))
}

fn path(text: &CString) -> PathBuf {
    PathBuf::from(text.to_string_lossy().into_owned())
}

fn c_string(text: &str) -> Result<CString, StartError> {
    CString::new(text).map_err(|_nul| StartError::Nul(text.escape_default().to_string()))
}

fn environment<'a>(
    run: &'a Run,
    account: Option<&'a Account>,
    notify: Option<&'a Path>,
) -> BTreeMap<&'a str, std::borrow::Cow<'a, str>> {
    let mut all = BTreeMap::from([("PATH", PATH.into())]);
    if let Some(entry) = account.and_then(|account| account.entry.as_ref()) {
        all.insert("HOME", entry.home.as_str().into());
        all.insert("LOGNAME", entry.name.as_str().into());
        all.insert("USER", entry.name.as_str().into());
        all.insert("SHELL", entry.shell.as_str().into());
    }
    all.extend(run.environment.iter().map(|(name, value)| (name.as_str(), value.as_str().into())));
    if let Some(socket) = notify {
        all.insert("NOTIFY_SOCKET", socket.to_string_lossy());
    }
    all
}

/// Names without `cap_`, as bits.
fn mask(names: &[String]) -> Result<u64, StartError> {
    let bit = |name: &String| {
        CAPABILITIES
            .iter()
            .position(|known| {
                known.strip_prefix("CAP_").is_some_and(|known| known.eq_ignore_ascii_case(name))
            })
            .map(|at| 1_u64 << at)
            .ok_or_else(|| StartError::NoCapability(name.clone()))
    };
    names.iter().try_fold(0, |mask, name| Ok(mask | bit(name)?))
}

#[cfg(test)]
mod tests;
