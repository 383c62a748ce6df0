//! The keeper at work: one thread, one poll.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, sockopt};

use super::sink::Sink;
use super::wire::{self, Count, Message, Target};
use super::{HELD, LOCK, SOCKET};

/// Bytes read from a pipe at once: what an ordinary pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// Reads from one pipe before the others have their turn.
const READS: usize = 4;
/// Pipes told of in one message.
const COUNTS: usize = 64;
/// How long a daemon may take to read what it asked for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections that may wait.
const BACKLOG: i32 = 16;

/// How a keeper works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its socket and its lock are.
    pub directory: PathBuf,
    /// How long it stays if it holds nothing and no daemon is there.
    pub linger: Duration,
    /// The socket of journald.
    pub journal: PathBuf,
}

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one.
    #[error("{HELD} {}", .0.display())]
    Held(PathBuf),
    /// It cannot set itself up.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A keeper that listens.
#[derive(Debug)]
pub struct Keeper {
    options: Options,
    _lock: File,
    listener: OwnedFd,
    signals: OwnedFd,
    connections: Vec<Connection>,
    pipes: Vec<Pipe>,
    unknown: u64,
    /// It was asked to end: it does once it holds nothing.
    is_ending: bool,
    /// Since when it holds nothing.
    idle: Option<Instant>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    /// It said `Hello`: a daemon that stays.
    is_daemon: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Pipe {
    service: String,
    instance: u32,
    target: Target,
    read: OwnedFd,
    sink: Sink,
    bytes: u64,
    lost: u64,
    /// Nobody can write to it now.
    is_hung_up: bool,
    is_forgotten: bool,
}

/// What a descriptor in the poll is.
enum Polled {
    Listener,
    Signals,
    Connection(usize),
    Pipe(usize),
    Sink,
}

impl Keeper {
    /// Takes the lock and listens.
    ///
    /// # Errors
    /// If there is a keeper already, or the directory cannot be used.
    pub fn open(options: Options) -> Result<Self, Error> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::System { action, path, source }
        };
        let directory = &options.directory;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(failed("make the directory", directory))?;
        let path = directory.join(LOCK);
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(failed("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Held(directory.clone())),
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        let path = directory.join(SOCKET);
        let listener = listen_at(&path).map_err(failed("listen at", &path))?;
        crate::daemon::hands::raise_open_files();
        let signals = signals().map_err(failed("listen for signals in", directory))?;
        Ok(Self {
            options,
            _lock: lock,
            listener,
            signals,
            connections: Vec::new(),
            pipes: Vec::new(),
            unknown: 0,
            is_ending: false,
            idle: None,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Works until it holds nothing and nobody needs it.
    ///
    /// # Errors
    /// If it cannot wait for anything.
    pub fn run(mut self) -> Result<(), Error> {
        loop {
            let now = Instant::now();
            let Some(timeout) = self.timeout(now) else { break };
            let ready = self.wait(timeout).map_err(|source| Error::System {
                action: "wait for pipes in",
                path: self.options.directory.clone(),
                source,
            })?;
            let now = Instant::now();
            for polled in ready {
                match polled {
                    Polled::Listener => self.accept(),
                    Polled::Signals => self.is_ending = true,
                    Polled::Connection(at) => self.hear(at, now),
                    Polled::Pipe(at) => self.read(at, now),
                    Polled::Sink => {}
                }
            }
            self.resume(now);
            self.connections.retain(|connection| !connection.is_over);
            self.pipes.retain(|pipe| !(pipe.is_forgotten && pipe.is_hung_up));
        }
        // The next one replaces it, if this fails.
        let _ = fs::remove_file(self.options.directory.join(SOCKET));
        Ok(())
    }

    /// How long to wait at most; `None`: there is nothing to wait for any more.
    fn timeout(&mut self, now: Instant) -> Option<Option<Duration>> {
        let has_writer = self.pipes.iter().any(|pipe| !pipe.is_hung_up);
        let sinks = self.pipes.iter().filter_map(|pipe| Some(pipe.sink.waits()?.1)).min();
        if has_writer || self.connections.iter().any(|connection| connection.is_daemon) {
            self.idle = None;
            return Some(sinks.map(|until| until.saturating_duration_since(now)));
        }
        let since = *self.idle.get_or_insert(now);
        let linger = if self.is_ending { Duration::ZERO } else { self.options.linger };
        let left = linger.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero() || sinks.is_some()).then(|| {
            let until = sinks.map(|until| until.saturating_duration_since(now));
            Some(until.map_or(left, |until| until.min(left.max(Duration::from_millis(1)))))
        })
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Polled>> {
        let mut what = vec![Polled::Listener];
        let mut descriptors = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if !self.is_ending {
            what.push(Polled::Signals);
            descriptors.push(PollFd::new(&self.signals, PollFlags::IN));
        }
        for (at, connection) in self.connections.iter().enumerate() {
            what.push(Polled::Connection(at));
            descriptors.push(PollFd::new(&connection.socket, PollFlags::IN));
        }
        for (at, pipe) in self.pipes.iter().enumerate() {
            if let Some((socket, _)) = pipe.sink.waits() {
                what.push(Polled::Sink);
                descriptors.push(PollFd::from_borrowed_fd(socket, PollFlags::OUT));
            } else if !pipe.is_hung_up {
                what.push(Polled::Pipe(at));
                descriptors.push(PollFd::new(&pipe.read, PollFlags::IN));
            }
        }
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
        Ok(what.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(what, _)| what).collect())
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(&self.listener, flags) else { return };
        let own = rustix::process::geteuid();
        let is_permitted =
            sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid.is_root() || peer.uid == own);
        // A daemon that does not listen must not hold the logs up.
        let patience = sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE));
        if is_permitted && patience.is_ok() {
            self.connections.push(Connection { socket, is_daemon: false, is_over: false });
        }
    }

