//! One virtual machine, from its start to its end, which comes in any case.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{emulator::Emulator, kernels::Image, outcome::Outcome};
use crate::sh;

/// No console but the first serial port; the security modules that matter to us; `mitigations=off` halves
/// what emulation costs, and programs of ours are privileged, so the verifier treats them the same.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off lsm=lockdown,yama,bpf";

/// Where the machine with a kernel finds the names of its tests.
pub(super) fn list(version: &str) -> String {
    format!("/opt/tests-{version}")
}

/// What a machine needs to run.
pub(super) struct Plan<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) image: &'a Image,
    pub(super) initramfs: &'a Path,
    /// Which of how many parts of the tests it runs, counted from 0.
    pub(super) part: (usize, usize),
    /// Where console and results are written, for people.
    pub(super) directory: PathBuf,
    /// However slow it is, it does not run longer.
    pub(super) limit: Duration,
}

/// Why a machine did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended by itself: a panic, or qemu's own failure.
    Early(ExitStatus),
    TooSlow,
}

impl Plan<'_> {
    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// The last lines of the console and of qemu's own complaints.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for file in [self.console(), self.directory.join("qemu.log")] {
            let bytes = fs::read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.lines().collect();
            for line in lines.get(lines.len().saturating_sub(20)..).unwrap_or_default() {
                words.push_str(line.trim_end());
                words.push('\n');
            }
        }
        words
    }

    /// Boots, and hands each line of the results to `heard` until the machine has ended.
    pub(super) fn run(&self, mut heard: impl FnMut(&Outcome)) -> Result<(Outcome, Option<Broken>)> {
        fs::create_dir_all(&self.directory).with_context(|| self.directory.display().to_string())?;
        let mut results = File::create(self.directory.join("results.log")).context("create results.log")?;
        let mut machine = Machine::start(&mut self.qemu()?)?;
        let end = Instant::now() + self.limit;
        let lines = machine.lines()?;
        let mut outcome = Outcome::default();
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    results.write_all(&line).context("write results.log")?;
                    outcome.take(&String::from_utf8_lossy(&line));
                    heard(&outcome);
                }
                Err(RecvTimeoutError::Timeout) => return Ok((outcome, Some(Broken::TooSlow))),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = machine.0.wait().context("wait for qemu")?;
        let broken = (!outcome.ended).then_some(Broken::Early(status));
        Ok((outcome, broken))
    }

    fn qemu(&self) -> Result<Command> {
        let mut qemu = self.emulator.command();
        // Hardware virtualisation is not there on build machines, so it is not even asked for.
        // One thread for both processors: with one each, qemu 7.2 could run an instruction that the guest has just
        // patched away (seen: int3 of a tracepoint being attached, and a panic), which no real machine does.
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1024"]);
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        qemu.arg("-serial").arg(format!("file:{}", self.console().display()));
        qemu.args(["-serial", "stdio"]);
        qemu.arg("-kernel").arg(&self.image.path).arg("-initrd").arg(self.initramfs);
        // What the kernel does not know is a variable of the first process.
        let (part, parts) = self.part;
        qemu.arg("-append")
            .arg(format!("{COMMAND_LINE} LIST={} PART={part} PARTS={parts}", list(self.image.version)));
        let complaints = File::create(self.directory.join("qemu.log")).context("create qemu.log")?;
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
        // SAFETY: between fork and exec only an async-signal-safe system call without pointers.
        unsafe {
            qemu.pre_exec(|| {
                // A machine does not outlive the command that wanted it.
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        Ok(qemu)
    }
}

/// A qemu that is killed when it is dropped.
struct Machine(Child);

impl Machine {
    fn start(qemu: &mut Command) -> Result<Self> {
        qemu.spawn().map(Self).with_context(|| format!("cannot start {}", sh::line(qemu)))
    }

    /// The lines of its second serial port. The channel closes when the machine has ended.
    fn lines(&mut self) -> Result<mpsc::Receiver<Vec<u8>>> {
        let output = self.0.stdout.take().context("qemu's output")?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                if tell.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        Ok(told)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
