//! `processguard flags`: what is switched off on this host.

use hyper::Method;

use super::reach::Reach;
use crate::client::{Api, encoded, show};
use crate::daemon::api::Switch;
use crate::daemon::view::Flags;
use crate::exit::{Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard flags
      what can be switched, and how it is
  processguard flags act off
      decide and record, but touch nothing on this host: while you look into
      something by hand
  processguard flags act on
      act again

";

/// Show or switch what the daemon does on this host; kept across its restarts
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Which
    #[arg(requires = "state")]
    name: Option<String>,

    /// On or off
    state: Option<State>,

    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum State {
    On,
    Off,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (Some(name), Some(state)) = (&self.name, self.state) else {
            return self.reach.show::<Flags>("/v1/flags", show::flags);
        };
        let (path, body) = (format!("/v1/flags/{}", encoded(name)), Switch { on: state == State::On });
        let flags = self.reach.ask("asking the daemon", async |api: &Api, _| {
            api.send::<Flags>(Method::PUT, &path, &body).await
        })?;
        self.reach.print(&flags, show::flags)
    }
}
