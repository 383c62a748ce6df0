//! `processguard inventory`: what is guarded, and what is not.

use super::reach::{Reach, print};
use super::values;
use crate::client::{self, show};
use crate::daemon::drafts;
use crate::daemon::view;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard inventory
      services, the most important first; then processes that listen and that no
      policy guards
  processguard inventory --draft 812 > /etc/processguard/policies/web.yaml
      a policy for process 812, ready to be read, checked and put to use
  processguard policy check --host /etc/processguard/policies &&
      processguard reload
      put it to use

";

/// Show services by impact and rto, and processes that listen unguarded; draft a policy for one
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Print a policy for this running process, as YAML
    #[arg(long, value_name = "PID", value_parser = values::pid, conflicts_with = "json")]
    draft: Option<u32>,

    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(pid) = self.draft else {
            return self.reach.show::<view::Inventory>("/v1/inventory", show::inventory);
        };
        // From /proc: it can be had before there is a daemon.
        let text = drafts::of(pid).map_err(|refusal| client::Error::Problem(Box::new(refusal.into())))?;
        print(text.as_bytes())
    }
}
