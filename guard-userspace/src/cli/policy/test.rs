//! `processguard policy test`: policies rehearsed, on scenarios and on recordings.

use std::path::{Path, PathBuf};

use guard_core::rehearse::{self, Entry};
use guard_core::supervise::Clock;

use super::{POLICIES, print};
use crate::exit::{Code, Failure, HELP};
use crate::policy::entries;
use crate::policy::files::{self, Wanted};
use crate::policy::golden::{self, Compared};
use crate::policy::load::{Policies, colour};
use crate::policy::recorded::{self, Watched};
use crate::policy::scenario::{self, Played};

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy test policies/stories
      play all scenarios below a directory, each with the policies that it names, and compare with their golden files
  processguard policy test policies/stories/checkout/leak.scenario.yaml --show
      play one and print what happens, minute by minute
  processguard policy test policies/stories --bless
      make what happens now the golden files
  processguard policy test --recording /var/log/pg.json --policies policies/
      what would have been done to what `trace --format json` saw (or to a directory that `record` wrote), and why

SCENARIOS
  A scenario (NAME.scenario.yaml) names policies, describes how their processes behave, and says what happens when. Its golden
  file is NAME.golden beside it. docs/policies.md describes it.

";

/// Rehearse policies on scripted scenarios or on a recording: which actions would be taken, when and why
///
/// Nothing is touched: scenarios are played in a simulated host; a recording is only watched (services that the policies would
/// start are found by their program). Exit status 8 if a scenario has errors, or does not end as its golden file says.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Scenarios, and directories of scenarios
    #[arg(value_name = "PATH", required_unless_present = "recording", conflicts_with = "recording")]
    paths: Vec<PathBuf>,

    /// A JSON stream of `trace`, or a recording of `record`
    #[arg(long, value_name = "FILE|DIR")]
    recording: Option<PathBuf>,

    /// Policies for the recording: files and directories; may be given again
    #[arg(long, value_name = "PATH", default_value = POLICIES, requires = "recording")]
    policies: Vec<PathBuf>,

    /// Seed of all dice, for the recording
    #[arg(long, default_value_t = 1, requires = "recording")]
    seed: u64,

    /// Golden file of the recording
    #[arg(long, value_name = "FILE", requires = "recording")]
    golden: Option<PathBuf>,

    /// Make what happens now the golden files
    #[arg(long, visible_alias = "update")]
    bless: bool,

    /// Print what happens in scenarios, also where it is as it should be
    #[arg(long)]
    show: bool,

    /// One JSON object for each thing that happens, instead of text
    #[arg(long, conflicts_with = "bless")]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        if let Some(recording) = &self.recording {
            return self.recording(recording);
        }
        let mut code = Code::Ok;
        for path in files::find(&self.paths, Wanted::Scenarios)? {
            if !self.scenario(&path)? {
                code = Code::Policies;
            }
        }
        Ok(code)
    }

    /// Whether it is as it should be.
    fn scenario(&self, path: &Path) -> Result<bool, Failure> {
        let name = files::shown(path);
        match scenario::play(path, colour(std::io::stdout()))? {
            Played::Badly(findings) => {
                print(&format!("{findings}FAILED  {name}: it cannot be played\n"))?;
                Ok(false)
            }
            Played::Well { scenario, rehearsal } => {
                let text = rehearse::text(&scenario, &rehearsal);
                if self.json {
                    let clock = scenario.clock();
                    print(&lines(clock, &rehearsal.entries))?;
                    return Ok(rehearsal.restless_ns.is_none());
                }
                let fine = self.compare(&name, &golden::beside(path), &text)?;
                Ok(fine && rehearsal.restless_ns.is_none())
            }
        }
    }

    fn recording(&self, path: &Path) -> Result<Code, Failure> {
        let set = Policies::usable(&self.policies)?;
        let watched = recorded::watch(path, &set, self.seed)?;
        let code = self.watched(path, &watched)?;
        watched.damage.map_or(Ok(code), Err)
    }

    fn watched(&self, path: &Path, watched: &Watched) -> Result<Code, Failure> {
        let Watched { clock, entries, unseen, .. } = watched;
        if self.json {
            print(&lines(*clock, entries))?;
            return Ok(Code::Ok);
        }
        let mut text = rehearse::diary(*clock, entries);
        if !unseen.is_empty() {
            text.push_str(&format!(
                "\nnot watched, because no process of theirs is in it: {}\n",
                unseen.join(", ")
            ));
        }
        match &self.golden {
            None => print(&text).map(|()| Code::Ok),
            Some(golden) => {
                let fine = self.compare(&files::shown(path), golden, &text)?;
                Ok(if fine { Code::Ok } else { Code::Policies })
            }
        }
    }

    /// Says whether a text is what its golden file says.
    fn compare(&self, name: &str, path: &Path, text: &str) -> Result<bool, Failure> {
        let compared = golden::compare(path, text)?;
        if self.show || compared == Compared::None && !self.bless {
            print(&format!("{text}\n"))?;
        }
        let golden = files::shown(path);
        let (line, fine) = match compared {
            Compared::Same => (format!("ok      {name}\n"), true),
            _ if self.bless => {
                golden::bless(path, text)?;
                (format!("blessed {golden}\n"), true)
            }
            Compared::None => (format!("new     {name}: `--bless` makes this its golden file\n"), true),
            Compared::Different(difference) => {
                let help = "`--bless` makes what happens now the golden file";
                (format!("FAILED  {name}: not as {golden} says; {help}\n{difference}"), false)
            }
        };
        print(&line)?;
        Ok(fine)
    }
}

fn lines(clock: Clock, entries: &[Entry]) -> String {
    entries.iter().map(|entry| format!("{}\n", entries::json(clock, entry))).collect()
}
