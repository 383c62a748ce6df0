//! Why the sensor cannot work.

use std::io;

use super::btf::BtfError;

/// Lines of a verifier log that an error shows: the last ones say what was refused.
const LOG_LINES: usize = 12;

/// What kind of remedy an error calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Run as root, or with the capabilities that the error names.
    Privilege,
    /// This kernel lacks something.
    Kernel,
    /// An option's value does not fit this host.
    Usage,
    /// The place where a sensor is pinned cannot be used.
    Pins,
    /// Anything else: memory, a bug.
    Runtime,
}

/// Why the sensor cannot work. Each variant names cause and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary was built without a BPF toolchain.
    #[error("this binary was built without its kernel programs; run `cargo xtask setup`, then build again")]
    NoObject,
    /// Capabilities are missing.
    #[error("the kernel sensor needs the capabilities {}; run as root", .0.join(", "))]
    Privilege(Vec<&'static str>),
    /// No type information.
    #[error(
        "the kernel's type information is not usable; the kernel must be built with CONFIG_DEBUG_INFO_BTF"
    )]
    Btf(#[from] BtfError),
    /// The kernel's structures differ from all that are known.
    #[error("this kernel ({kernel}) lacks {}; please report it", fields.join(", "))]
    Layout {
        /// Kernel release.
        kernel: String,
        /// What is missing.
        fields: Vec<String>,
    },
    /// A hook is missing.
    #[error("this kernel ({kernel}) has no tracepoint {hook}")]
    NoHook {
        /// Kernel release.
        kernel: String,
        /// Tracepoint.
        hook: &'static str,
    },
    /// The verifier refused a program.
    #[error("the kernel ({kernel}) refused the program for {hook}:\n{}", tail(log))]
    Verifier {
        /// Kernel release.
        kernel: String,
        /// What the program serves.
        hook: &'static str,
        /// All that the verifier said.
        log: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The ring's size cannot be used.
    #[error("a ring of {0} bytes is not possible; the size must be a power of two, from 4KiB to 1GiB")]
    RingSize(u32),
    /// A control group does not exist.
    #[error("there is no control group {path}; name a directory below {root}")]
    NoCgroup {
        /// As the user gave it.
        path: String,
        /// Where control groups are.
        root: String,
    },
    /// A process to watch does not exist.
    #[error("there is no process {0} to watch")]
    NoProcess(u32),
    /// The kernel's records have the host's pids, and here are others.
    #[error(
        "this is a pid namespace of its own, in which the host's processes have other numbers or none; run it on the host, or in a container with the host's pids (podman run --pid=host)"
    )]
    PidNamespace,
    /// The pins cannot be used.
    #[error(transparent)]
    Pins(#[from] super::pins::PinError),
    /// Anything that the system refused.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: String,
        /// The answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// What kind of remedy it calls for.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Privilege(_) => ErrorKind::Privilege,
            Self::Btf(_) | Self::Layout { .. } | Self::NoHook { .. } | Self::Verifier { .. } => {
                ErrorKind::Kernel
            }
            Self::PidNamespace | Self::RingSize(_) | Self::NoCgroup { .. } | Self::NoProcess(_) => {
                ErrorKind::Usage
            }
            Self::Pins(_) => ErrorKind::Pins,
            Self::NoObject | Self::System { .. } => ErrorKind::Runtime,
        }
    }

    /// Wraps what the system said.
    pub(crate) fn system(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::System { action: action.into(), source: source.into() }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
    shown.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Release of the running kernel.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
