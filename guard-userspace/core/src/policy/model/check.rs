//! What healthy means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Span, Unit, span};

/// One check of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Its name, unique within the service.
    pub name: String,
    /// Whether each instance is checked, or the service as one.
    pub scope: Scope,
    /// After an instance is ready (a service: up), nothing fails for so long.
    pub grace: Span,
    /// What is checked.
    pub kind: CheckKind,
}

/// What a check, a limit or a readiness is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each instance by itself.
    #[default]
    Instance,
    /// All of them together: sums, or the largest where a sum says nothing.
    Service,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// We ask, it answers.
    Probe(ProbeCheck),
    /// A number stays within bounds.
    Threshold(Threshold),
}

impl CheckKind {
    /// Whether it looks at what the control group says, and not only at its processes.
    #[must_use]
    pub const fn is_of_a_group(&self) -> bool {
        use Signal::{MemoryShare, PressureCpu, PressureIo, PressureMemory};
        let Self::Threshold(threshold) = self else { return false };
        matches!(threshold.signal, MemoryShare | PressureCpu | PressureMemory | PressureIo)
    }

    /// Whether each look asks somebody: a server, or a program that is run for it.
    #[must_use]
    pub const fn goes_out(&self) -> bool {
        match self {
            Self::Probe(_) => true,
            Self::Threshold(threshold) => {
                matches!(threshold.signal, Signal::Number(_) | Signal::Progress { of: Marker::Number(_) })
            }
        }
    }
}

/// A probe that is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeCheck {
    /// What is asked.
    pub probe: Probe,
    /// How often.
    pub every: Span,
    /// When its answers fail the check.
    pub fail: Flap,
    /// Passes in a row until it is well again.
    pub pass_after: u32,
}

/// When single answers become a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flap {
    /// So many in a row.
    Row(u32),
    /// So many of the last so many.
    Of {
        /// Bad ones.
        bad: u32,
        /// Of these.
        last: u32,
    },
}

/// A question with an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A connection.
    Tcp(TcpProbe),
    /// A program.
    Exec(ExecProbe),
    /// A certificate.
    Tls(TlsProbe),
    /// A request that must be refused.
    Auth(AuthProbe),
}

impl Probe {
    /// How long an answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Span {
        match self {
            Self::Http(probe) => probe.timeout,
            Self::Tcp(probe) => probe.timeout,
            Self::Exec(probe) => probe.timeout,
            Self::Tls(probe) => probe.timeout,
            Self::Auth(probe) => probe.timeout,
        }
    }
}

/// An HTTP request and what its answer must be. `{port}` and `{instance}` stand in the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// `http:` or `https:`.
    pub url: String,
    /// Upper-case.
    pub method: String,
    /// Sent besides our own.
    pub headers: BTreeMap<String, String>,
    /// Good answers.
    pub status: Vec<StatusRange>,
    /// What a good answer's body contains.
    pub body: Option<Expected>,
    /// How long it may take.
    pub timeout: Span,
}

/// Status codes from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the type's own text describes them")]
pub struct StatusRange {
    pub first: u16,
    pub last: u16,
}

/// What a text must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This.
    Contains(String),
    /// A match of this regular expression, which compiles.
    Matches(String),
}

/// A connection, and what is said on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpProbe {
    /// `host:port`.
    pub address: String,
    /// Sent when connected.
    pub send: Option<String>,
    /// What then comes back.
    pub expect: Option<Expected>,
    /// How long it may take, in all.
    pub timeout: Span,
}

/// A program whose exit code is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecProbe {
    /// Program and arguments; the program is an absolute path.
    pub command: Vec<String>,
    /// Who runs it; `None`: the service's user.
    pub user: Option<String>,
    /// Good exit codes.
    pub success: Vec<u8>,
    /// How long it may take.
    pub timeout: Span,
}

