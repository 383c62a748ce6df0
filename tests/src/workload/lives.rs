//! Services by the way they live and end. Each writes down its pid and the moment at which it began.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Args;
use super::truth::Truth;
use crate::sys::{self, Disposition};

/// Writes down that this process has begun to be `what`.
pub(super) fn began(args: &Args, what: &str, fields: Value) -> Result<()> {
    told(args, what, fields)
}

/// Writes down that something happened to this process, now.
pub(super) fn told(args: &Args, what: &str, mut fields: Value) -> Result<()> {
    let own = json!({ "what": what, "pid": sys::pid(), "time_ns": sys::boottime_ns() });
    if let (Some(fields), Some(own)) = (fields.as_object_mut(), own.as_object()) {
        fields.extend(own.clone());
    }
    Truth::open(args)?.line(&fields)
}

fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// `once [--seconds S] [--code N]`: nothing but its line in the truth, which tells services that were lost or doubled;
/// ends after a while, or never.
pub(super) fn once(args: &Args) -> Result<()> {
    began(args, "once", json!({}))?;
    if !args.has("seconds") {
        sleep_for_ever();
    }
    thread::sleep(Duration::from_secs_f64(args.number("seconds", 0.0)?));
    sys::exit_group(args.number("code", 0)?)
}

/// `crasher [--least-ms MS] [--most-ms MS] [--cause exit|segv|abort] [--code N]`: ends at a moment between these.
pub(super) fn crasher(args: &Args) -> Result<()> {
    let (least, most): (u64, u64) = (args.number("least-ms", 500)?, args.number("most-ms", 3_000)?);
    let after = least + mixed(sys::boottime_ns()) % (most.saturating_sub(least) + 1);
    began(args, "crasher", json!({ "ends_after_ms": after }))?;
    thread::sleep(Duration::from_millis(after));
    told(args, "ends", json!({}))?;
    let cause = args.get("cause").and_then(|cause| cause.to_str()).unwrap_or("exit");
    match cause {
        "exit" => sys::exit_group(args.number("code", 1)?),
        "segv" => {
            super::death::segv()?;
            bail!("a fault that was none")
        }
        "abort" => {
            eprintln!("guard-workload: this cannot be");
            std::process::abort()
        }
        _ => bail!("unknown cause {cause:?}"),
    }
}

/// Spreads a number over all bits (the finaliser of splitmix64): lives are to differ, no more.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// `ignorer`: ignores SIGTERM, SIGINT and SIGHUP.
pub(super) fn ignorer(args: &Args) -> Result<()> {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        sys::take_signal(number, Disposition::Ignore)?;
    }
    began(args, "ignorer", json!({}))?;
    sleep_for_ever()
}

/// `forker [--count N] [--sessions] [--ms MS] [--ends]`: so many children of children that end at once, so that they are
/// orphans, with `--sessions` each in a session of its own, one every so many milliseconds; then it lives on or ends.
pub(super) fn forker(args: &Args) -> Result<()> {
    began(args, "forker", json!({}))?;
    for number in 0..args.number("count", 3_u32)? {
        let child = sys::fork(|| {
            let orphan = sys::fork(|| {
                if args.has("sessions") {
                    rustix::process::setsid().context("setsid")?;
                }
                told(args, "orphan", json!({ "number": number }))?;
                sleep_for_ever()
            });
            orphan.map(|_| 0)
        })?;
        sys::wait(child)?;
        thread::sleep(Duration::from_millis(args.number("ms", 0)?));
    }
    told(args, "forked", json!({}))?;
    if args.has("ends") { Ok(()) } else { sleep_for_ever() }
}

/// `logger [--rate N] [--count N] [--bytes N]`: numbered lines to standard output, `PID NUMBER`, filled up to so many
/// bytes, so many a second; the truth has how many it has written when it ends, be it because nobody takes them.
pub(super) fn logger(args: &Args) -> Result<()> {
    let (rate, count): (f64, u64) = (args.number("rate", 100.0)?, args.number("count", u64::MAX)?);
    let bytes: usize = args.number("bytes", 0)?;
    began(args, "logger", json!({}))?;
    let (start, mut out) = (Instant::now(), std::io::stdout().lock());
    for number in 1..=count {
        // Whole lines by one write each: what is in the pipe is what was written.
        let line = format!("{:<bytes$}\n", format!("{} {number}", sys::pid()));
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            told(args, "unheard", json!({ "lines": number - 1, "error": error.to_string() }))?;
            bail!("standard output: {error}");
        }
        let due = Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    told(args, "logged", json!({ "lines": count }))
}
