//! `processguard sensor`: what is pinned.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::exit::{Failure, HELP, say};
use crate::holder::SOCKET;
use crate::sensor::pinned::{self, About};
use crate::sensor::pins::{self, PINS, Pins};
use crate::{clock, output, sensor, timestamp};

const EXAMPLES: &str = "\
EXAMPLES
  processguard sensor status
      what is pinned, who reads it, what it counted
  processguard sensor detach
      remove it: no program, map or link of ours stays in the kernel

";

/// Show or remove the pinned sensor
///
/// The kernel's part of `processguard record` outlives it, so that nothing is missed while it is restarted. This
/// shows what is there, and removes it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = concat_help(), after_help = HELP, arg_required_else_help = false)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,

    /// Where the sensor is pinned
    #[arg(long, value_name = "DIR", default_value = PINS, global = true)]
    pins: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what is pinned, who reads it, and what it counted
    #[command(after_help = HELP)]
    Status {
        /// As JSON, an object with stable names
        #[arg(long)]
        json: bool,
    },
    /// Remove what is pinned; records that nobody has read are lost. Refused while somebody reads it
    #[command(after_help = HELP)]
    Detach,
}

fn concat_help() -> String {
    format!("{EXAMPLES}{HELP}")
}

/// Something at the place of the pins.
enum Found {
    Sensor(Box<About>),
    /// One that was in the making when its maker ended.
    Unfinished(PathBuf),
    /// What is wrong with it.
    Unusable(PathBuf, String),
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Status { json } => self.status(json),
            Verb::Detach => self.detach(),
        }
    }

    fn status(&self, json: bool) -> Result<(), Failure> {
        sensor::probe::require_privileges()?;
        let held = pins::is_held(&self.pins);
        let found = self.found()?;
        let text = if json { self.json(&found, held) } else { self.text(&found, held) };
        match std::io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|source| output::Error::Stdout(source).into()),
        }
    }

    fn found(&self) -> Result<Vec<Found>, Failure> {
        let paths = pins::sensors(&self.pins).map_err(sensor::Error::from)?;
        let found = paths.into_iter().map(|path| {
            if !pins::is_ours(&path) {
                return Found::Unusable(path, "not made by processguard".to_owned());
            }
            if !pins::is_version(&path) {
                return Found::Unfinished(path);
            }
            match pinned::about(&path) {
                Ok(about) => Found::Sensor(Box::new(about)),
                Err(error) => Found::Unusable(path, error.to_string()),
            }
        });
        Ok(found.collect())
    }

    fn text(&self, found: &[Found], held: bool) -> String {
        let mut text = String::new();
        let mut line = |line: String| text.push_str(&(line + "\n"));
        if found.is_empty() {
            line(format!("nothing is pinned at {}", self.pins.display()));
        }
        for found in found {
            match found {
                Found::Sensor(about) => {
                    line(format!("{}", about.path.display()));
                    line(format!("  attached   {}", attached(about)));
                    line(format!("  reader     {}", reader(about, held)));
                    line(format!(
                        "  ring       {} of {} bytes wait for the reader",
                        about.waiting_bytes, about.ring_bytes
                    ));
                    line(format!("  programs   {}", about.programs.join(" ")));
                    line(format!("  {:<9}{:>14}{:>16}", "", "attempted", "lost: ring full"));
                    for (kind, attempted, lost) in
                        about.counts.iter().filter(|(_, attempted, _)| *attempted > 0)
                    {
                        line(format!("  {:<9}{attempted:>14}{lost:>16}", kind.name()));
                    }
                }
                Found::Unfinished(path) => line(format!("{}: unfinished; its maker ended", path.display())),
                Found::Unusable(path, why) => line(format!("{}: {why}", path.display())),
            }
        }
        text
    }

    fn json(&self, found: &[Found], held: bool) -> String {
        let sensors: Vec<_> = found
            .iter()
            .map(|found| match found {
                Found::Sensor(about) => json!({
                    "path": about.path,
                    "state": "attached",
                    "attached_boottime_ns": about.attached_ns,
                    "wire_version": about.wire,
                    "reader_pid": (held && about.holder != 0).then_some(about.holder),
                    "last_reader_pid": (about.holder != 0).then_some(about.holder),
                    "ring_bytes": about.ring_bytes,
                    "waiting_bytes": about.waiting_bytes,
                    "programs": about.programs,
                    "kinds": about.counts.iter().map(|(kind, attempted, ring_full)| json!({
                        "kind": kind.name(), "attempted": attempted, "lost": { "ring_full": ring_full },
                    })).collect::<Vec<_>>(),
                }),
                Found::Unfinished(path) => json!({ "path": path, "state": "unfinished" }),
                Found::Unusable(path, why) => json!({ "path": path, "state": "unusable", "reason": why }),
            })
            .collect();
        format!("{}\n", json!({ "pins": self.pins, "held": held, "socket": SOCKET, "sensors": sensors }))
    }

    fn detach(&self) -> Result<(), Failure> {
        sensor::probe::require_privileges()?;
        let found = self.found()?;
        if found.is_empty() {
            say(&format!("nothing is pinned at {}", self.pins.display()));
            return Ok(());
        }
        let pins = Pins::lock(&self.pins).map_err(sensor::Error::from)?;
        for path in pins::sensors(&self.pins).map_err(sensor::Error::from)? {
            if pins::is_ours(&path) {
                pins::remove(&path).map_err(sensor::Error::from)?;
                say(&format!("removed {}", path.display()));
            } else {
                say(&format!("left {} alone: processguard did not make it", path.display()));
            }
        }
        pins.remove_if_empty();
        Ok(())
    }
}

fn attached(about: &About) -> String {
    let at_ns = i64::try_from(about.attached_ns).unwrap_or(i64::MAX).saturating_add(clock::utc_offset_ns());
    let mut text = Vec::new();
    timestamp::SecondText::default().write_utc(&mut text, at_ns);
    String::from_utf8_lossy(&text).into_owned()
}

fn reader(about: &About, held: bool) -> String {
    match (held, about.holder) {
        (_, 0) => "none yet".to_owned(),
        (true, pid) => format!("process {pid}"),
        (false, pid) => format!("none; the last was process {pid}"),
    }
}
