//! `processguard record`: the flight recorder.

use std::path::PathBuf;
use std::time::Duration;

use guard_common::limits::RING_BYTES;
use regex::bytes::Regex;

use super::trace::AttachBy;
use super::values;
use crate::exit::{Failure, HELP, say};
use crate::feed::INTERVAL;
use crate::holder::{Account, Audience, Holder, SOCKET, Settings};
use crate::recording::writer::Rotation;
use crate::redact::{self, Redactor};
use crate::sensor::pins::PINS;
use crate::sensor::{Options, Watch};
use crate::show::escape;
use crate::stop::Stop;

const EXAMPLES: &str = "\
EXAMPLES
  processguard record /var/lib/processguard/recording
      keep the last GiB of what happened to processes on this host
  processguard record /srv/rec --max-size 256MiB --keep 8 --redact '(?i)(password|token)=\\S+'
      2 GiB, without secrets in arguments
  processguard trace --input /var/lib/processguard/recording --events exit --comm nginx
      how nginx died, as far back as the recording goes

HOW IT WORKS
  The kernel's part of the sensor is pinned in the bpf file system and outlives this program: what happens while
  nobody reads stays in the kernel's ring, as far as it holds (--ring-size), and is put down by the next
  `record`, which goes on exactly where the one before stopped, however that ended. What did not fit is counted,
  and told. `processguard sensor status` shows what is pinned, `processguard sensor detach` removes it.
  While this runs, `processguard trace` shows what it sees, without kernel programs of its own.

FILES
  DIR/stream-NNNNNNNN.pgrec   readable by their owner only; each is complete in itself
  /sys/fs/bpf/processguard    the pinned sensor; locked by the process that reads it
  /run/processguard/sensor.sock   where `trace` subscribes; for root and the recorder's own user

";

/// Record what happens to every process, without a gap even across restarts of the recorder
///
/// Holds the host's pinned sensor (attaching it first if there is none), and writes the kernel's records to
/// files in DIR, which `processguard trace --input DIR` reads. Ends on SIGTERM or SIGINT; the pinned sensor
/// stays. Needs root, or CAP_BPF and CAP_PERFMON, and a bpf file system.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat_help(), after_help = HELP)]
pub(super) struct Arguments {
    /// Where the files are; made if need be
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Begin another file once one has this size
    #[arg(long, value_name = "SIZE", value_parser = values::max_size, default_value = "64MiB", help_heading = "Files")]
    max_size: u64,

    /// How many files to keep, the current one included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=99_999), default_value = "16",
        help_heading = "Files")]
    keep: u64,

    /// Replace what matches within any argument by [redacted] before it is written or shown to anybody; may be
    /// given again
    #[arg(long, value_name = "REGEX", value_parser = redact::pattern, help_heading = "Files")]
    redact: Vec<Regex>,

    /// Also have the kernel remember how this process and its descendants end, even if the ring is full; may be
    /// given again
    #[arg(long, value_name = "PID", value_parser = values::pid, help_heading = "Sensor")]
    watch: Vec<u32>,

    /// Size of the kernel's ring buffer, a power of two: what happens while nobody reads must fit [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::ring_size, help_heading = "Sensor")]
    ring_size: Option<u32>,

    /// How fork, exec and exit are attached: auto takes what loses nothing on the running kernel
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "Sensor")]
    attach: AttachBy,

    /// How long records gather in the kernel after the first one woke us
    #[arg(long, value_name = "TIME", value_parser = values::gather, help_heading = "Sensor")]
    interval: Option<Duration>,

    /// How often the process table is compared with the kernel's own
    #[arg(long, value_name = "TIME", value_parser = values::sweep, default_value = "1m", help_heading = "Sensor")]
    sweep: Duration,

    /// Where the sensor is pinned
    #[arg(long, value_name = "DIR", default_value = PINS, help_heading = "Places")]
    pins: PathBuf,

    /// Where others subscribe
    #[arg(long, value_name = "PATH", default_value = SOCKET, help_heading = "Places")]
    socket: PathBuf,

    /// Nothing on standard error but errors
    #[arg(long, short)]
    quiet: bool,
}

fn concat_help() -> String {
    format!("{EXAMPLES}{HELP}")
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let quiet = self.quiet;
        let directory = escape::display(self.directory.as_os_str().as_encoded_bytes());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| Failure::System { action: "start the event loop", source })?;
        let account = runtime.block_on(async {
            let stop =
                Stop::listen().map_err(|source| Failure::System { action: "handle signals", source })?;
            let (holder, listener) = Holder::open(self.settings())?;
            if !quiet {
                say(&format!(
                    "recording to {directory}; the sensor is pinned at {}",
                    holder.sensor().path().display()
                ));
            }
            let stopped = async {
                let _ = stop.readable().await;
            };
            let pinned = holder.sensor().path().to_owned();
            holder.run(listener, stopped).await.inspect_err(|_| {
                if !quiet {
                    say(&format!(
                        "the sensor stays pinned at {}: the next `record` goes on with it, `processguard sensor detach` removes it",
                        pinned.display()
                    ));
                }
            })
        })?;
        if !quiet {
            say(&farewell(&account));
        }
        Ok(())
    }

    fn settings(self) -> Settings {
        Settings {
            pins: self.pins,
            socket: self.socket,
            directory: self.directory,
            rotation: Rotation { max_bytes: self.max_size, keep: self.keep },
            sensor: Options {
                watch: Watch::AllFollowed,
                ring_bytes: self.ring_size.unwrap_or(RING_BYTES),
                attach: self.attach.into(),
                ..Options::default()
            },
            ring_size_matters: self.ring_size.is_some(),
            watched: self.watch,
            redactor: Redactor::new(self.redact),
            interval: self.interval.unwrap_or(INTERVAL),
            sweep: self.sweep,
            audience: Audience::None,
        }
    }
}

fn farewell(account: &Account) -> String {
    let lost: u64 = account.losses.iter().map(|lost| lost.count).sum();
    format!(
        "{} records written; {lost} lost since the sensor was attached, which stays so: `processguard sensor detach` removes it",
        account.records
    )
}
