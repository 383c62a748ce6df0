//! The terminal: taken over, painted, and given back however this program ends.
//!
//! What has to be given back is kept in statics, because a panic, a fault or a signal asks for it
//! at any moment: [`give_back`] only makes system calls that are allowed in signal handlers.

use std::io::{self, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::termios::{self, OptionalActions, Termios};

use crate::output;

/// Alternate screen, no cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?25l";
/// No attributes, cursor shown, the screen as it was.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// Signals that end a program which does not expect them. A terminal is given back before they do
/// their work. SIGINT, SIGTERM and SIGHUP are requests to stop and handled as such.
const DEADLY: [libc::c_int; 18] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// How long, in milliseconds, a terminal that takes nothing is waited for when it is given back.
const PATIENCE_MS: libc::c_int = 500;

/// Whether the terminal is ours at the moment; guards [`SAVED`].
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Where to write to give it back, and whose modes to set.
static OUTPUT: AtomicI32 = AtomicI32::new(-1);
static INPUT: AtomicI32 = AtomicI32::new(-1);
/// Its modes as they were: written only while [`TAKEN`] is false.
static SAVED: Saved = Saved(std::cell::UnsafeCell::new(std::mem::MaybeUninit::uninit()));
static HOOK: Once = Once::new();

struct Saved(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::termios>>);

// SAFETY: written by `take` alone, before `TAKEN` is set with release order; read only by whoever
// took `TAKEN` back with acquire order.
unsafe impl Sync for Saved {}

/// The terminal, taken over. Dropping it gives the terminal back.
pub(super) struct Screen {
    input: RawFd,
    output: RawFd,
    backend: CrosstermBackend<Frame>,
    /// What is on the screen, and what will be.
    shown: Buffer,
    next: Buffer,
}

/// Collects a picture, so that it reaches the terminal with one call.
struct Frame {
    output: RawFd,
    bytes: Vec<u8>,
}

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// What the terminal does not take in time after a request to stop is dropped.
    fn flush(&mut self) -> io::Result<()> {
        let written = output::write_all(borrow(self.output), &self.bytes);
        self.bytes.clear();
        written
    }
}

impl Screen {
    /// Takes the terminal over. Both descriptors must stay open as long as the screen lives.
    ///
    /// # Errors
    /// If it is no terminal, or has gone.
    pub(super) fn take(input: RawFd, output: RawFd) -> io::Result<Self> {
        HOOK.call_once(restore_before_panics);
        let area = size(output)?;
        let backend = CrosstermBackend::new(Frame { output, bytes: Vec::new() });
        // From here on an error on the way drops the screen, and that gives the terminal back.
        let screen = Self { input, output, backend, shown: Buffer::empty(area), next: Buffer::empty(area) };
        for signal in deadly() {
            handle(signal, on_deadly as *const () as libc::sighandler_t, libc::SA_RESETHAND)?;
        }
        take(input, output)?;
        Ok(screen)
    }

    /// Paints what changed since the last time.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.next.reset();
        paint(&mut self.next);
        self.backend.draw(self.shown.diff(&self.next).into_iter())?;
        std::mem::swap(&mut self.shown, &mut self.next);
        ratatui::backend::Backend::flush(&mut self.backend)
    }

    /// Forgets what is on the screen, and asks how large it is: the next picture is painted whole.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        let area = size(self.output)?;
        self.shown = Buffer::empty(area);
        self.next = Buffer::empty(area);
        self.backend.write_all(b"\x1b[0m\x1b[2J")
    }

    /// Gives the terminal back, stops like any job, and takes it again when continued.
    ///
    /// # Errors
    /// If the terminal has gone meanwhile.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // As the default action of SIGTSTP, which the kernel refuses where nobody could continue us.
        let before = handle(libc::SIGTSTP, libc::SIG_DFL, 0)?;
        // SAFETY: no pointers.
        unsafe { libc::raise(libc::SIGTSTP) };
        // SAFETY: the action is what the call above returned.
        unsafe { libc::sigaction(libc::SIGTSTP, &raw const before, std::ptr::null_mut()) };
        self.resume()
    }

    /// Takes the terminal again after somebody else stopped and continued us, and perhaps changed
    /// its modes.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        take(self.input, self.output)?;
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        for signal in deadly() {
            // Setting a default action cannot fail for these signals.
            let _ = handle(signal, libc::SIG_DFL, 0);
        }
    }
}

