//! `processguard top`: its options, and what they mean together.

use std::fmt::Write as _;
use std::time::Duration;

use guard_common::limits::{RING_BYTES, WATCH_GROUPS};
use guard_common::wire::Kind;

use super::values;
use crate::exit::{Failure, HELP};
use crate::sensor::{self, Attach, Latency, Watch};
use crate::top::{self, Once, Sort, View};

use crate::units;

/// How often the screen is painted unless `--interval` says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);

/// The shortest interval: below it a picture could not be read, only paid for.
const SHORTEST: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
EXAMPLES
  processguard top
      the process tree of the host; ? shows the keys, q ends
  processguard top --view groups --sort memory
      which service, container or control group holds the memory
  processguard top --tree 812 --view list
      process 812 and its descendants, the busiest first
  processguard top --once --sort cpu --view list | head -20
      what is busy now, as text
  processguard top --once --json --interval 5s > picture.json
      the same of five seconds, with all groups and deaths, for programs

OUTPUT OF --once --json
  One object: `@timestamp`, `host`, and below `processguard` the arrays `processes`, `groups`, `deaths`
  and `lost`. A death is as the exit record of `trace --format json`, a process as its resources record
  with `processguard.run_queue`, `.restarts`, `.group`, `.age_ns` beside. What is not known is left out.

";

/// Show the processes of this host live: CPU, memory, waits, restarts, deaths and their causes
///
/// Events come from the kernel through eBPF, which needs root or CAP_BPF and CAP_PERFMON, so that no process is
/// too short-lived to be seen and every death has its cause. The screen needs 60x12 and has all in 80x24. The
/// terminal is left as it was however the program ends, SIGKILL excepted; q, SIGTERM, SIGINT, SIGHUP and a closed
/// terminal end it with status 0.
/// Colours are used unless NO_COLOR is set; they say nothing that words do not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = long_help(), after_help = HELP)]
pub(super) struct Arguments {
    /// How often everything is measured and painted; a key paints at once [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    interval: Option<Duration>,

    /// Only this process and its descendants, born before or after; may be given again
    #[arg(long, value_name = "PID", value_parser = values::pid)]
    tree: Vec<u32>,

    /// What to sort by [default: pid in a tree, else cpu]
    #[arg(long, value_name = "KEY")]
    sort: Option<Sort>,

    /// How to arrange the table
    #[arg(long, value_name = "VIEW", default_value = "tree")]
    view: View,

    /// Only what has this text in its name, arguments or group, in small or capital letters; or this pid
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,

    /// Print what happened and what was used during one interval, and end; needs no terminal
    #[arg(long)]
    once: bool,

    /// Print it as JSON
    #[arg(long, requires = "once")]
    json: bool,
}

fn long_help() -> String {
    let mut text = "KEYS\n".to_owned();
    for (key, does) in top::KEYS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key:<26}  {does}");
    }
    format!("{text}\n{EXAMPLES}{HELP}")
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let interval = self.interval.unwrap_or(INTERVAL);
        if interval < SHORTEST {
            return Err(Failure::Usage(format!(
                "--interval: {interval:?} is too short to be seen; the shortest is 100ms"
            )));
        }
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let options = top::Options {
            sensor: sensor::Options {
                kinds: Kind::ALL.to_vec(),
                watch: if self.tree.is_empty() { Watch::All } else { Watch::Trees(self.tree.clone()) },
                uid: None,
                cgroup: None,
                samples: true,
                latency: Some(Latency::new(WATCH_GROUPS as u16)),
                child_signals: false,
                ring_bytes: RING_BYTES,
                attach: Attach::Auto,
                kernel_log: false,
            },
            interval,
            trees: self.tree,
            view: self.view,
            sort: self.sort,
            filter: self.filter,
            color: !refused,
        };
        match (self.once, self.json) {
            (false, _) => top::run(options),
            (true, false) => top::run_once(options, Once::Text),
            (true, true) => top::run_once(options, Once::Json),
        }
    }
}
