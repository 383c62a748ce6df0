//! `processguard reload`: policies are read again.

use super::reach::Reach;
use crate::client::Api;
use crate::client::show;
use crate::daemon::view::Generation;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy check --host /etc/processguard/policies &&
      processguard reload
      read them again, if nothing is wrong with them
  processguard policy generations
      what held when
  processguard policy rollback
      have the generation before hold again

";

/// Have the daemon read its policies again: all of them hold from now on, or nothing changes
///
/// Services whose `run` did not change go on undisturbed. Each accepted set is a generation that is kept; one that
/// makes restarts rise within its trial time is rolled back by itself. If the policies have errors, all of them are
/// shown, the exit status is 8, and what held before holds on.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let asked = self.reach.ask("reading the policies again", async |api: &Api, _| {
            api.post::<Generation>("/v1/policies/reload").await
        });
        self.reach.print(&asked.inspect_err(super::reach::diagnose)?, show::generation)
    }
}
