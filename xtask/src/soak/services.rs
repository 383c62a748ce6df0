//! Services that end at moments and by causes that the seed decides, and what they themselves write down of it.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The seed's numbers: splitmix64. The workload itself throws dice within the bounds that are drawn here.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// How a service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It gives up with this code.
    Exit(u64),
    /// It touches memory that is not its own.
    Fault,
    Abort,
    /// It leaves orphans in sessions of their own behind: they must go before the next life begins.
    Orphans,
    /// It ends well after so many lines to its log.
    Lines(u64),
    /// We kill it.
    Killed,
}

/// One service.
pub(super) struct Service {
    pub(super) name: String,
    kind: Kind,
    /// The bounds of a life, in milliseconds.
    least_ms: u64,
    most_ms: u64,
    truth: PathBuf,
}

/// One life, by the workload's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) pid: i32,
    /// Nanoseconds since boot.
    pub(super) began_ns: u64,
}

impl Service {
    pub(super) fn draw(number: usize, dice: &mut Dice, directory: &Path) -> Self {
        let kind = match dice.below(6) {
            0 => Kind::Exit(dice.below(256)),
            1 => Kind::Fault,
            2 => Kind::Abort,
            3 => Kind::Orphans,
            4 => Kind::Lines(200 + dice.below(2_000)),
            _ => Kind::Killed,
        };
        // 1 to 10 s, and up to 40 s more: some crash again within what counts as the same incident, some do not.
        let least_ms = 1_000 + dice.below(9_000);
        let most_ms = least_ms + dice.below(40_000);
        let name = format!("soak-{number:03}");
        let truth = directory.join(format!("{name}.truth"));
        Self { name, kind, least_ms, most_ms, truth }
    }

    /// The policy under which it fails.
    pub(super) fn failing(&self, workload: &Path) -> String {
        let (least, most) = (self.least_ms, self.most_ms);
        let bounds = format!("--least-ms, '{least}', --most-ms, '{most}'");
        let words = match self.kind {
            Kind::Exit(code) => format!("crasher, --cause, exit, --code, '{code}', {bounds}"),
            Kind::Fault => format!("crasher, --cause, segv, {bounds}"),
            Kind::Abort => format!("crasher, --cause, abort, {bounds}"),
            Kind::Orphans => format!("forker, --count, '3', --sessions, --ends, --ms, '{least}'"),
            Kind::Lines(count) => format!("logger, --rate, '100', --count, '{count}', --bytes, '80'"),
            Kind::Killed => "once".to_owned(),
        };
        self.policy(workload, &words, &self.truth)
    }

    /// The policy under which it lives for ever; what it writes then is not counted.
    pub(super) fn calm(&self, workload: &Path) -> String {
        self.policy(workload, "once", &self.truth.with_extension("calm"))
    }

    fn policy(&self, workload: &Path, words: &str, truth: &Path) -> String {
        format!(
            "---\nversion: processguard/v1\nservice: {}\nrun: {{ command: [{}, {words}, --truth, {}] }}\n\
             restart: {{ on: always, budget: 100000/1h, backoff: {{ initial: 0s, jitter: 0% }} }}\n\
             stop: {{ signal: SIGTERM, timeout: 2s }}\n",
            self.name,
            workload.display(),
            truth.display()
        )
    }

    /// All lives so far.
    pub(super) fn lives(&self) -> Result<Vec<Life>> {
        let text = match fs::read_to_string(&self.truth) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| self.truth.display().to_string())?,
        };
        let mut lives = Vec::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| format!("truth: {line}"))?;
            if matches!(
                line.pointer("/what").and_then(Value::as_str),
                Some("crasher" | "forker" | "logger" | "once")
            ) {
                let (pid, began_ns) = (
                    line.pointer("/pid").and_then(Value::as_i64),
                    line.pointer("/time_ns").and_then(Value::as_u64),
                );
                let (pid, began_ns) = pid.zip(began_ns).context("a life without pid or time")?;
                lives.push(Life { pid: i32::try_from(pid)?, began_ns });
            }
        }
        Ok(lives)
    }

    /// How often, on average, it is to be killed, in milliseconds; `None`: it ends by itself.
    pub(super) fn killed_every_ms(&self) -> Option<u64> {
        (self.kind == Kind::Killed).then(|| self.least_ms.midpoint(self.most_ms))
    }

    /// Kills its newest life by a signal, if it still runs `workload`.
    pub(super) fn kill(&self, workload: &Path, signal: i32) -> Result<()> {
        let Some(life) = self.lives()?.pop() else { return Ok(()) };
        let Ok(handle) = pidfd(life.pid) else { return Ok(()) };
        // Whoever has the number now: is it ours?
        if fs::read_link(format!("/proc/{}/exe", life.pid)).is_ok_and(|exe| exe == workload) {
            send(&handle, signal).with_context(|| format!("kill {}", life.pid))?;
        }
        Ok(())
    }
}

fn pidfd(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = i32::try_from(number)?;
    if number < 0 {
        bail!(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn send(process: &OwnedFd, signal: i32) -> io::Result<()> {
    let nobody: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: without a siginfo_t the kernel fills in its own.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, nobody, 0) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // It has ended by itself.
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Dice, Service};
    use std::path::Path;

    #[test]
    fn a_seed_gives_the_same_services_and_another_seed_others() {
        let drawn = |seed| {
            let mut dice = Dice(seed);
            let draw = |number| Service::draw(number, &mut dice, Path::new("/d")).failing(Path::new("/w"));
            (0..30).map(draw).collect::<String>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        for kind in ["exit", "segv", "abort", "forker", "logger", ", once"] {
            assert!(drawn(7).contains(kind), "no {kind}");
        }
    }
}