/// A TLS handshake and the certificate it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProbe {
    /// `host:port`.
    pub address: String,
    /// The name that the certificate must be for; `None`: the address's host.
    pub name: Option<String>,
    /// Whom to trust, PEM; `None`: the system's own.
    pub authorities: Option<PathBuf>,
    /// Days that it must still hold.
    pub days_left: u32,
    /// The oldest version that will do.
    pub min_version: TlsVersion,
    /// How long it may take.
    pub timeout: Span,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as in the RFCs")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// A request without credentials, which must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthProbe {
    /// `http:` or `https:`.
    pub url: String,
    /// Upper-case.
    pub method: String,
    /// Answers that refuse.
    pub refused: Vec<u16>,
    /// How long it may take.
    pub timeout: Span,
}

/// A measured number and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub signal: Signal,
    /// How often it is looked at.
    pub every: Span,
    /// Where bad begins.
    pub bound: Bound,
    /// Where good begins again: on the good side of `bound`, or equal to it.
    pub clear: f64,
    /// Bad for so long before the check fails.
    pub hold: Span,
    /// Good for so long before it is well again.
    pub keep: Span,
    /// Instead of `hold`: bad so many times of the last so many.
    pub samples: Option<(u32, u32)>,
}

/// Where bad begins, in the signal's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Above this.
    Above(f64),
    /// Below this.
    Below(f64),
}

/// What is measured, of an instance with all its descendants.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// `cpu`: CPU time, in percent of one core.
    Cpu,
    /// `memory.rss`: resident, in bytes.
    MemoryRss,
    /// `memory.pss`: its share of what it shares, in bytes. Dear to measure.
    MemoryPss,
    /// `memory.swap`: in bytes.
    MemorySwap,
    /// `memory.share`: of the control group's limit, in percent.
    MemoryShare,
    /// `memory.growth`: of what stays after each fall, in bytes per second, over the window.
    MemoryGrowth {
        /// Over how long.
        window: Span,
    },
    /// `files.open`: descriptors, of the process with most.
    FilesOpen,
    /// `files.share`: of the soft limit, in percent.
    FilesShare,
    /// `threads`: a number.
    Threads,
    /// `io.read`: in bytes per second.
    IoRead,
    /// `io.write`: in bytes per second.
    IoWrite,
    /// `response.time`: how long a probe's answers took, in nanoseconds.
    ResponseTime {
        /// The check whose answers are taken.
        of: String,
        /// Of the answers in the window, the smallest that is no less than this share of them; from 0 to 1.
        quantile: f64,
        /// Over how long.
        window: Span,
    },
    /// `run_queue.p99`: from wake-up to running, in nanoseconds, over the window.
    RunQueueP99 {
        /// Over how long.
        window: Span,
    },
    /// `uninterruptible.time`: longest uninterruptible sleep in the window, in nanoseconds.
    Uninterruptible {
        /// Over how long.
        window: Span,
    },
    /// `pressure.cpu`: share of the last 10 s in which some task of the control group waited, in percent.
    PressureCpu,
    /// `pressure.memory`: the same.
    PressureMemory,
    /// `pressure.io`: the same.
    PressureIo,
    /// `restarts`: in the window, whatever their cause.
    Restarts {
        /// Over how long.
        window: Span,
    },
    /// `exits`: ends of main processes in the window, with one of these causes; none named: all but successes.
    Exits {
        /// `fault`, `oom`, `signal`, `error` (an exit code that is no success).
        causes: Vec<String>,
        /// Over how long.
        window: Span,
    },
    /// `age`: since its start, in nanoseconds.
    Age,
    /// `progress`: since the marker last changed, in nanoseconds.
    Progress {
        /// What changes when it makes progress.
        of: Marker,
    },
    /// `number`: from outside.
    Number(NumberSource),
}

