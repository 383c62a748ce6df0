//! Deeds: what the supervisor plans is done here, to processes whose identity was checked.
//!
//! ```text
//! Deed::Start   -> make_spare (idle)  prepare (on the exit record)  Prepared::start (pidfd readable, room empty)
//! Deed::Signal, Kill, Freeze, Thaw, Renice -> the main process and its room
//! Deed::Run     -> run_hook
//! ```
//! [`exits::Exits`] says when a main process has ended, [`notify::Notices`] when it is ready, and the keeper has its log.

pub mod exits;
mod group;
mod hook;
pub mod identity;
pub mod notify;
pub mod rooms;
pub mod spawn;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_core::ids::ProcId;
use guard_core::policy::model::{Instances, Kill, Limits, Log, LogTarget, Run};
use guard_core::supervise::{ActionId, Subject};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::keeper::{self, JOURNAL, Logs, LogsError, Sought, Target};
pub use hook::Hook;
use identity::{Checked, IdentityError};
use notify::Notices;
use rooms::{Room, RoomError, Rooms};
use spawn::{Common, Prepared, RoomInUse, StartError};

/// The notification socket's name in the runtime directory.
const NOTIFY_SOCKET: &str = "notify.sock";

/// Open files that daemon and keeper may have: as systemd gives to services at most.
const OPEN_FILES: u64 = 524_288;

/// Where and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The group below the cgroup2 mount in which all rooms are, such as `processguard`.
    pub cgroup_root: PathBuf,
    /// Sockets and locks.
    pub runtime_dir: PathBuf,
    /// Where logs go that are meant for the journal, on hosts without one: `SERVICE.INSTANCE.log`.
    pub log_dir: PathBuf,
    /// The journal's socket.
    pub journal: PathBuf,
    /// The keeper's command, to which `--directory DIR` is added.
    pub keeper: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cgroup_root: "processguard".into(),
            runtime_dir: "/run/processguard".into(),
            log_dir: "/var/log/processguard".into(),
            journal: JOURNAL.into(),
            keeper: vec!["/proc/self/exe".into(), "keeper".into()],
        }
    }
}

/// Why there are no hands.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// No control groups.
    #[error(transparent)]
    Rooms(#[from] RoomError),
    /// Nothing could be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The runtime directory cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why something was not done to a process.
#[derive(Debug, thiserror::Error)]
pub enum DeedError {
    /// It is not the one, or must not be touched.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its control group cannot be used.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// It has no control group of its own.
    #[error(
        "process {pid} shares the control group {group} with others that are not its own; start it in one of its own (a unit, or `run`)"
    )]
    Shared {
        /// Which.
        pid: u32,
        /// Where it is.
        group: String,
    },
}

/// What starts, signals and ends services.
#[derive(Debug)]
pub struct Hands {
    settings: Settings,
    rooms: Rooms,
    common: Common,
    logs: Logs,
    notify: PathBuf,
    /// For the next lives.
    spares: HashMap<Subject, Spare>,
    troubles: Vec<String>,
}

/// The next life of an instance, as far as it can be made ahead.
#[derive(Debug)]
struct Spare {
    run: Run,
    notify: bool,
    next: Next,
}

/// What is there of it.
#[derive(Debug)]
enum Next {
    Room(RoomInUse),
    Start(Box<Prepared>),
}

impl Spare {
    fn into_room(self) -> RoomInUse {
        match self.next {
            Next::Room(room) => room,
            Next::Start(prepared) => prepared.into_room(),
        }
    }
}

