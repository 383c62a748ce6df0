//! `processguard events`: what happens to services.

use super::reach::{Reach, look};
use crate::client::stream::{Item, follow};
use crate::client::{Api, show};
use crate::exit::{Failure, HELP, say};
use crate::output::{self, Sink};

const EXAMPLES: &str = "\
EXAMPLES
  processguard events
      the last things that happened, and end
  processguard events --follow --service checkout
      what happens to one service, as it happens
  processguard events -f --json | jq -r 'select(.event.kind==\"alert\").message'
      alerts, for a script of your own

OUTPUT OF --json
  One JSON object for each event, named as in the Elastic Common Schema. What was
  missed, because this program was too slow or the daemon was away, is told on
  standard error.

";

/// Show what happens to services: deaths, decisions, restarts, checks, alerts
///
/// The daemon keeps the last 512 events. With --follow, a daemon that goes (because it is upgraded, say) is waited
/// for, and nothing is shown twice.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Go on, until interrupted
    #[arg(long, short)]
    follow: bool,

    /// Only what concerns this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    /// How many of the last events to begin with [default: 10 with --follow, else all that are kept]
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    #[command(flatten)]
    reach: Reach,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let last = self.last.unwrap_or(if self.follow { 10 } else { usize::MAX });
        let mut written = Ok(());
        let asked = self.reach.ask_quietly(async |api: &Api| {
            follow(api, self.service.as_deref(), last, self.follow, |item| {
                written = self.show(&item);
                written.is_ok()
            })
            .await
        });
        match written {
            Err(output::Error::Closed) => return Ok(()),
            written => written?,
        }
        asked
    }

    fn show(&self, item: &Item) -> Result<(), output::Error> {
        match item {
            Item::Event(json) if self.reach.json => Sink::Stdout.write(format!("{json}\n").as_bytes()),
            Item::Event(json) => Sink::Stdout.write(format!("{}\n", show::event(&look(), json)).as_bytes()),
            Item::Missed(count) => {
                say(&match count {
                    Some(1) => "processguard: an event was missed here".to_owned(),
                    Some(count) => format!("processguard: {count} events were missed here"),
                    None => "processguard: this is another daemon: events may be missing here".to_owned(),
                });
                Ok(())
            }
            Item::Gone => {
                say("processguard: the daemon has gone; waiting for it to come back");
                Ok(())
            }
        }
    }
}