impl Signal {
    /// What it is measured in.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Cpu
            | Self::MemoryShare
            | Self::FilesShare
            | Self::PressureCpu
            | Self::PressureMemory
            | Self::PressureIo => Unit::Percent,
            Self::MemoryRss | Self::MemoryPss | Self::MemorySwap => Unit::Bytes,
            Self::MemoryGrowth { .. } | Self::IoRead | Self::IoWrite => Unit::BytesPerTime,
            Self::ResponseTime { .. }
            | Self::RunQueueP99 { .. }
            | Self::Uninterruptible { .. }
            | Self::Age
            | Self::Progress { .. } => Unit::Time,
            Self::FilesOpen
            | Self::Threads
            | Self::Restarts { .. }
            | Self::Exits { .. }
            | Self::Number(_) => Unit::Number,
        }
    }

    /// Its name in policies.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::MemoryRss => "memory.rss",
            Self::MemoryPss => "memory.pss",
            Self::MemorySwap => "memory.swap",
            Self::MemoryShare => "memory.share",
            Self::MemoryGrowth { .. } => "memory.growth",
            Self::FilesOpen => "files.open",
            Self::FilesShare => "files.share",
            Self::Threads => "threads",
            Self::IoRead => "io.read",
            Self::IoWrite => "io.write",
            Self::ResponseTime { .. } => "response.time",
            Self::RunQueueP99 { .. } => "run_queue.p99",
            Self::Uninterruptible { .. } => "uninterruptible.time",
            Self::PressureCpu => "pressure.cpu",
            Self::PressureMemory => "pressure.memory",
            Self::PressureIo => "pressure.io",
            Self::Restarts { .. } => "restarts",
            Self::Exits { .. } => "exits",
            Self::Age => "age",
            Self::Progress { .. } => "progress",
            Self::Number(_) => "number",
        }
    }
}

impl fmt::Display for Signal {
    /// For sentences: `memory.growth over 10m`, `response.time p95 of api over 5m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemoryGrowth { window }
            | Self::RunQueueP99 { window }
            | Self::Uninterruptible { window } => {
                write!(f, "{} over {}", self.name(), span(*window))
            }
            Self::ResponseTime { of, quantile, window } => {
                write!(f, "response.time p{} of {of} over {}", quantile * 100.0, span(*window))
            }
            Self::Restarts { window } => write!(f, "restarts in {}", span(*window)),
            Self::Exits { causes, window } if causes.is_empty() => write!(f, "exits in {}", span(*window)),
            Self::Exits { causes, window } => {
                write!(f, "exits by {} in {}", causes.join(" or "), span(*window))
            }
            Self::Progress { of } => write!(f, "time without progress of {of}"),
            Self::Number(source) => write!(f, "number from {source}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// What changes when a job makes progress.
#[derive(Clone, Debug, PartialEq)]
pub enum Marker {
    /// Bytes that it wrote to its log.
    Log,
    /// CPU time, when it used at least 1% of a core since the last look.
    Cpu,
    /// Bytes read and written.
    Io,
    /// When a file was last changed. `{instance}` stands in the path.
    File(PathBuf),
    /// A number from outside.
    Number(NumberSource),
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("the log"),
            Self::Cpu => f.write_str("cpu"),
            Self::Io => f.write_str("io"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Number(source) => source.fmt(f),
        }
    }
}

/// Where a number from outside comes from. `{port}` and `{instance}` stand in commands and URLs.
#[derive(Clone, Debug, PartialEq)]
pub enum NumberSource {
    /// The first word that a program prints.
    Exec(ExecProbe),
    /// A number in a JSON document.
    Json {
        /// `http:` or `https:`.
        url: String,
        /// RFC 6901.
        pointer: String,
        /// How long it may take.
        timeout: Span,
    },
    /// The sum of a metric's samples on an exposition page.
    Prometheus {
        /// `http:` or `https:`.
        url: String,
        /// The metric's name.
        metric: String,
        /// Labels that a sample must have.
        labels: BTreeMap<String, String>,
        /// How long it may take.
        timeout: Span,
    },
}

impl fmt::Display for NumberSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(probe) => f.write_str(probe.command.first().map_or("a program", |program| program)),
            Self::Json { url, pointer, .. } => write!(f, "{pointer} of {url}"),
            Self::Prometheus { url, metric, .. } => write!(f, "{metric} of {url}"),
        }
    }
}

impl NumberSource {
    /// How long an answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Span {
        match self {
            Self::Exec(probe) => probe.timeout,
            Self::Json { timeout, .. } | Self::Prometheus { timeout, .. } => *timeout,
        }
    }
}
