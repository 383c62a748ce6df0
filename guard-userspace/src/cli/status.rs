//! `processguard status`: how services are.

use super::reach::Reach;
use crate::client::{encoded, show};
use crate::daemon::view;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard status
      the daemon and all services, one line each
  processguard status checkout
      one service: its instances, its checks, what waits for approval
  processguard status --json |
      jq -r '.services[] | select(.state != \"healthy\").name'
      the names of those that are not well

";

/// Show the daemon and its services, or one service
///
/// A service is stopped, waiting (for what it depends on), starting, healthy, degraded (a check fails), backing
/// off (until its next start), stopping, or held (not started any more: its budget is spent, or something else
/// forbids it). WHY says what led there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Only this service, with all that is known of it
    service: Option<String>,

    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        match &self.service {
            None => self.reach.show::<view::Status>("/v1/status", show::status),
            Some(name) => {
                let path = format!("/v1/services/{}", encoded(name));
                self.reach.show::<view::Service>(&path, show::service)
            }
        }
    }
}
