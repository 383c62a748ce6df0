//! `processguard trace`: its options, and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use globset::GlobMatcher;
use guard_common::limits::{RING_BYTES, WATCH_GROUPS};
use guard_common::wire::Kind;
use guard_core::ids::BootId;
use regex::bytes::Regex;

use super::values;
use crate::clock::Stamp;
use crate::exit::{Failure, HELP};
use crate::feed;
use crate::filter::{Conditions, Filter};
use crate::holder::SOCKET;
use crate::output::{LogFile, Rotation, Sink};
use crate::redact::{self, Redactor};
use crate::sensor::{Attach, Latency, Options, Watch};
use crate::show::Renderer;
use crate::show::compact::CompactWriter;
use crate::show::json::JsonWriter;
use crate::show::when::Timestamps;
use crate::trace::{Show, live, recorded, replay};
use crate::units;

/// Old files kept unless `--keep` says otherwise.
const KEEP: u32 = 5;

/// Between samples unless `--sample-interval` says otherwise.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
EXAMPLES
  processguard trace
      every fork, exec, exit, signal, OOM kill and listening port of the host, until Ctrl-C
  processguard trace --events exec,exit --tree 812 --duration 30s
      what runs below process 812 in the next 30 seconds, and how it ends
  processguard trace --events exec --comm 'python*' --redact '(?i)(password|token)=\\S+'
      Python programs as they start, with secrets replaced by [redacted]
  processguard trace --events latency,stall --pid 812 --latency-interval 5s
      how long the threads of process 812 wait for a CPU, and who held it when that was too long
  processguard trace --format json --output /var/log/pg.json --max-size 64MiB --keep 5
      a complete record that stays below 384 MiB
  processguard trace --events resources --tree 812 --sample-interval 5s
      what each process below 812 uses, and their control groups with their pressure, every 5 seconds
  processguard trace --input /var/log/pg.json --events exit --comm nginx
      the deaths of nginx in that record; needs no privileges

FILES
  The last JSON record, `event.action` \"summary\", and the table on standard error at the end count
  what was seen, shown and lost, by kind and cause. A gap in the stream is an event of its own and
  passes every filter.

";

/// Show every fork, exec, exit and signal on this host, with its cause
///
/// Events come from the kernel through eBPF, which needs root or CAP_BPF and CAP_PERFMON; or from a saved
/// JSON stream (--input), which needs nothing. An event is shown if it meets all filters. Filters by pid,
/// tree, user and control group run in the kernel: what they drop costs nearly nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat_help(), after_help = HELP)]
pub(super) struct Arguments {
    /// How events are written: a line for people, or ECS-shaped JSON
    #[arg(long, value_name = "FORM", default_value = "compact", help_heading = "Output")]
    format: Format,

