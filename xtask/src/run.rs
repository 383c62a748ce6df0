//! `cargo xtask run`: from a fresh checkout to the daemon at work in one command, or to the live trace.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    home::Home,
    setup::{self, Scope},
    sh,
};

/// Where the demonstration is; its policies name it.
const PLACE: &str = "/run/processguard-demo";
const CGROUP: &str = "processguard-demo";

/// How long the daemon may take until it answers, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed on to `processguard trace`, which is shown instead of the demonstration
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let binary = build::processguard(Profile::Release)?;
    if args.args.is_empty() {
        let workload = build::binary(Profile::Release, "guard-tests", "guard-workload")?;
        if !sh::is_root() {
            bail!(
                "watching the kernel needs root: run it as root, for example sudo --preserve-env=PATH cargo xtask run"
            );
        }
        return demonstrate(&binary, &workload);
    }
    let mut trace = Command::new(&binary);
    trace.arg("trace").args(&args.args);
    if !sh::is_root() {
        bail!("watching the kernel needs root; it is built, so run: sudo {}", sh::line(&trace));
    }
    // Replaced, not started: signals and the exit code are then the trace's own.
    let error = trace.exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}

/// Set by Ctrl-C and SIGTERM: all that was made here is taken away then.
static ENOUGH: AtomicBool = AtomicBool::new(false);

extern "C" fn enough(_: libc::c_int) {
    ENOUGH.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C and SIGTERM only set [`is_enough`].
pub(crate) fn heed_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = enough as extern "C" fn(libc::c_int);
        // SAFETY: the handler only stores to an atomic; a child's exec takes it away again.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether somebody has seen enough.
pub(crate) fn is_enough() -> bool {
    ENOUGH.load(Ordering::Relaxed)
}

/// The daemon with the policies of the demonstration, and what it tells, until Ctrl-C.
fn demonstrate(processguard: &Path, workload: &Path) -> Result<()> {
    let home = make_place(workload)?;
    heed_interrupts();
    let policies = sh::workspace().join("policies/demo");
    let log = home.at("daemon.log");
    let mut command = home.daemon(processguard, &policies);
    let said = File::create(&log).with_context(|| log.display().to_string())?;
    // In a process group of its own: Ctrl-C is for the view, and the daemon is ended after it.
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).process_group(0);
    let mut daemon = Ended(command.spawn().with_context(|| format!("start {}", sh::line(&command)))?);
    wait_for_answer(&home, &mut daemon.0).with_context(|| fs::read_to_string(&log).unwrap_or_default())?;

    let socket = home.socket();
    println!(
        "The daemon keeps six services that fail all the time (policies/demo). Ctrl-C ends it. Ask it meanwhile:\n  \
         {0} status --socket {1}\n  {0} incidents --socket {1}\n",
        processguard.display(),
        socket.display()
    );
    let mut events = Command::new(processguard);
    events.args(["events", "--follow", "--socket"]).arg(&socket);
    let mut view = Ended(events.spawn().context("start the view")?);
    watch(&mut view.0, &mut daemon.0).with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    drop((view, daemon));
    Ok(())
}

/// The directory, with the program that plays the services. What another one left behind is taken away.
fn make_place(workload: &Path) -> Result<Home> {
    let place = PathBuf::from(PLACE);
    if UnixStream::connect(place.join("socket")).is_ok() {
        bail!("a demonstration runs already (its socket is {PLACE}/socket): end that first, by Ctrl-C");
    }
    if place.exists() {
        crate::home::end_groups(CGROUP);
        // Nothing is mounted there after most ends.
        _ = Command::new("umount").arg(place.join("bpf")).stderr(Stdio::null()).status();
        fs::remove_dir_all(&place).with_context(|| format!("remove {PLACE}"))?;
    }
    let home = Home::new(place, CGROUP)?;
    fs::copy(workload, home.at("guard-workload")).context("copy guard-workload")?;
    Ok(home)
}

/// Waits until the daemon at this home answers.
pub(crate) fn wait_for_answer(home: &Home, daemon: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = daemon.try_wait()? {
            bail!("the daemon ended at once ({status})");
        }
        if home.answers() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the daemon did not answer within {} s", PATIENCE.as_secs())
}

/// Until one of the two ends, or somebody has seen enough.
fn watch(view: &mut Child, daemon: &mut Child) -> Result<()> {
    while !is_enough() {
        if let Some(status) = daemon.try_wait()? {
            bail!("the daemon ended ({status})");
        }
        if let Some(status) = view.try_wait()? {
            // Ctrl-C may have reached it before us.
            thread::sleep(Duration::from_millis(100));
            if !is_enough() && !status.success() {
                bail!("the view ended ({status})");
            }
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A process that is asked to end when it is dropped, and killed if it does not.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = self.0.id().cast_signed();
        let deadline = Instant::now() + PATIENCE;
        if matches!(self.0.try_wait(), Ok(None)) {
            // SAFETY: the child is not yet waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        // It has ended, unless it is stuck.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
