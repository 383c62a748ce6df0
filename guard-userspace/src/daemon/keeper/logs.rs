//! The daemon's side: a pipe for each instance, and the keeper that reads them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout};

use super::wire::{self, Count, Message, Target};
use super::{HELD, READY, SOCKET};

/// How long the keeper may take to answer, or to be there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may leave its socket full, which holds the daemon up. One that is at work empties it at once.
const FULL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long to leave one alone that is about to be gone.
const PAUSE: Duration = Duration::from_millis(10);
/// What a pipe holds: bursts that come faster than a disk takes them. The kernel fills it as it is needed.
const PIPE_BYTES: usize = 256 * 1024;

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// It cannot be started.
    #[error("cannot start the keeper: {0}")]
    Start(String),
    /// It does not answer.
    #[error("the keeper in {} does not answer", .0.display())]
    Silent(PathBuf),
    /// Talking to it failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LogsError {
    /// Whether it comes from a keeper that is about to be gone.
    fn may_pass(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
        match self {
            Self::System { source, .. } => {
                matches!(
                    source.kind(),
                    BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
                )
            }
            Self::Start(said) => said.contains(HELD),
            Self::Silent(_) => false,
        }
    }
}

/// How a keeper is started: with standard output and error in this pipe; it says `ready` there, or why it cannot work.
pub type Launch = Box<dyn FnMut(OwnedFd) -> Result<OwnedFd, String> + Send>;

/// What a keeper holds.
type Held = Vec<((Arc<str>, u32), Pipe)>;

/// The pipes of all instances.
pub struct Logs {
    directory: PathBuf,
    /// `None`: a keeper is sought.
    seeker: Option<Seeker>,
    connection: Option<AsyncFd<OwnedFd>>,
    pipes: HashMap<(Arc<str>, u32), Pipe>,
}

/// Finds a keeper or starts one, which may take seconds: apart from the pipes, which are used meanwhile.
struct Seeker {
    directory: PathBuf,
    launch: Launch,
    /// Of a keeper that we started: to be reaped.
    child: Option<OwnedFd>,
}

/// What became of that.
pub struct Sought {
    seeker: Seeker,
    found: Result<(AsyncFd<OwnedFd>, Held), LogsError>,
}

impl std::fmt::Debug for Sought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sought").field("is_found", &self.found.is_ok()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs")
            .field("directory", &self.directory)
            .field("pipes", &self.pipes)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Pipe {
    target: Target,
    /// Never read here: as long as it is open, nobody who writes gets SIGPIPE.
    read: OwnedFd,
    write: Arc<OwnedFd>,
}

impl Logs {
    /// Finds the keeper of a directory, or starts one, and takes over the pipes that it holds. Without one there are no
    /// logs yet: see [`Logs::seek`].
    pub async fn open(directory: PathBuf, launch: Launch) -> (Self, Result<(), LogsError>) {
        let seeker = Seeker { directory: directory.clone(), launch, child: None };
        let mut logs = Self { directory, seeker: None, connection: None, pipes: HashMap::new() };
        let connected = logs.found(seeker.seek().await);
        (logs, connected)
    }

