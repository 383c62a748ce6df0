//! System calls that the standard library does not have, made safe.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Nanoseconds since boot, suspended time included: the clock of a process's start time.
#[must_use]
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let whole = Duration::new(now.tv_sec.unsigned_abs(), 0);
    u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX) + now.tv_nsec.unsigned_abs()
}

/// A pid of this process.
#[must_use]
pub fn pid() -> i32 {
    std::process::id().cast_signed()
}

/// Turns the result of a libc call into a `Result`.
///
/// # Errors
/// If it is negative: `errno`.
pub fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A child that was waited for.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its pid.
    pub pid: i32,
    /// What `wait()` reported.
    pub status: i32,
    /// What it used, its own waited-for children included.
    pub usage: Usage,
}

/// What `wait4` says of a dead child's use of resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in user mode.
    pub user_us: i64,
    /// CPU time in the kernel.
    pub system_us: i64,
    /// Largest resident set.
    pub peak_rss_kib: i64,
    /// Page faults without I/O.
    pub minor_faults: i64,
    /// Page faults with I/O.
    pub major_faults: i64,
    /// Context switches asked for.
    pub voluntary_switches: i64,
    /// Context switches suffered.
    pub involuntary_switches: i64,
}

impl Usage {
    /// As the truth file has it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "user_us": self.user_us,
            "system_us": self.system_us,
            "peak_rss_kib": self.peak_rss_kib,
            "minor_faults": self.minor_faults,
            "major_faults": self.major_faults,
            "voluntary_switches": self.voluntary_switches,
            "involuntary_switches": self.involuntary_switches,
        })
    }
}

/// Waits for a child to end; -1 means any.
///
/// # Errors
/// If there is no such child.
pub fn wait(pid: i32) -> Result<Ended> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let got = loop {
        // SAFETY: both pointers are valid for writes for the length of the call.
        match check(unsafe { libc::wait4(pid, &raw mut status, libc::__WALL, usage.as_mut_ptr()) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            got => break got.with_context(|| format!("wait4({pid})"))?,
        }
    };
    // SAFETY: zeroed is a valid `rusage`, whatever of it the kernel wrote.
    let usage = unsafe { usage.assume_init() };
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    Ok(Ended {
        pid: got,
        status,
        usage: Usage {
            user_us: micros(usage.ru_utime),
            system_us: micros(usage.ru_stime),
            peak_rss_kib: usage.ru_maxrss,
            minor_faults: usage.ru_minflt,
            major_faults: usage.ru_majflt,
            voluntary_switches: usage.ru_nvcsw,
            involuntary_switches: usage.ru_nivcsw,
        },
    })
}

/// Forks; the child runs `body` and ends with the code that it returns, never unwinding into the
/// caller's frames. Only for processes with a single thread: no lock may be held elsewhere.
///
/// # Errors
/// If there can be no more processes.
pub fn fork(body: impl FnOnce() -> Result<i32>) -> Result<i32> {
    // SAFETY: called while this process has one thread, so the child may run any code.
    let pid = check(unsafe { libc::fork() }).context("fork")?;
    if pid != 0 {
        return Ok(pid);
    }
    let code = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("guard-workload child: {error:#}");
            125
        }
        Err(_) => 126,
    };
    exit_group(code)
}

/// Ends the process at once, without handlers.
pub fn exit_group(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Whether a process is there, and no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Sends a signal to a process.
///
/// # Errors
/// If it is gone or belongs to someone else.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    ensure!(pid > 0, "kill({pid}) would hit more than one process");
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid, signal) }).with_context(|| format!("kill({pid}, {signal})"))?;
    Ok(())
}

/// Replaces the program by the file at `path`, below `directory` if that is an open file
/// descriptor and `path` is relative, or by `directory` itself if `path` is empty. The program
/// gets `args`, the name included, and no environment. Returns only if that failed.
#[must_use]
pub fn execveat(directory: i32, path: &[u8], args: &[impl AsRef<[u8]>]) -> anyhow::Error {
    let text = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let path = text(path);
    let args: Vec<CString> = args.iter().map(|arg| text(arg.as_ref())).collect();
    let mut argv: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(null());
    let environment = [null::<libc::c_char>()];
    // SAFETY: strings and arrays are NUL-terminated and live until the call returns, if it does.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            directory,
            path.as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    anyhow::Error::new(io::Error::last_os_error()).context(format!("execveat({directory}, {path:?})"))
}

/// Gives up root for good: all user and group ids become `uid`, without other groups.
///
/// # Errors
/// If the caller is not root.
pub fn become_user(uid: u32) -> Result<()> {
    set_ids(uid, uid)
}

/// Sets real and effective user ids, and all group ids to the real one.
///
/// # Errors
/// If the caller is not root.
pub fn set_ids(real: u32, effective: u32) -> Result<()> {
    // SAFETY: an empty list is not read.
    check(unsafe { libc::setgroups(0, null()) }).context("setgroups")?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresgid(real, real, real) }).context("setresgid")?;
    // SAFETY: no pointers.
    check(unsafe { libc::setresuid(real, effective, effective) }).context("setresuid")?;
    Ok(())
}

/// Gives the calling thread (and so a process with one thread) a name.
///
/// # Errors
/// If the name has a NUL.
pub fn set_name(name: &str) -> Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name is NUL-terminated; the kernel reads at most 16 bytes of it.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).context("PR_SET_NAME")?;
    Ok(())
}

/// Ends the calling thread only, as if it were the kernel's own idea of a thread's end.
pub fn exit_thread(code: i32) -> ! {
    loop {
        // SAFETY: ends the calling thread; nothing of it is used again.
        unsafe { libc::syscall(libc::SYS_exit, code) };
    }
}

/// Lets the kernel kill this process when its parent is gone, so that a test that fails leaves
/// nothing behind. To be asked for again after a change of user.
///
/// # Errors
/// If the kernel has no such thing.
pub fn die_with_parent() -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).context("PR_SET_PDEATHSIG")?;
    Ok(())
}

/// CPU time of this process so far.
#[must_use]
pub fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Sets the soft limit of open files.
///
/// # Errors
/// If it is above the hard limit.
pub fn limit_open_files(soft: u64) -> Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(soft);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).context("setrlimit")
}

/// A thread id of the calling thread.
#[must_use]
pub fn tid() -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::gettid() }
}

/// How a signal is to be taken.
#[derive(Clone, Copy, Debug)]
pub enum Disposition {
    /// As the system does.
    Default,
    /// Not at all.
    Ignore,
    /// By a handler that does nothing.
    Handle,
}

extern "C" fn do_nothing(_: i32) {}

/// Sets how the process takes a signal.
///
/// # Errors
/// If there is no such signal.
pub fn take_signal(number: i32, how: Disposition) -> Result<()> {
    // SAFETY: zeroes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_RESTART;
    action.sa_sigaction = match how {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Handle => do_nothing as *const () as usize,
    };
    // SAFETY: the handler is a function that lives for ever and touches nothing.
    check(unsafe { libc::sigaction(number, &raw const action, null_mut()) })
        .with_context(|| format!("sigaction({number})"))?;
    Ok(())
}

/// Blocks a signal in the calling thread.
///
/// # Errors
/// If there is no such signal.
pub fn block_signal(number: i32) -> Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writes.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: the set was initialised above.
    check(unsafe { libc::sigaddset(set.as_mut_ptr(), number) })?;
    // SAFETY: the set was initialised above; the old one is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), null_mut()) }).context("sigprocmask")?;
    Ok(())
}