impl Hands {
    /// Makes the cgroup root, finds or starts the keeper, and listens for notifications. That there is no keeper is no
    /// error, but a trouble: services run without logs then.
    ///
    /// # Errors
    /// If there are no control groups, or the runtime directory cannot be used.
    pub async fn open(settings: Settings) -> Result<(Self, Notices), HandsError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| HandsError::System { action, path, source }
        };
        let directory = &settings.runtime_dir;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed("make the directory", directory))?;
        keep_statuses();
        let notify = directory.join(NOTIFY_SOCKET);
        let notices = Notices::bind(&notify).map_err(failed("listen at", &notify))?;
        let rooms = Rooms::open(&settings.cgroup_root)?;
        // What services inherit is read before it is changed.
        let common = Common::read()?;
        raise_open_files();
        let launch = launch(&settings, rooms.clone(), common.clone());
        let (logs, kept) = Logs::open(directory.clone(), launch).await;
        let troubles = kept.err().map(|error| no_logs(&error)).into_iter().collect();
        let hands = Self { settings, rooms, common, logs, notify, spares: HashMap::new(), troubles };
        Ok((hands, notices))
    }

    /// All rooms: for what is there already.
    #[must_use]
    pub const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What is wrong with the hands themselves, in words.
    #[must_use]
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// Makes the room for an instance's next life ahead, and prepares its start if that will be the same then: who a user is, and
    /// in which groups, may change meanwhile, and a log may come back. For an idle moment.
    ///
    /// # Errors
    /// If the room cannot be made.
    pub fn make_spare(&mut self, subject: &Subject, run: Run, notify: bool) -> Result<(), RoomError> {
        let is_it = |spare: &Spare| spare.notify == notify && spare.run == run;
        if self.spares.get(subject).is_some_and(is_it) {
            return Ok(());
        }
        let spare = self.spares.remove(subject);
        let room = self.room(subject, &run, spare)?;
        let next = match self.log(subject, &run) {
            Ok(log) if run.user.is_none() && run.group.is_none() => {
                // What is wrong is told by the start.
                let prepared = self.prepare_in(room, &run, log, notify);
                prepared.ok().map(|prepared| Next::Start(Box::new(prepared)))
            }
            _ => Some(Next::Room(room)),
        };
        self.spares.extend(next.map(|next| (subject.clone(), Spare { run, notify, next })));
        Ok(())
    }

    /// An instance is no more: its spare room and its log pipe are let go.
    pub fn forget(&mut self, subject: &Subject) {
        self.spares.remove(subject);
        self.logs.forget(&subject.service, subject.instance.unwrap_or(0));
    }

    /// Prepares a start as far as can be done without a process. `run` has its `{port}` and `{instance}` resolved.
    ///
    /// # Errors
    /// If a user does not exist, the room cannot be made, or the like.
    pub fn prepare(&mut self, subject: &Subject, run: &Run, notify: bool) -> Result<Prepared, StartError> {
        let spare = match self.spares.remove(subject) {
            Some(Spare { run: of, notify: says, next: Next::Start(prepared) })
                if says == notify && of == *run =>
            {
                return Ok(*prepared);
            }
            spare => spare,
        };
        let room = self.room(subject, run, spare)?;
        let log = self.log(subject, run).unwrap_or_else(|error| {
            // Better without a log than not at all.
            self.troubles = vec![no_logs(&error)];
            None
        });
        self.prepare_in(room, run, log, notify)
    }

    fn prepare_in(
        &self,
        room: RoomInUse,
        run: &Run,
        log: Option<Arc<OwnedFd>>,
        notify: bool,
    ) -> Result<Prepared, StartError> {
        self.common.prepare(run, room, log, notify.then_some(self.notify.as_path()))
    }

    /// The spare room, if its limits are these, or a new one.
    fn room(&self, subject: &Subject, run: &Run, spare: Option<Spare>) -> Result<RoomInUse, RoomError> {
        match spare {
            Some(spare) if spare.run.limits == run.limits => Ok(spare.into_room()),
            _ => {
                let room = self.rooms.make(&subject.service, subject.instance.unwrap_or(0), &run.limits)?;
                Ok(RoomInUse::new(room, &run.limits))
            }
        }
    }

    fn log(&mut self, subject: &Subject, run: &Run) -> Result<Option<Arc<OwnedFd>>, LogsError> {
        let target = self.target(subject, &run.log.target);
        self.logs.pipe(&subject.service, subject.instance.unwrap_or(0), &target)
    }

    fn target(&self, subject: &Subject, target: &LogTarget) -> Target {
        match target {
            LogTarget::Null => Target::Null,
            LogTarget::File { path, max_size, keep } => {
                Target::File { path: path.clone(), max_size: *max_size, keep: *keep }
            }
            LogTarget::Journal => {
                let service = rooms::name::encode(&subject.service);
                let name = format!("{service}.{}.log", subject.instance.unwrap_or(0));
                Target::Journal {
                    identifier: subject.service.to_string(),
                    fallback: self.settings.log_dir.join(name),
                }
            }
        }
    }

    /// Ready once the keeper has gone: call [`Hands::seek_keeper`] then.
    pub async fn keeper_gone(&self) {
        self.logs.gone().await;
    }

    /// Whether logs are kept.
    #[must_use]
    pub const fn has_keeper(&self) -> bool {
        self.logs.is_kept()
    }

    /// Finds or starts another keeper with the same pipes: for a task of its own, of which [`Hands::keeper_sought`] is to be told.
    /// Nothing that is written meanwhile is lost. `None`: one is sought already.
    pub fn seek_keeper(&mut self) -> Option<impl Future<Output = Sought> + Send + use<>> {
        self.logs.seek()
    }

    /// A keeper was found, or was not.
    ///
    /// # Errors
    /// If there is none: try again later.
    pub fn keeper_sought(&mut self, sought: Sought) -> Result<(), LogsError> {
        let found = self.logs.found(sought);
        self.troubles = found.as_ref().err().map(no_logs).into_iter().collect();
        found
    }

    /// What the keeper counted, for all instances; for a task of its own.
    pub fn logged(
        &self,
    ) -> impl Future<Output = Result<(Vec<keeper::Count>, u64), LogsError>> + Send + use<> {
        let directory = self.settings.runtime_dir.clone();
        async move { keeper::ask(&directory).await }
    }

    /// Instances that have a log pipe, those of daemons before this one among them: what no policy has is to be forgotten.
    pub fn logging(&self) -> Vec<(String, u32)> {
        self.logs.instances().map(|(service, instance)| (service.to_owned(), instance)).collect()
    }

    /// Sends a signal to a main process, or to all in its room.
    ///
    /// # Errors
    /// If the process is not the one any more; if nobody of all is left, or the room cannot be used.
    pub fn signal(
        &self,
        target: ProcId,
        room: Option<&Room>,
        (signal, all): (u8, bool),
        id: ActionId,
    ) -> Result<(), DeedError> {
        // Found while it lives.
        let room = all.then(|| group::room_of(&self.rooms, target, room));
        let main = Checked::open(target).and_then(|main| main.send(signal.into(), Some(id.0)));
        let Some(room) = room else { return Ok(main?) };
        let members = room?.signal(signal.into(), Some(id.0), Some(target.pid))?;
        // The main process may have gone before its helpers.
        if members == 0 { Ok(main?) } else { Ok(()) }
    }

    /// Kills what is left of a main process and of those who are killed with it. That nobody is left is fine.
    ///
    /// # Errors
    /// If somebody is among them who must not be touched, or the system refuses. The main process is killed even if the
    /// others cannot be.
    pub fn kill(
        &self,
        target: ProcId,
        room: Option<&Room>,
        kill: Kill,
        id: ActionId,
    ) -> Result<(), DeedError> {
        // Both are found while it lives.
        let own = (kill == Kill::Cgroup).then(|| group::room_of(&self.rooms, target, room));
        let group = (kill == Kill::Group).then(|| group::process_group(target, room)).flatten();
        // First and by itself: the kernel's record of it names the action.
        let killed = Checked::open(target).and_then(|main| main.send(libc::SIGKILL, Some(id.0)));
        killed.or_else(IdentityError::unless_gone)?;
        if let Some(group) = group {
            group::kill_process_group(group, room, id);
        }
        match own {
            Some(Ok(room)) => Ok(room.kill()?),
            Some(Err(DeedError::Identity(error))) => Ok(error.unless_gone()?),
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Stops all in a main process's room, without a signal.
    ///
    /// # Errors
    /// If the room cannot be used.
    pub fn freeze(&self, target: ProcId, room: Option<&Room>) -> Result<(), DeedError> {
        Checked::open(target)?;
        Ok(group::room_of(&self.rooms, target, room)?.freeze()?)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the room cannot be used.
    pub fn thaw(&self, target: ProcId, room: Option<&Room>) -> Result<(), DeedError> {
        Ok(group::room_of(&self.rooms, target, room)?.thaw()?)
    }

    /// Sets the nice value of all threads in a main process's room.
    ///
    /// # Errors
    /// If the process is not the one any more, or the system refuses.
    pub fn renice(&self, target: ProcId, room: Option<&Room>, nice: i8) -> Result<(), DeedError> {
        let main = Checked::open(target)?;
        let room = group::room_of(&self.rooms, target, room)?;
        let failed =
            |source| IdentityError::System { action: "set the nice value of", pid: main.pid(), source };
        Ok(group::renice(&room, nice).map_err(failed)?)
    }

    /// Runs a command in a room of its own, which is killed as a whole at the timeout; for a task of its own. The error
    /// has the end of what it wrote.
    pub fn run_hook(&self, hook: Hook) -> impl Future<Output = Result<(), String>> + Send + use<> {
        hook::run(self.rooms.clone(), self.common.clone(), hook)
    }
}

/// Waits until a predecessor is gone: it has ended, and its room is empty, if all of that is killed with it.
///
/// # Errors
/// If the system refuses to tell.
pub async fn wait_gone(pidfd: Option<OwnedFd>, room: Option<&Room>) -> Result<(), DeedError> {
    if let Some(pidfd) = pidfd {
        let failed = |source| IdentityError::System { action: "wait for the end of", pid: 0, source };
        wait_ended(pidfd).await.map_err(failed)?;
    }
    match room {
        Some(room) => Ok(room.wait_empty().await?),
        None => Ok(()),
    }
}

/// Waits until a process has ended, and gives its pidfd back.
pub(crate) async fn wait_ended(pidfd: OwnedFd) -> io::Result<OwnedFd> {
    let pidfd = watch(pidfd, Interest::READABLE)?;
    while !identity::has_ended(pidfd.get_ref().as_fd()) {
        pidfd.readable().await?.clear_ready();
    }
    Ok(pidfd.into_inner())
}

/// Registers a descriptor with the runtime.
pub(crate) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, which stays open until it is taken out of the runtime.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

/// Each instance needs some descriptors: its end, its room, both ends of its log. Services get what we were given.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let enough = before.maximum.map_or(u64::MAX, |maximum| maximum.max(OPEN_FILES));
    let limit = Rlimit { current: Some(enough.min(OPEN_FILES)), maximum: Some(enough) };
    if setrlimit(Resource::Nofile, limit).is_err() {
        // Without the privilege: as many as we may.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    }
}

/// A parent that ignores SIGCHLD never learns how its children ended, and that is inherited from whoever started us.
fn keep_statuses() {
    // SAFETY: sets a default action.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

fn no_logs(error: &LogsError) -> String {
    format!("services that are started now have no logs: {error}")
}

/// Starts the keeper as services are started: in a session and a room of its own.
fn launch(settings: &Settings, rooms: Rooms, common: Common) -> keeper::Launch {
    let mut command = settings.keeper.clone();
    command.extend(["--directory".to_owned(), settings.runtime_dir.to_string_lossy().into_owned()]);
    command.extend(["--journal".to_owned(), settings.journal.to_string_lossy().into_owned()]);
    let run = plain_run(command);
    Box::new(move |output| {
        let room = rooms.keeper().map_err(|error| error.to_string())?;
        let room = RoomInUse::new(room, &run.limits);
        let prepared =
            common.prepare(&run, room, Some(Arc::new(output)), None).map_err(|error| error.to_string())?;
        prepared.start().map(|started| started.pidfd).map_err(|error| error.to_string())
    })
}

/// A command without anything special.
fn plain_run(command: Vec<String>) -> Run {
    Run {
        command,
        user: None,
        group: None,
        environment: std::collections::BTreeMap::new(),
        directory: "/".into(),
        first_port: None,
        instances: Instances { min: 1, start: 1, max: 1 },
        limits: Limits::default(),
        capabilities: None,
        log: Log { target: LogTarget::Null },
    }
}

#[cfg(test)]
pub(crate) mod tests;
