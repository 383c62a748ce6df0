//! `storm --count N [--parallel P] [--program PATH] [--seconds S] [--rate R] [--until-told]`: spawns as fast as it can,
//! or R a second;
//! `--until-told` ends it with a line on standard input.
//!
//! Each child runs the program of [`elf`] (or `--program`) with 0 to 3 arguments. Prints
//! `{"spawned":N,"seconds":S}`. The truth has a line per child: its pid, its wait status, and the
//! moments before and after its birth and its end.

use std::ffi::CString;
use std::io::BufRead as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::truth::Truth;
use super::{Args, elf};
use crate::sys;

struct Child {
    ended: sys::Ended,
    arguments: u64,
    born: (u64, u64),
    reaped: u64,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let count: u64 = args.number("count", u64::MAX)?;
    let parallel: usize = args.number("parallel", 1)?;
    let seconds: f64 = args.number("seconds", f64::MAX)?;
    let rate: f64 = args.number("rate", f64::INFINITY)?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let program = match args.get("program") {
        Some(path) => PathBuf::from(path),
        None => {
            let path = directory.path().join("nop");
            elf::write(&path)?;
            path
        }
    };
    let spawner = Spawner::new(&program)?;
    let next = AtomicU64::new(0);
    let told = Arc::new(AtomicBool::new(false));
    if args.has("until-told") {
        let told = Arc::clone(&told);
        // It may never come: the thread ends with the process.
        thread::spawn(move || {
            let _ = std::io::stdin().lock().read_line(&mut String::new());
            told.store(true, Ordering::Relaxed);
        });
    }
    let began = Instant::now();
    let end = began + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(86_400));
    let worker = || -> Result<Vec<Child>> {
        let mut children = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || Instant::now() >= end || told.load(Ordering::Relaxed) {
                return Ok(children);
            }
            if let Some(due) = began.checked_add(Duration::from_secs_f64(number as f64 / rate)) {
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            children.push(spawner.spawn(number % 4)?);
        }
    };
    let children: Vec<Child> = thread::scope(|scope| {
        let workers: Vec<_> = (1..parallel.max(1)).map(|_| scope.spawn(worker)).collect();
        let mut children = worker()?;
        for worker in workers {
            children.extend(worker.join().map_err(|_| anyhow!("a storm thread panicked"))??);
        }
        anyhow::Ok(children)
    })?;
    let took = began.elapsed().as_secs_f64();
    truth.lines(children.iter().map(|child| {
        json!({
            "what": "child",
            "pid": child.ended.pid,
            "status": child.ended.status,
            "args_count": child.arguments + 1,
            "born_after_ns": child.born.0,
            "born_before_ns": child.born.1,
            "reaped_ns": child.reaped,
        })
    }))?;
    truth.line(&json!({ "what": "storm", "nanoseconds": (took * 1e9) as u64 }))?;
    println!("{}", json!({ "spawned": children.len(), "seconds": took }));
    Ok(())
}

/// What every spawn of a storm shares.
struct Spawner {
    program: CString,
    argument: CString,
}

impl Spawner {
    fn new(program: &std::path::Path) -> Result<Self> {
        let program = CString::new(program.as_os_str().as_bytes()).context("program")?;
        Ok(Self { program, argument: CString::new("x")? })
    }

    /// Runs the program with so many arguments and waits for its end.
    fn spawn(&self, arguments: u64) -> Result<Child> {
        let (program, argument) = (self.program.as_ptr().cast_mut(), self.argument.as_ptr().cast_mut());
        let mut argv = vec![program];
        argv.extend((0..arguments).map(|_| argument));
        argv.push(null::<libc::c_char>().cast_mut());
        let environment = [null::<libc::c_char>().cast_mut()];
        let mut pid = 0;
        let before = sys::boottime_ns();
        // SAFETY: all strings and arrays are NUL-terminated and live until the call returns; the
        // call writes only `pid`.
        let error = unsafe {
            libc::posix_spawn(&raw mut pid, program, null(), null(), argv.as_ptr(), environment.as_ptr())
        };
        let after = sys::boottime_ns();
        if error != 0 {
            return Err(std::io::Error::from_raw_os_error(error)).context("posix_spawn");
        }
        let ended = sys::wait(pid)?;
        Ok(Child { ended, arguments, born: (before, after), reaped: sys::boottime_ns() })
    }
}