    /// Whether there is a keeper.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.connection.is_some()
    }

    /// Ready once the keeper has gone. For ever, if there was none. Call [`Logs::seek`] then.
    pub async fn gone(&self) {
        let Some(connection) = &self.connection else { return std::future::pending().await };
        loop {
            let Ok(mut guard) = connection.readable().await else { return };
            match wire::receive(connection.get_ref()) {
                // Nothing is asked for by this connection; what a later keeper tells is for later daemons.
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Finds or starts another keeper, elsewhere; [`Logs::found`] is to be told. What is logged meanwhile waits in its pipe. `None`: one is
    /// sought already.
    pub fn seek(&mut self) -> Option<impl Future<Output = Sought> + Send + use<>> {
        self.connection = None;
        self.seeker.take().map(Seeker::seek)
    }

    /// Hands a keeper that was found all that it does not know.
    ///
    /// # Errors
    /// If there is none.
    pub fn found(&mut self, sought: Sought) -> Result<(), LogsError> {
        self.seeker = Some(sought.seeker);
        let (connection, held) = sought.found?;
        let mut known = HashMap::new();
        for (key, pipe) in held {
            known.insert(key.clone(), pipe.target.clone());
            self.pipes.entry(key).or_insert(pipe);
        }
        for (key, pipe) in &self.pipes {
            let (service, instance) = key;
            let read = match known.get(key) {
                Some(target) if *target == pipe.target => continue,
                Some(_) => None,
                None => Some(&pipe.read),
            };
            hand_over(&connection, service, *instance, &pipe.target, read)?;
        }
        self.connection = Some(connection);
        Ok(())
    }
    /// The writing end of an instance's pipe. `None` for a log that goes nowhere.
    ///
    /// # Errors
    /// If the keeper has gone, or there are no descriptors left. Whoever starts the service nevertheless lets its log go
    /// nowhere, and says so.
    pub fn pipe(
        &mut self,
        service: &str,
        instance: u32,
        target: &Target,
    ) -> Result<Option<Arc<OwnedFd>>, LogsError> {
        let key = (Arc::from(service), instance);
        let known = self.pipes.get_mut(&key);
        if *target == Target::Null && known.is_none() {
            return Ok(None);
        }
        // One that is sought gets all of it once it is found.
        let connection = self.connection.as_ref();
        if connection.is_none() && self.seeker.is_some() {
            return Err(LogsError::Silent(self.directory.clone()));
        }
        if let Some(pipe) = known {
            if pipe.target != *target {
                connection.map_or(Ok(()), |keeper| hand_over(keeper, service, instance, target, None))?;
                pipe.target.clone_from(target);
            }
            return Ok(Some(Arc::clone(&pipe.write)));
        }
        let (read, write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a log pipe", error.into()))?;
        // A smaller one does as well.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        connection.map_or(Ok(()), |keeper| hand_over(keeper, service, instance, target, Some(&read)))?;
        let write = Arc::new(write);
        self.pipes.insert(key, Pipe { target: target.clone(), read, write: Arc::clone(&write) });
        Ok(Some(write))
    }

    /// An instance is no more: its pipe goes once nobody can write to it.
    pub fn forget(&mut self, service: &str, instance: u32) {
        let known = self.pipes.remove(&(Arc::from(service), instance));
        if let (Some(_), Some(connection)) = (known, &self.connection) {
            let message = Message::Forget { service: service.to_owned(), instance };
            // Else the keeper has gone, and with it all that it knew.
            let _ = wire::send(connection.get_ref(), &message, &[]);
        }
    }

    /// Instances that have a pipe, also those of daemons before this one.
    pub fn instances(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pipes.keys().map(|(service, instance)| (&**service, *instance))
    }
}

impl Seeker {
    async fn seek(mut self) -> Sought {
        let until = Instant::now() + PATIENCE;
        let found = loop {
            self.reap();
            match self.reach().await {
                // One that is being killed takes connections, and has the lock, until all of it is closed.
                Err(error) if error.may_pass() && Instant::now() < until => sleep(PAUSE).await,
                reached => break reached,
            }
        };
        Sought { seeker: self, found }
    }

    /// Connects to the keeper, which is started if there is none, and takes in what it holds.
    async fn reach(&mut self) -> Result<(AsyncFd<OwnedFd>, Held), LogsError> {
        let socket = match dial(&self.directory) {
            Ok(socket) => socket,
            Err(_nobody) => {
                self.start().await?;
                dial(&self.directory).map_err(|source| system("connect to the keeper", source))?
            }
        };
        let connection = watch(socket)?;
        let held = timeout(PATIENCE, hello(&connection))
            .await
            .map_err(|_elapsed| LogsError::Silent(self.directory.clone()))?
            .map_err(|source| system("take over the keeper's pipes", source))?;
        Ok((connection, held))
    }

    async fn start(&mut self) -> Result<(), LogsError> {
        let (read, write) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a pipe", error.into()))?;
        self.child = Some((self.launch)(write).map_err(LogsError::Start)?);
        rustix::io::ioctl_fionbio(&read, true).map_err(|error| system("set up a pipe", error.into()))?;
        let read = watch(read)?;
        let mut said = Vec::new();
        let heard = timeout(PATIENCE, async {
            let mut bytes = [0; 512];
            while !said.ends_with(READY.as_bytes()) {
                let Ok(mut guard) = read.readable().await else { return };
                match rustix::io::read(read.get_ref(), &mut bytes) {
                    Ok(0) => return,
                    Ok(count) => said.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                    Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        });
        if heard.await.is_err() {
            return Err(LogsError::Silent(self.directory.clone()));
        }
        // One that came first is as good; whether there is one is seen next.
        if said.ends_with(READY.as_bytes()) || dial(&self.directory).is_ok() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(LogsError::Start(if said.is_empty() { "it ended at once".to_owned() } else { said }))
    }

    /// A keeper that we started and that ended.
    fn reap(&mut self) {
        if let Some(child) =
            self.child.take_if(|child| crate::daemon::hands::identity::has_ended(child.as_fd()))
        {
            crate::daemon::hands::exits::reap(&child);
        }
    }
}

/// Asks the keeper of a directory what came, by a connection of its own; and how many messages it did not understand.
///
/// # Errors
/// If there is none, or it does not answer.
pub async fn ask(directory: &Path) -> Result<(Vec<Count>, u64), LogsError> {
    let socket = dial(directory).map_err(|source| system("connect to the keeper", source))?;
    let connection = watch(socket)?;
    let failed = |source| system("ask the keeper", source);
    wire::send(connection.get_ref(), &Message::Ask, &[]).map_err(failed)?;
    let mut all = Vec::new();
    let answered = timeout(PATIENCE, async {
        loop {
            if let (Message::Counts { counts, last, unknown }, _) = next(&connection).await? {
                all.extend(counts);
                if last {
                    return Ok(unknown);
                }
            }
        }
    });
    let unknown =
        answered.await.map_err(|_elapsed| LogsError::Silent(directory.to_owned()))?.map_err(failed)?;
    Ok((all, unknown))
}

/// Says who we are, and takes in what the keeper holds.
async fn hello(connection: &AsyncFd<OwnedFd>) -> io::Result<Held> {
    wire::send(connection.get_ref(), &Message::Hello { version: wire::VERSION }, &[])?;
    let mut expected = None;
    let mut held = Vec::new();
    while expected.is_none_or(|expected| held.len() < expected) {
        match next(connection).await? {
            (Message::Welcome { pipes, .. }, _) => expected = Some(pipes),
            (Message::Pipe { service, instance, target }, descriptors) => {
                let mut descriptors = descriptors.into_iter();
                let (Some(read), Some(write)) = (descriptors.next(), descriptors.next()) else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                held.push(((service.into(), instance), Pipe { target, read, write: Arc::new(write) }));
            }
            _ => {}
        }
    }
    Ok(held)
}

async fn next(connection: &AsyncFd<OwnedFd>) -> io::Result<(Message, Vec<OwnedFd>)> {
    loop {
        let mut guard = connection.readable().await?;
        match wire::receive(connection.get_ref()) {
            Ok(Some(received)) => return Ok(received),
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}

fn hand_over(
    connection: &AsyncFd<OwnedFd>,
    service: &str,
    instance: u32,
    target: &Target,
    read: Option<&OwnedFd>,
) -> Result<(), LogsError> {
    let message = Message::Pipe { service: service.to_owned(), instance, target: target.clone() };
    let descriptors: Vec<_> = read.into_iter().map(AsFd::as_fd).collect();
    let failed = |source| system("hand a log pipe to the keeper", source);
    loop {
        match wire::send(connection.get_ref(), &message, &descriptors) {
            // A thousand services that are started at once: it is reading them.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_writable(connection).map_err(failed)?
            }
            sent => return sent.map_err(failed),
        }
    }
}

fn wait_writable(connection: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut descriptors = [PollFd::new(connection.get_ref(), PollFlags::OUT)];
    match poll(&mut descriptors, Some(&FULL)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn dial(directory: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(directory.join(SOCKET))?)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn watch(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>, LogsError> {
    crate::daemon::hands::watch(descriptor, Interest::READABLE)
        .map_err(|source| system("watch a descriptor", source))
}

const fn system(action: &'static str, source: io::Error) -> LogsError {
    LogsError::System { action, source }
}
