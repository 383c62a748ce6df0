//! `processguard approvals`: steps that wait for somebody's consent.

use super::reach::Reach;
use crate::client::{Api, show};
use crate::daemon::view::Approvals;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard approvals list
      what waits, and what it would do
  processguard approvals approve 41
      let it be done
  processguard approvals deny 41
      let it not be done

";

/// Show steps that wait for approval, approve or deny them
///
/// A step whose policy says `approve:` waits for it, until its time is over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what waits
    #[command(after_help = HELP)]
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// A step may be taken
    #[command(after_help = HELP)]
    Approve {
        /// Its number, as `list` shows it
        id: u64,
        #[command(flatten)]
        reach: Reach,
    },
    /// A step may not be taken
    #[command(after_help = HELP)]
    Deny {
        /// Its number, as `list` shows it
        id: u64,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::List { reach } => reach.show::<Approvals>("/v1/approvals", show::approvals),
            Verb::Approve { id, reach } => decide(&reach, id, "approve"),
            Verb::Deny { id, reach } => decide(&reach, id, "deny"),
        }
    }
}

fn decide(reach: &Reach, id: u64, how: &str) -> Result<(), Failure> {
    let path = format!("/v1/approvals/{id}/{how}");
    let rest = reach.ask("asking the daemon", async |api: &Api, _| api.post::<Approvals>(&path).await)?;
    reach.print(&rest, show::approvals)
}