fn deadly() -> impl Iterator<Item = libc::c_int> {
    DEADLY.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

/// Width and height of the terminal.
///
/// # Errors
/// If it is none.
pub(super) fn size(output: RawFd) -> io::Result<Rect> {
    let size = termios::tcgetwinsize(borrow(output))?;
    // A terminal that does not know its size says 0; a size of the past is better than none.
    let (width, height) =
        if size.ws_col == 0 || size.ws_row == 0 { (80, 24) } else { (size.ws_col, size.ws_row) };
    Ok(Rect::new(0, 0, width, height))
}

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: standard input and output, or a test's terminal, which outlive the screen.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Raw mode, alternate screen.
fn take(input: RawFd, output: RawFd) -> io::Result<()> {
    let mut modes = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the pointer is valid for writes.
    if unsafe { libc::tcgetattr(input, modes.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if !TAKEN.load(Ordering::Acquire) {
        // SAFETY: nobody reads it while `TAKEN` is false; the source was filled above.
        unsafe { (*SAVED.0.get()).write(modes.assume_init()) };
    }
    OUTPUT.store(output, Ordering::Relaxed);
    INPUT.store(input, Ordering::Relaxed);
    TAKEN.store(true, Ordering::Release);
    let mut raw: Termios = termios::tcgetattr(borrow(input))?;
    raw.make_raw();
    termios::tcsetattr(borrow(input), OptionalActions::Now, &raw)?;
    output::write_all(borrow(output), ENTER)
}

/// Gives the terminal back if it is ours. Async-signal-safe, and does it once.
fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut left = LEAVE;
    for _ in 0..LEAVE.len() {
        let mut ready =
            libc::pollfd { fd: OUTPUT.load(Ordering::Relaxed), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, valid for the call.
        if unsafe { libc::poll(&raw mut ready, 1, PATIENCE_MS) } == 0 {
            break;
        }
        // SAFETY: the buffer is valid for its length; a terminal that has gone says so.
        let written =
            unsafe { libc::write(OUTPUT.load(Ordering::Relaxed), left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(written) if written < left.len() => left = left.split_at(written).1,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    // SAFETY: it was filled before `TAKEN` was set, and nobody writes to it now.
    let modes = unsafe { (*SAVED.0.get()).as_ptr() };
    // SAFETY: the modes are valid for reads; a terminal that has gone says so.
    unsafe { libc::tcsetattr(INPUT.load(Ordering::Relaxed), libc::TCSANOW, modes) };
}

/// The message of a panic belongs on the screen that stays.
fn restore_before_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        give_back();
        tell(info);
    }));
}

/// Gives the terminal back and lets the signal do what it does by default: the handler is gone
/// once it was called.
extern "C" fn on_deadly(signal: libc::c_int) {
    give_back();
    // SAFETY: no pointers; the signal is blocked until the handler returns, and deadly then.
    unsafe { libc::raise(signal) };
}

/// Sets how a signal is taken, and gives how it was.
fn handle(
    signal: libc::c_int,
    handler: libc::sighandler_t,
    flags: libc::c_int,
) -> io::Result<libc::sigaction> {
    // SAFETY: zero is a value of every field of `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // A stack that is full has another one for this.
    action.sa_flags = flags | libc::SA_ONSTACK;
    let mut before = action;
    // SAFETY: both are valid for the call; the handlers only do what is allowed in handlers.
    if unsafe { libc::sigaction(signal, &raw const action, &raw mut before) } == 0 {
        Ok(before)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    use super::*;

    fn terminal() -> (OwnedFd, OwnedFd) {
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: both pointers are valid for writes; the others may be null.
        let made = unsafe {
            libc::openpty(
                &raw mut ours,
                &raw mut theirs,
                std::ptr::null_mut(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(made, 0);
        // SAFETY: just opened, and nobody else's.
        unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
    }

    fn modes(terminal: &OwnedFd) -> String {
        format!("{:?}", termios::tcgetattr(terminal).unwrap())
    }

    /// All that reached the terminal since the last time.
    fn output(ours: &OwnedFd) -> Vec<u8> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut all = Vec::new();
        let moment = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        while poll(&mut [PollFd::new(ours, PollFlags::IN)], Some(&moment)).unwrap() > 0 {
            let mut bytes = vec![0; 4096];
            let length = rustix::io::read(ours, &mut bytes).unwrap();
            all.extend_from_slice(&bytes[..length]);
        }
        all
    }

    /// One test, because a program has one terminal.
    #[test]
    fn a_panic_and_an_end_give_the_terminal_back() {
        let (ours, theirs) = terminal();
        let before = modes(&theirs);
        let painted = std::panic::catch_unwind(|| {
            let mut screen = Screen::take(theirs.as_raw_fd(), theirs.as_raw_fd()).unwrap();
            assert_ne!(modes(&theirs), before);
            screen
                .draw(|buffer| assert_eq!(buffer.area, Rect::new(0, 0, 80, 24), "without a size: the usual"))
                .unwrap();
            assert_eq!(output(&ours)[..ENTER.len()], *ENTER);
            screen.draw(|_| panic!("on purpose: this message belongs to the test")).unwrap();
        });
        assert!(painted.is_err());
        assert_eq!(modes(&theirs), before);
        assert_eq!(output(&ours), LEAVE, "once, and nothing of the picture that failed");

        drop(Screen::take(theirs.as_raw_fd(), theirs.as_raw_fd()).unwrap());
        assert_eq!(modes(&theirs), before);
        assert_eq!(output(&ours), [ENTER, LEAVE].concat());
    }
}
