//! `processguard keeper`: started by the daemon, not by people.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::keeper::{self, JOURNAL, LINGER, Options, READY};
use crate::exit::Failure;

/// Hold the services' log pipes; the daemon starts this
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The daemon's runtime directory
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,

    /// Seconds to stay without a daemon and without a pipe to read
    #[arg(long, value_name = "SECONDS", default_value_t = LINGER.as_secs())]
    linger: u64,

    /// The journal's socket
    #[arg(long, value_name = "PATH", default_value = JOURNAL)]
    journal: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { directory, linger, journal } = self;
        let options = Options { directory, linger: Duration::from_secs(linger), journal };
        keeper::keep(options, |_| announce())?;
        Ok(())
    }
}

/// Whoever started it reads this, and goes away some day.
fn announce() {
    let mut out = std::io::stdout();
    let _ = out.write_all(READY.as_bytes()).and_then(|()| out.flush());
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()) {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