    /// Takes in what a daemon says.
    fn hear(&mut self, at: usize, now: Instant) {
        loop {
            let Some(connection) = self.connections.get_mut(at) else { return };
            let (message, descriptors) = match wire::receive(&connection.socket) {
                Ok(Some(received)) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => {
                    connection.is_over = true;
                    return;
                }
            };
            match message {
                Message::Hello { .. } => {
                    connection.is_daemon = true;
                    self.welcome(at);
                }
                Message::Pipe { service, instance, target } => {
                    self.keep(service, instance, target, descriptors.into_iter().next(), now);
                }
                Message::Forget { service, instance } => {
                    for pipe in self.pipes.iter_mut().filter(|pipe| pipe.is(&service, instance)) {
                        pipe.is_forgotten = true;
                    }
                }
                Message::Ask => self.tell(at),
                Message::Welcome { .. } | Message::Counts { .. } | Message::Unknown => {
                    self.unknown = self.unknown.saturating_add(1);
                }
            }
        }
    }

    fn welcome(&mut self, at: usize) {
        let Self { connections, pipes, .. } = self;
        let Some(connection) = connections.get_mut(at) else { return };
        // A daemon waits for all of it.
        let _ = rustix::io::ioctl_fionbio(&connection.socket, false);
        let kept: Vec<&mut Pipe> = pipes.iter_mut().filter(|pipe| !pipe.is_forgotten).collect();
        let pid = std::process::id();
        let mut sent = wire::send(
            &connection.socket,
            &Message::Welcome { version: wire::VERSION, pid, pipes: kept.len() },
            &[],
        );
        for pipe in kept {
            sent = sent.and_then(|()| {
                let write = writing_end(pipe.read.as_fd())?;
                pipe.is_hung_up = false;
                let message = Message::Pipe {
                    service: pipe.service.clone(),
                    instance: pipe.instance,
                    target: pipe.target.clone(),
                };
                wire::send(&connection.socket, &message, &[pipe.read.as_fd(), write.as_fd()])
            });
        }
        let _ = rustix::io::ioctl_fionbio(&connection.socket, true);
        connection.is_over = sent.is_err();
    }

