//! `processguard incidents`: what went wrong, and how it was mended.

use super::reach::Reach;
use crate::client::{encoded, show};
use crate::daemon::view;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard incidents
      the last incidents, the newest first
  processguard incidents 17
      one, as a timeline on the kernel's clock: death, decision, fork, exec,
      listen, first good check
  processguard incidents --service checkout --open
      what is wrong with one service now
  processguard incidents --json --limit 1000 |
      jq '[.incidents[].recovery.at_most_ns // empty] | max'
      the longest recovery, in nanoseconds

";

/// Show incidents, or one of them as a timeline
///
/// An incident is every departure of a service from health, also one that healed itself. `recovered` gives the
/// interval in which it was well again: between the last moment at which it was known to be bad and the first at
/// which it was known to be good.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Only this one, as a timeline
    #[arg(conflicts_with_all = ["service", "open", "limit"])]
    id: Option<u64>,

    /// Only incidents of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    /// Only those that are not over
    #[arg(long)]
    open: bool,

    /// How many at most
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,

    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(id) = self.id {
            return self.reach.show::<view::Incident>(&format!("/v1/incidents/{id}"), show::incident);
        }
        let mut path = format!("/v1/incidents?limit={}&open={}", self.limit, self.open);
        if let Some(service) = &self.service {
            path.push_str(&format!("&service={}", encoded(service)));
        }
        self.reach.show::<view::Incidents>(&path, show::incidents)
    }
}
