//! A terminal with a program on it: a pseudo-terminal, and an emulator that shows what a person
//! would see.

use std::ffi::OsStr;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vt100::Parser;

use crate::{host, sys};

/// How long output is waited for at a time.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A terminal.
pub struct Terminal {
    /// Our side; `None` once it hung up.
    master: Option<OwnedFd>,
    /// The program's side, kept open so that its modes can be asked for at any time.
    slave: OwnedFd,
    parser: Parser,
    child: Child,
}

/// The modes of a terminal (`stty -a`), and what the emulator knows beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    flags: [u32; 4],
    control: Vec<u8>,
    alternate_screen: bool,
    hidden_cursor: bool,
}

impl Modes {
    /// Whether the modes of the line (`stty -a`) are the same, whatever the emulator knows.
    #[must_use]
    pub fn is_same_line(&self, other: &Self) -> bool {
        (self.flags, &self.control) == (other.flags, &other.control)
    }
}

impl Terminal {
    /// Starts a program on a new terminal of its own, as the leader of a session. Also gives the
    /// terminal's modes from before.
    ///
    /// # Errors
    /// If there is no terminal left, or the program does not start.
    pub fn start(rows: u16, columns: u16, program: &OsStr, arguments: &[&OsStr]) -> Result<(Self, Modes)> {
        let (master, slave) = open(rows, columns)?;
        let end = |slave: &OwnedFd| slave.try_clone().map(Stdio::from).context("dup");
        let mut command = Command::new(program);
        command.args(arguments).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(end(&slave)?).stdout(end(&slave)?).stderr(end(&slave)?);
        // SAFETY: both calls are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                sys::check(libc::setsid())?;
                sys::check(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
            })
        };
        let parser = Parser::new(nonzero(rows)?, nonzero(columns)?, 0);
        let before = modes(&slave, &parser)?;
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok((Self { master: Some(master), slave, parser, child }, before))
    }

    /// The program's pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What a person would see, without trailing blanks.
    #[must_use]
    pub fn text(&self) -> String {
        let (_, columns) = self.parser.screen().size();
        let rows = self.parser.screen().rows(0, columns.get());
        rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// The first line on the screen that contains the text, with its number from 0.
    #[must_use]
    pub fn line(&self, part: &str) -> Option<(usize, String)> {
        let text = self.text();
        text.lines().enumerate().find(|(_, line)| line.contains(part)).map(|(at, line)| (at, line.to_owned()))
    }

    /// The text of the lines in reverse video, where the selection is.
    #[must_use]
    pub fn reversed(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let (rows, _) = screen.size();
        let lines = self.text();
        let reversed = (0..rows.get()).filter(|row| screen.cell(*row, 0).is_some_and(vt100::Cell::inverse));
        reversed.filter_map(|row| lines.lines().nth(row.into()).map(ToOwned::to_owned)).collect()
    }

    /// Types.
    ///
    /// # Errors
    /// If the terminal was hung up.
    pub fn type_in(&self, keys: &str) -> Result<()> {
        let master = self.master.as_ref().context("the terminal is hung up")?;
        ensure!(rustix::io::write(master, keys.as_bytes())? == keys.len(), "a short write");
        Ok(())
    }

    /// Makes the window another size.
    ///
    /// # Errors
    /// If the terminal was hung up.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        let master = self.master.as_ref().context("the terminal is hung up")?;
        set_size(master, rows, columns)?;
        self.parser.set_size(nonzero(rows)?, nonzero(columns)?);
        Ok(())
    }

    /// Takes in output until the screen is as wanted.
    ///
    /// # Errors
    /// If it does not become so in time, or the program ends instead.
    pub fn wait_until(&mut self, what: &str, mut wanted: impl FnMut(&Self) -> bool) -> Result<()> {
        let seen = host::wait_for(what, || {
            self.take_in()?;
            if wanted(self) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait().context("wait")? {
                bail!("the program ended: {status}");
            }
            Ok(None)
        });
        seen.with_context(|| format!("the screen:\n{}", self.text()))
    }

    /// Takes in output until the screen shows a text.
    ///
    /// # Errors
    /// As [`Terminal::wait_until`].
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.wait_until(text, |terminal| terminal.text().contains(text))
    }

    /// Waits for the program's end without taking in anything: for who no longer reads.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn wait_blindly(&mut self) -> Result<ExitStatus> {
        host::wait_for("the program's end", || self.child.try_wait().context("wait"))
    }

    /// Waits for the program's end, and takes in all that it said.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = host::wait_for("the program's end", || {
            self.take_in()?;
            self.child.try_wait().context("wait")
        });
        let status = status.with_context(|| format!("the screen:\n{}", self.text()))?;
        self.take_in()?;
        Ok(status)
    }

    /// The terminal's modes now.
    ///
    /// # Errors
    /// If it was hung up.
    pub fn modes(&mut self) -> Result<Modes> {
        self.take_in()?;
        modes(&self.slave, &self.parser)
    }

    /// Hangs up, as a closed window does.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Takes in what there is, and waits a moment for more.
    fn take_in(&mut self) -> Result<()> {
        let Some(master) = &self.master else { return Ok(()) };
        let mut bytes = [0; 16 * 1024];
        loop {
            let mut ready = [PollFd::new(master, PollFlags::IN)];
            if poll(&mut ready, Some(&MOMENT)).context("poll")? == 0 {
                return Ok(());
            }
            let length = rustix::io::read(master, &mut bytes).context("read from the terminal")?;
            self.parser.process(bytes.get(..length).unwrap_or_default());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(number: u16) -> Result<NonZeroU16> {
    NonZeroU16::new(number).context("a terminal without lines or columns")
}

/// A new pseudo-terminal: our side, the program's side.
fn open(rows: u16, columns: u16) -> Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both pointers are valid for writes; the others may be null.
    let made = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    sys::check(made).context("openpty")?;
    // SAFETY: just opened, and nobody else's.
    let ends = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for end in [&ends.0, &ends.1] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC).context("FD_CLOEXEC")?;
    }
    set_size(&ends.0, rows, columns)?;
    Ok(ends)
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointer is valid for reads.
    sys::check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .context("TIOCSWINSZ")?;
    Ok(())
}

fn modes(slave: &OwnedFd, parser: &Parser) -> Result<Modes> {
    let mut termios = std::mem::MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the pointer is valid for writes.
    let got = unsafe { libc::tcgetattr(slave.as_raw_fd(), termios.as_mut_ptr()) };
    if got != 0 {
        return Err(io::Error::last_os_error()).context("tcgetattr");
    }
    // SAFETY: zeroed is a value of it, whatever the kernel wrote.
    let termios = unsafe { termios.assume_init() };
    Ok(Modes {
        flags: [termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag],
        control: termios.c_cc.to_vec(),
        alternate_screen: parser.screen().alternate_screen(),
        hidden_cursor: parser.screen().hide_cursor(),
    })
}