    fn keep(&mut self, service: String, instance: u32, target: Target, read: Option<OwnedFd>, now: Instant) {
        let sink = Sink::new(&target, &self.options.journal);
        let known = self.pipes.iter().position(|pipe| pipe.is(&service, instance) && !pipe.is_forgotten);
        if let Some(at) = known {
            if read.is_none() {
                // What was written before is put down where it belonged.
                self.read(at, now);
                if let Some(pipe) = self.pipes.get_mut(at)
                    && pipe.target != target
                {
                    (pipe.target, pipe.sink) = (target, sink);
                }
                return;
            }
            // Another pipe in its place: the old one is read to its end.
            if let Some(pipe) = self.pipes.get_mut(at) {
                pipe.is_forgotten = true;
            }
        }
        let Some(read) = read else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        if rustix::io::ioctl_fionbio(&read, true).is_err() {
            return;
        }
        let (bytes, lost) =
            known.and_then(|at| self.pipes.get(at)).map_or((0, 0), |pipe| (pipe.bytes, pipe.lost));
        self.pipes.push(Pipe {
            service,
            instance,
            target,
            read,
            sink,
            bytes,
            lost,
            is_hung_up: false,
            is_forgotten: false,
        });
    }

    /// Tells what came.
    fn tell(&mut self, at: usize) {
        let counts: Vec<Count> =
            self.pipes.iter().filter(|pipe| !pipe.is_forgotten).map(Pipe::count).collect();
        let unknown = self.unknown;
        let Some(connection) = self.connections.get_mut(at) else { return };
        let _ = rustix::io::ioctl_fionbio(&connection.socket, false);
        let mut chunks = counts.chunks(COUNTS).peekable();
        loop {
            let counts = chunks.next().unwrap_or_default().to_vec();
            let last = chunks.peek().is_none();
            if wire::send(&connection.socket, &Message::Counts { counts, last, unknown }, &[]).is_err() {
                connection.is_over = true;
            }
            if last || connection.is_over {
                break;
            }
        }
        let _ = rustix::io::ioctl_fionbio(&connection.socket, true);
    }

    fn read(&mut self, at: usize, now: Instant) {
        let Self { pipes, buffer, .. } = self;
        let Some(pipe) = pipes.get_mut(at) else { return };
        for _ in 0..READS {
            if pipe.sink.waits().is_some() {
                return;
            }
            match rustix::io::read(&pipe.read, buffer.as_mut_slice()) {
                Ok(0) => {
                    pipe.is_hung_up = true;
                    return;
                }
                Ok(read) => {
                    pipe.bytes = pipe.bytes.saturating_add(read as u64);
                    let lost = pipe.sink.write(buffer.get(..read).unwrap_or_default(), now);
                    pipe.lost = pipe.lost.saturating_add(lost);
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Goes on with what waits for the journal.
    fn resume(&mut self, now: Instant) {
        for pipe in self.pipes.iter_mut().filter(|pipe| pipe.sink.waits().is_some()) {
            pipe.lost = pipe.lost.saturating_add(pipe.sink.resume(now));
        }
    }
}

impl Pipe {
    fn is(&self, service: &str, instance: u32) -> bool {
        self.service == service && self.instance == instance
    }

    fn count(&self) -> Count {
        Count {
            service: self.service.clone(),
            instance: self.instance,
            bytes: self.bytes,
            lost: self.lost,
            trouble: self.sink.trouble(),
        }
    }
}

/// A pipe can be opened for writing by its reading end: whoever holds that one needs no other.
fn writing_end(read: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", read.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    // The lock says that nobody listens there.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let family = rustix::net::AddressFamily::UNIX;
    let socket = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Readable once somebody wants the keeper to end. Whoever stops the daemon's unit or closes its terminal means the daemon.
fn signals() -> io::Result<OwnedFd> {
    // SAFETY: zeros are a value of the set, which is made empty and filled before it is used.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid; this process has one thread.
    let made = unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}