    /// Times of the compact format: local time of day unless given, UTC if given without a value
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = false, default_value = "time",
        default_missing_value = "utc", help_heading = "Output")]
    timestamps: Timestamps,

    /// Colours of the compact format; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    color: Color,

    /// Append to a file, made readable by its owner only, instead of writing to standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Rotate the file before it grows beyond this size: FILE to FILE.1, FILE.1 to FILE.2, ...
    #[arg(long, value_name = "SIZE", requires = "output", value_parser = values::max_size, help_heading = "Output")]
    max_size: Option<u64>,

    /// How many rotated files to keep [default: 5]
    #[arg(long, value_name = "N", requires = "max_size", value_parser = clap::value_parser!(u32).range(1..=9999),
        help_heading = "Output")]
    keep: Option<u32>,

    /// Replace what matches within any argument by [redacted]; may be given again. An argument that was
    /// cut short (beyond 6 KiB of arguments) is then replaced as a whole
    #[arg(long, value_name = "REGEX", value_parser = redact::pattern, help_heading = "Output")]
    redact: Vec<Regex>,

    /// No summary on standard error
    #[arg(long, short, help_heading = "Output")]
    quiet: bool,

    /// Kinds of events: some of fork,exec,exit,signal,oom,listen,stall,latency,resources [default: all but the
    /// last three, which need --pid or --tree]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = values::event, help_heading = "Filters")]
    events: Vec<Kind>,

    /// Only this process; may be given again
    #[arg(long, value_name = "PID", value_parser = values::pid, conflicts_with = "tree", help_heading = "Filters")]
    pid: Vec<u32>,

    /// Only this process and its descendants, born before or after; may be given again
    #[arg(long, value_name = "PID", value_parser = values::pid, help_heading = "Filters")]
    tree: Vec<u32>,

    /// Only command names that match (* ? [a-z])
    #[arg(long, value_name = "GLOB", value_parser = values::glob, help_heading = "Filters")]
    comm: Option<GlobMatcher>,

    /// Only executables whose path matches; * matches / too
    #[arg(long, value_name = "GLOB", value_parser = values::glob, help_heading = "Filters")]
    exe: Option<GlobMatcher>,

    /// Only processes of this user: real user id or name
    #[arg(long, value_name = "USER", value_parser = values::uid, help_heading = "Filters")]
    uid: Option<u32>,

    /// Only processes in or below this control group, such as /sys/fs/cgroup/system.slice
    #[arg(long, value_name = "PATH", value_parser = values::cgroup, help_heading = "Filters")]
    cgroup: Option<String>,

    /// Only this container: its id, or the first 12 or more digits of it
    #[arg(long, value_name = "ID", value_parser = values::container, help_heading = "Filters")]
    container: Option<String>,

    /// End after this time: 500ms, 30s, 1h30m
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "input", help_heading = "End")]
    duration: Option<Duration>,

    /// End after this many events were shown; gaps are not counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "End")]
    count: Option<u64>,

    /// Show a saved JSON stream instead of the kernel's; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    input: Option<PathBuf>,

    /// Whose kernel programs observe: own ones; those of the pinned sensor that `processguard record` reads; or
    /// the latter if there is one, and the options call for nothing else
    #[arg(
        long,
        value_name = "WHOSE",
        default_value = "auto",
        conflicts_with = "input",
        help_heading = "Source"
    )]
    sensor: SensorBy,

    /// Where the reader of the pinned sensor serves others
    #[arg(long, value_name = "PATH", default_value = SOCKET, conflicts_with = "input", help_heading = "Source")]
    socket: PathBuf,

    /// How long records gather in the kernel after the first one woke us [default: 20ms]
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "input", help_heading = "Source")]
    interval: Option<Duration>,

    /// How often a resources event tells what each process uses, and each control group with one of them [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::sample_interval, conflicts_with = "input", help_heading = "Source")]
    sample_interval: Option<Duration>,

    /// Size of the kernel's ring buffer, a power of two [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::ring_size, conflicts_with = "input", help_heading = "Source")]
    ring_size: Option<u32>,

    /// How fork, exec and exit are attached: auto takes what loses nothing on the running kernel
    #[arg(long, value_name = "HOW", conflicts_with = "input", help_heading = "Source")]
    attach: Option<AttachBy>,

    /// Have the kernel programs tell of rare conditions on standard error: a path longer than a record
    #[arg(long, conflicts_with = "input", help_heading = "Sensor")]
    kernel_log: bool,

    /// How often a latency event tells what the threads of a watched process waited [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::latency_interval, conflicts_with = "input", help_heading = "Latency")]
    latency_interval: Option<Duration>,

    /// A thread that can run and does not for this long is a stall [default: 50ms]
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "input", help_heading = "Latency")]
    stall_run_queue: Option<Duration>,

    /// A thread that sleeps uninterruptibly (state D) for this long is a stall [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "input", help_heading = "Latency")]
    stall_uninterruptible: Option<Duration>,

    /// Write the processes that the table holds as living at the end, as JSON lines: for tests, which
    /// compare them with the kernel's
    #[arg(long, value_name = "FILE", conflicts_with = "input", hide = true)]
    table: Option<PathBuf>,

    /// Show also the SIGCHLD that the kernel sends at each child's end
    #[arg(long, conflicts_with = "input", help_heading = "Source")]
    child_signals: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Compact,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AttachBy {
    Auto,
    Btf,
    Classic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SensorBy {
    Auto,
    Own,
    Shared,
}

impl From<AttachBy> for Attach {
    fn from(by: AttachBy) -> Self {
        match by {
            AttachBy::Auto => Self::Auto,
            AttachBy::Btf => Self::Btf,
            AttachBy::Classic => Self::Classic,
        }
    }
}

fn concat_help() -> String {
    format!("{EXAMPLES}{HELP}")
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.check()?;
        // The output first: nothing is attached for an output that cannot be written.
        let sink = self.sink()?;
        let renderer = self.renderer();
        let live = self.live();
        let conditions = Conditions {
            kinds: self.events,
            pids: self.pid,
            trees: self.tree,
            uid: self.uid,
            cgroup: self.cgroup,
            container: self.container,
            comm: self.comm,
            exe: self.exe,
        };
        let redactor = Redactor::new(self.redact);
        let show =
            |conditions| Show::new(Filter::new(conditions), redactor, renderer, sink, self.count, self.quiet);
        match &self.input {
            Some(input) => match recorded::files(input)? {
                Some(files) => recorded::run(&files, show(conditions)),
                None => replay::run(input, show(conditions)),
            },
            None => live::run(&live, show(conditions)),
        }
    }

    /// What clap cannot say: which options make sense only beside others' values.
    fn check(&self) -> Result<(), Failure> {
        let idle = [
            ("--latency-interval", self.latency_interval, Kind::LATENCY),
            ("--stall-run-queue", self.stall_run_queue, Kind::STALL),
            ("--stall-uninterruptible", self.stall_uninterruptible, Kind::STALL),
        ];
        for (option, value, kind) in idle {
            if value.is_some() && !self.events.contains(&kind) {
                let name = kind.name();
                return Err(Failure::Usage(format!(
                    "{option} has no effect without --events {name}; see --help"
                )));
            }
        }
        if let Some(kind) = self.named_only()
            && self.input.is_none()
            && self.pid.is_empty()
            && self.tree.is_empty()
        {
            return Err(Failure::Usage(format!(
                "--events {}: only named processes are followed so closely; add --pid PID or --tree PID; see --help",
                kind.name()
            )));
        }
        Ok(())
    }

    fn sink(&self) -> Result<Sink, Failure> {
        let Some(path) = &self.output else { return Ok(Sink::Stdout) };
        let rotation = self.max_size.map(|max_bytes| Rotation { max_bytes, keep: self.keep.unwrap_or(KEEP) });
        Ok(Sink::File(LogFile::open(path.clone(), rotation)?))
    }

    fn renderer(&self) -> Renderer {
        match self.format {
            Format::Compact => Renderer::Compact(CompactWriter::new(self.timestamps, self.colored())),
            // The first event brings the boot with it.
            Format::Json => Renderer::Json(JsonWriter::new(Stamp { boot: BootId(0), utc_offset_ns: 0 })),
        }
    }

    fn colored(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
                self.output.is_none() && !refused && !dumb && rustix::termios::isatty(std::io::stdout())
            }
        }
    }

    /// An event of named processes only, if one was asked for.
    fn named_only(&self) -> Option<Kind> {
        let costly = |kind: &Kind| matches!(*kind, Kind::STALL | Kind::LATENCY | Kind::RESOURCES);
        self.events.iter().copied().find(costly)
    }

    /// An event that needs the scheduler's hooks, if one was asked for.
    fn scheduler_event(&self) -> Option<Kind> {
        self.events.iter().copied().find(|kind| matches!(*kind, Kind::STALL | Kind::LATENCY))
    }

    /// Room for a group of each named process.
    fn latency(&self) -> Option<Latency> {
        self.scheduler_event()?;
        let named = u32::try_from(self.pid.len() + self.tree.len()).unwrap_or(u32::MAX);
        let groups = named.saturating_add(1).min(WATCH_GROUPS) as u16;
        let default = Latency::new(groups);
        Some(Latency {
            groups,
            run_queue_stall: self.stall_run_queue.unwrap_or(default.run_queue_stall),
            interval: self
                .events
                .contains(&Kind::LATENCY)
                .then(|| self.latency_interval.unwrap_or(Duration::from_secs(1))),
            uninterruptible_stall: self.stall_uninterruptible.unwrap_or(default.uninterruptible_stall),
        })
    }

    fn samples(&self) -> bool {
        self.events.contains(&Kind::RESOURCES)
    }

    /// Who is to observe. What only programs of our own can do calls for them.
    fn source(&self) -> live::Source {
        let own = self.named_only().is_some()
            || self.ring_size.is_some()
            || self.attach.is_some()
            || self.interval.is_some()
            || self.kernel_log
            || self.child_signals
            || self.table.is_some();
        match self.sensor {
            SensorBy::Shared => live::Source::Shared(self.socket.clone()),
            SensorBy::Auto if !own => live::Source::Auto(self.socket.clone()),
            SensorBy::Auto | SensorBy::Own => live::Source::Own,
        }
    }

    fn live(&self) -> live::Live {
        let watch = match (self.pid.as_slice(), self.tree.as_slice()) {
            ([], []) => Watch::All,
            (pids, []) => Watch::Pids(pids.to_vec()),
            (_, trees) => Watch::Trees(trees.to_vec()),
        };
        live::Live {
            sensor: Options {
                kinds: live::needed(&self.events),
                watch,
                uid: self.uid,
                cgroup: self.cgroup.clone(),
                child_signals: self.child_signals,
                samples: self.samples(),
                ring_bytes: self.ring_size.unwrap_or(RING_BYTES),
                attach: self.attach.unwrap_or(AttachBy::Auto).into(),
                kernel_log: self.kernel_log,
                latency: self.latency(),
            },
            interval: self.interval.unwrap_or(feed::INTERVAL),
            duration: self.duration,
            source: self.source(),
            sample_interval: self.sample_interval.unwrap_or(SAMPLE_INTERVAL),
            table: self.table.clone(),
        }
    }
}
