//! Ways to die.

use std::io::{Read as _, Write as _};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::Args;
use super::child::{Child, with};
use super::truth::Truth;
use crate::sys::{self, Disposition};

/// `exit-code --code N`.
pub(super) fn exit_code(args: &Args) -> Result<()> {
    let code = args.number("code", 0)?;
    let child = Child::fork(|| Ok(code))?;
    Truth::open(args)?.line(&child.wait("process")?)
}

/// `fault --kind segv|bus|ill [--core]`: an instruction that the processor refuses, in a
/// directory that takes the core file.
pub(super) fn fault(args: &Args) -> Result<()> {
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let kind = args.get("kind").and_then(|kind| kind.to_str()).unwrap_or("segv").to_owned();
    let core = args.has("core");
    let child = Child::fork(|| {
        std::env::set_current_dir(directory.path()).context("enter the temporary directory")?;
        let most = if core { libc::RLIM_INFINITY } else { 0 };
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the pointer is valid for reads.
        sys::check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) }).context("setrlimit")?;
        match kind.as_str() {
            "segv" => segv(),
            "bus" => bus(),
            "ill" => ill(),
            _ => bail!("unknown fault {kind:?}"),
        }
    })?;
    Truth::open(args)?.line(&child.wait("process")?)
}

/// Writes where nothing is mapped.
pub(super) fn segv() -> Result<i32> {
    // The runtime's own handler, which looks for stack overflows, would double the signal.
    sys::take_signal(libc::SIGSEGV, Disposition::Default)?;
    // SAFETY: none: page 0 is never mapped, and the process ends here. That is the purpose.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    Ok(125)
}

fn bus() -> Result<i32> {
    sys::take_signal(libc::SIGBUS, Disposition::Default)?;
    let empty = tempfile::tempfile().context("make a temporary file")?;
    // SAFETY: a fresh mapping, which nothing else knows.
    let page = unsafe {
        mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::PRIVATE, &empty, 0).context("mmap")?
    };
    // SAFETY: none: the file has no such page, and the process ends here. That is the purpose.
    let _ = unsafe { page.cast::<u8>().read_volatile() };
    Ok(125)
}

fn ill() -> Result<i32> {
    sys::take_signal(libc::SIGILL, Disposition::Default)?;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an instruction that is refused for ever; the process ends here.
    unsafe {
        std::arch::asm!("ud2")
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: an instruction that is refused for ever; the process ends here.
    unsafe {
        std::arch::asm!("udf #0")
    };
    Ok(125)
}

/// `self-kill --signal N`.
pub(super) fn self_kill(args: &Args) -> Result<()> {
    let signal = args.number("signal", libc::SIGTERM)?;
    let child = Child::fork(|| {
        if signal != libc::SIGKILL {
            sys::take_signal(signal, Disposition::Default)?;
        }
        sys::kill(sys::pid(), signal)?;
        Ok(125)
    })?;
    Truth::open(args)?.line(&child.wait("process")?)
}

/// `killed-by-other-user --victim-uid U --killer-uid V --killer-name NAME --signal N [--by-thread]`:
/// a victim of one user, killed by a process of another (real) user, or by a thread of it that has
/// another name.
pub(super) fn killed(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let (victim_uid, killer_uid) = (args.number("victim-uid", 65_534)?, args.number("killer-uid", 0)?);
    let signal = args.number("signal", libc::SIGKILL)?;
    let name = args.get("killer-name").and_then(|name| name.to_str()).unwrap_or("the-killer");
    let (mut wake, told) = std::io::pipe().context("pipe")?;
    let victim = Child::fork(|| {
        if victim_uid != 0 {
            sys::become_user(victim_uid)?;
        }
        sys::die_with_parent()?;
        (&told).write_all(b"x").context("say that the victim is ready")?;
        loop {
            thread::park();
        }
    })?;
    wake.read_exact(&mut [0]).context("wait for the victim")?;
    let killer = Child::fork(|| {
        sys::set_name(name)?;
        sys::set_ids(killer_uid, 0)?; // Root's effective id keeps the right to kill.
        if !args.has("by-thread") {
            return sys::kill(victim.pid, signal).map(|()| 0);
        }
        let thread = thread::spawn(move || {
            sys::set_name("some-thread")?;
            sys::kill(victim.pid, signal)
        });
        thread.join().map_err(|_| anyhow!("the thread panicked"))?.map(|()| 0)
    })?;
    truth.line(&with(killer.wait("killer")?, "name", name))?;
    truth.line(&victim.wait("victim")?)
}
