//! Who is measured: nothing, ourselves in three ways, and three peers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    kernel::{self, Programs, Stats},
    process::Process,
};
use crate::sh;

/// How long a tracer may take until it sees its first spawn.
const START: Duration = Duration::from_secs(30);

/// A fork, an exec and an exit: what each contender's programs must have run for after one spawn.
const RUNS_PER_SPAWN: u64 = 3;

/// The same three tracepoints and a line for each, as one would write it by hand.
const BPFTRACE: &str = r#"
tracepoint:sched:sched_process_fork { printf("fork %d %d %s\n", args->parent_pid, args->child_pid, comm); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d %s\n", pid, comm); }
"#;

/// One row of the table.
pub(super) struct Contender {
    /// For the saved file.
    pub(super) id: &'static str,
    /// For people.
    pub(super) title: &'static str,
    kind: Kind,
}

enum Kind {
    Nothing,
    /// `processguard trace` with these arguments.
    Ours(&'static [&'static str]),
    /// Programs that need tracefs and load BPF programs.
    Bpf(&'static [&'static [&'static str]]),
    /// A program that listens to the kernel's process connector.
    Connector(&'static [&'static str]),
}

pub(super) const NOTHING: &str = "nothing";
pub(super) const OURS: &str = "processguard";
pub(super) const SNOOPS: &str = "execsnoop+exitsnoop";
pub(super) const BPFTRACE_ID: &str = "bpftrace";

/// Nothing is measured like all the others: what it shows as a slow-down is the noise of this run.
pub(super) const ALL: [Contender; 7] = [
    Contender { id: NOTHING, title: "nothing (the noise of this run)", kind: Kind::Nothing },
    Contender {
        id: OURS,
        title: "processguard, fork+exec+exit, JSON",
        kind: Kind::Ours(&["--format", "json", "--events", "fork,exec,exit"]),
    },
    Contender {
        id: "processguard-compact",
        title: "processguard, fork+exec+exit, compact",
        kind: Kind::Ours(&["--format", "compact", "--events", "fork,exec,exit"]),
    },
    Contender {
        id: "processguard-all",
        title: "processguard, all six kinds, JSON",
        kind: Kind::Ours(&["--format", "json"]),
    },
    Contender {
        id: SNOOPS,
        title: "execsnoop + exitsnoop (libbpf-tools)",
        kind: Kind::Bpf(&[&["execsnoop"], &["exitsnoop"]]),
    },
    Contender { id: BPFTRACE_ID, title: "bpftrace", kind: Kind::Bpf(&[&["bpftrace", "-q", "-e", BPFTRACE]]) },
    Contender {
        id: "forkstat",
        title: "forkstat",
        kind: Kind::Connector(&["forkstat", "-e", "fork,exec,exit"]),
    },
];

/// A contender at work.
pub(super) struct Running {
    processes: Vec<Process>,
    /// Its own BPF programs.
    programs: BTreeSet<u32>,
}

impl Contender {
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours(_))
    }

    /// Starts it, and waits until it has seen a spawn.
    pub(super) fn start(&self, processguard: &Path, scratch: &Path) -> Result<Running> {
        let mut processes = Vec::new();
        for (number, mut command) in self.commands(processguard).into_iter().enumerate() {
            let said = scratch.join(format!("{}-{number}.err", self.id));
            processes.push(Process::start(&mut command, &said)?);
        }
        let mut running = Running { processes, programs: BTreeSet::new() };
        match self.kind {
            Kind::Nothing => {}
            Kind::Ours(_) | Kind::Bpf(_) => running.wait_for_programs().context(self.title)?,
            // It has no counter to look at; it subscribes within a few milliseconds.
            Kind::Connector(_) => thread::sleep(Duration::from_millis(700)),
        }
        running.check().context(self.title)?;
        Ok(running)
    }

    fn commands(&self, processguard: &Path) -> Vec<Command> {
        match self.kind {
            Kind::Nothing => Vec::new(),
            Kind::Ours(arguments) => {
                let mut command = Command::new(processguard);
                command.arg("trace").args(arguments);
                vec![command]
            }
            Kind::Bpf(commands) => commands.iter().map(|words| with_tracefs(words)).collect(),
            Kind::Connector(words) => {
                vec![with_tracefs(words)]
            }
        }
    }
}

/// Peers need tracefs, which may not be mounted here: they get one in a mount namespace of their own, so that
/// nothing is left behind. Both programs replace themselves, so the process we start is the peer's own.
fn with_tracefs(words: &[&str]) -> Command {
    const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing; \
        mount -t debugfs debugfs /sys/kernel/debug; \
        exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
    let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
    command.arg(sh::find_program(program).unwrap_or_else(|| PathBuf::from(program)));
    command.args(arguments);
    command
}

impl Running {
    /// A spawn that all programs have run for proves that all are attached, whoever wrote them.
    fn wait_for_programs(&mut self) -> Result<()> {
        let _stats = Stats::enable()?;
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            self.check()?;
            self.programs = self.held_programs()?;
            let earlier = self.programs()?;
            sh::run(&mut Command::new("true"))?;
            thread::sleep(Duration::from_millis(100));
            let later = self.programs()?;
            let ran = |programs: &Programs| programs.values().map(|program| program.runs).sum::<u64>();
            if self.held_programs()? == self.programs && ran(&later) >= ran(&earlier) + RUNS_PER_SPAWN {
                return Ok(());
            }
        }
        bail!("saw no spawn within {} s", START.as_secs())
    }

    /// The programs that it holds open: what others load meanwhile is not its own.
    fn held_programs(&self) -> Result<BTreeSet<u32>> {
        let mut all = BTreeSet::new();
        for process in &self.processes {
            all.extend(process.programs()?);
        }
        Ok(all)
    }

    /// The counters of its programs now.
    pub(super) fn programs(&self) -> Result<Programs> {
        let mut all = kernel::programs()?;
        all.retain(|id, _| self.programs.contains(id));
        Ok(all)
    }

    /// Processor time of all its processes so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// Peak memory of all its processes, in bytes.
    pub(super) fn peak_rss(&self) -> Result<u64> {
        self.processes.iter().map(Process::peak_rss).sum()
    }

    /// An error if one of its processes is gone.
    pub(super) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// Ends it.
    pub(super) fn stop(self) -> Result<()> {
        self.processes.into_iter().try_for_each(Process::stop)
    }
}
