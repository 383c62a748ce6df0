//! `processguard policy generations`, `rollback`, `suggest`: policies that hold, by the daemon.

use crate::cli::reach::{Reach, diagnose, print};
use crate::client::{Api, encoded, show};
use crate::daemon::view;
use crate::exit::{Code, Failure, HELP};

const GENERATIONS: &str = "\
EXAMPLES
  processguard policy generations
      which sets of policies the daemon accepted, when, why, and what changed
  processguard policy rollback
      have the one before hold again

";

const ROLLBACK: &str = "\
EXAMPLES
  processguard policy rollback
      have the generation before this one hold again; the files stay as they are,
      so mend them before the next reload

";

const SUGGEST: &str = "\
EXAMPLES
  processguard policy suggest checkout
      a patch with thresholds from what was measured: quantiles, with margin
  processguard policy suggest checkout | patch -p0 && processguard reload
      apply it

";

/// Show the sets of policies that the daemon accepted, the newest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{GENERATIONS}{HELP}"), after_help = HELP)]
pub(super) struct Generations {
    #[command(flatten)]
    reach: Reach,
}

/// Have the daemon return to the generation of policies before this one
///
/// Services whose `run` is the same in both go on undisturbed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{ROLLBACK}{HELP}"), after_help = HELP)]
pub(super) struct Rollback {
    #[command(flatten)]
    reach: Reach,
}

/// Suggest thresholds for a service from what was measured, as a patch of its policy's file
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{SUGGEST}{HELP}"), after_help = HELP)]
pub(super) struct Suggest {
    /// Which
    service: String,

    #[command(flatten)]
    reach: Reach,
}

impl Generations {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        self.reach.show::<view::Generations>("/v1/policies/generations", show::generations)?;
        Ok(Code::Ok)
    }
}

impl Rollback {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let asked = self.reach.ask("going back to the generation before", async |api: &Api, _| {
            api.post::<view::Generation>("/v1/policies/rollback").await
        });
        self.reach.print(&asked.inspect_err(diagnose)?, show::generation)?;
        Ok(Code::Ok)
    }
}

impl Suggest {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let path = format!("/v1/services/{}/suggest", encoded(&self.service));
        let patch =
            self.reach.ask("looking at what was measured", async |api: &Api, _| api.text(&path).await)?;
        if self.reach.json {
            let patch = String::from_utf8_lossy(&patch);
            print(format!("{}\n", serde_json::json!({ "patch": patch })).as_bytes())?;
        } else {
            print(&patch)?;
        }
        Ok(Code::Ok)
    }
}
