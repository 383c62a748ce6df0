//! Signals that must not arrive, and those that must.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::super::tests::{Place, id, shell, until, wait};
use super::super::{exits, plain_run};
use super::*;

fn refusal(id: ProcId) -> String {
    Checked::open(id).unwrap_err().to_string()
}

#[test]
fn some_are_never_touched() {
    assert_eq!(refusal(id(1)), "process 1 is the first process: nothing is ever sent to it");
    assert!(refusal(id(std::process::id())).contains("is the daemon itself"));
    assert!(refusal(id(std::os::unix::process::parent_id())).contains("an ancestor of the daemon"));
    assert!(Checked::open(ProcId::NONE).is_err());
    assert!(Checked::open(ProcId { pid: u32::MAX, start_ns: 0 }).is_err());
    // kthreadd, on every host that is not a container.
    assert!(refusal(id(2)).contains("a thread of the kernel"));
    assert!(Checked::member(1, |_| true).is_err());
}

#[test]
fn who_is_another_or_elsewhere_is_not_meant() {
    let place = Place::new();
    let (started, _read) = place.start(&shell("sleep 1000")).unwrap();
    let right = id(started.pid);
    let earlier = ProcId { start_ns: right.start_ns - 10_000_000, ..right };
    assert!(matches!(Checked::open(earlier), Err(IdentityError::Reused { .. })));
    let group = Some(started.room.group());
    let inode = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).unwrap();
    Checked::open_expected(right, Expected { group, program: Some(inode("/bin/sh")) }).map(|_| ()).unwrap();
    let elsewhere = Expected { group: Some(Path::new("/test.0")), program: None };
    assert!(matches!(Checked::open_expected(right, elsewhere), Err(IdentityError::Elsewhere { .. })));
    let other = Expected { group, program: Some(inode("/bin/true")) };
    assert!(matches!(Checked::open_expected(right, other), Err(IdentityError::Elsewhere { .. })));
    let checked = Checked::open(right).unwrap();
    checked.send(libc::SIGKILL, Some(1)).unwrap();
    wait(&started.pidfd);
    assert!(matches!(Checked::open(right), Err(IdentityError::Gone(_))), "a zombie has ended");
    assert_eq!(exits::reap(&started.pidfd), Some(libc::SIGKILL));
    assert!(matches!(checked.send(libc::SIGKILL, None), Err(IdentityError::Gone(_))));
    assert!(matches!(Checked::open(right), Err(IdentityError::Gone(_) | IdentityError::Reused { .. })));
}

#[test]
fn a_reused_pid_gets_nothing() {
    // The kernel gives out the pid after the last one: the next process gets the one that is wanted, unless somebody
    // else was faster.
    for _ in 0..200 {
        let mut first = Command::new("/bin/true").spawn().unwrap();
        let victim = id(first.id());
        let checked = Checked::open(victim);
        first.wait().unwrap();
        fs::write("/proc/sys/kernel/ns_last_pid", (victim.pid - 1).to_string()).unwrap();
        let mut second = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let is_reused = second.id() == victim.pid;
        if is_reused {
            if let Ok(checked) = checked {
                assert!(checked.send(libc::SIGKILL, None).is_err(), "the descriptor means the first one");
            }
            let is_later = id(second.id()).start_ns != victim.start_ns;
            if is_later {
                assert!(matches!(Checked::open(victim), Err(IdentityError::Reused { .. })));
            }
            assert!(second.try_wait().unwrap().is_none(), "it lives");
            second.kill().unwrap();
            second.wait().unwrap();
            if is_later {
                return;
            }
        } else {
            second.kill().unwrap();
            second.wait().unwrap();
        }
    }
    panic!("the kernel never gave the pid out again");
}

#[test]
fn whoever_gets_a_signal_sees_the_action() {
    let mut receiver = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon::hands::identity::tests::as_receiver", "--nocapture"])
        .env("PG_TEST_RECEIVER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line == "ready").unwrap();
    let checked = Checked::open(id(receiver.id())).unwrap();
    checked.send(libc::SIGUSR1, Some(0x1234_5678_9abc)).unwrap();
    let told = lines.find(|line| line.starts_with("got ")).unwrap();
    assert_eq!(told, format!("got {} {} {}", libc::SI_QUEUE, std::process::id(), 0x1234_5678_9abc_u64));
    assert!(receiver.wait().unwrap().success());
}

static CODE: AtomicI32 = AtomicI32::new(0);
static SENDER: AtomicU32 = AtomicU32::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel's, for a signal that was queued with a value.
    let (code, pid, value) = unsafe { ((*info).si_code, (*info).si_pid(), (*info).si_value().sival_ptr) };
    SENDER.store(pid.cast_unsigned(), Ordering::Relaxed);
    VALUE.store(value as u64, Ordering::Relaxed);
    CODE.store(code, Ordering::Release);
}

/// Not a test: the process that the test above starts.
#[test]
fn as_receiver() {
    if std::env::var_os("PG_TEST_RECEIVER").is_none() {
        return;
    }
    // SAFETY: zeros are a value; the handler does stores only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    println!("\nready");
    until(|| CODE.load(Ordering::Acquire) != 0);
    let (code, sender) = (CODE.load(Ordering::Acquire), SENDER.load(Ordering::Relaxed));
    println!("got {code} {sender} {}", VALUE.load(Ordering::Relaxed));
}

#[test]
fn names_in_stat_can_hold_anything() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a) R 1 (b");
    std::os::unix::fs::symlink("/bin/sleep", &path).unwrap();
    let run = plain_run(vec![path.to_string_lossy().into_owned(), "1000".into()]);
    let (started, _read) = place.start(&run).unwrap();
    let stat = Stat::read(started.pid).unwrap();
    assert_eq!((stat.parent, stat.group), (std::process::id(), started.pid));
    let age = crate::clock::boot_ns() - id(started.pid).start_ns;
    assert!(age < Duration::from_secs(60).as_nanos() as u64, "{age}");
    started.room.kill().unwrap();
    wait(&started.pidfd);
    exits::reap(&started.pidfd);
}
