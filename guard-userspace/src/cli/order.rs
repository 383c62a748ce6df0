//! `processguard start`, `stop`, `restart`, `scale`: orders, followed until they are done.

use hyper::Method;

use super::reach::{Reach, print};
use crate::client::progress::Progress;
use crate::client::wait::{Goal, until};
use crate::client::{self, Api, Document, encoded};
use crate::daemon::api::{Restart as RestartBody, Scale as ScaleBody};
use crate::daemon::view::{Service, Services, State};
use crate::exit::{Failure, HELP, say};

const START_EXAMPLES: &str = "\
EXAMPLES
  processguard start checkout
      start it and wait until it is ready; exit status 12 if it will not be
  processguard start checkout --no-wait
      only give the order

";

const STOP_EXAMPLES: &str = "\
EXAMPLES
  processguard stop checkout
      stop it and wait until nothing is left of it; it stays stopped until it is
      started
  processguard stop --all
      all services, each before those that it depends on

";

const RESTART_EXAMPLES: &str = "\
EXAMPLES
  processguard restart checkout
      all instances, one after the other
  processguard restart checkout/1
      only instance 1 (they are counted from 0)

";

const SCALE_EXAMPLES: &str = "\
EXAMPLES
  processguard scale checkout 3
      three instances from now on, within the min and max of its policy

";

/// Start a stopped or held service, and wait until it is ready
///
/// Its restart budget begins anew. Waits until the service is ready; exit status 12 if it is held or stopped instead.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{START_EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Start {
    /// Which
    service: String,

    #[command(flatten)]
    common: Common,
}

/// Stop a service, and wait until nothing is left of it
///
/// It stays stopped, also across restarts of the daemon and of the host, until it is started.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{STOP_EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Stop {
    /// Which
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    service: Option<String>,

    /// All services, each before those that it depends on
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    common: Common,
}

/// Restart a service or one instance, and wait until other processes are ready
///
/// No restart by hand is counted against the budget.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{RESTART_EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Restart {
    /// Which; all its instances, one after the other, unless one is named
    #[arg(value_name = "SERVICE[/INSTANCE]", value_parser = subject)]
    subject: (String, Option<u32>),

    #[command(flatten)]
    common: Common,
}

/// Have so many instances of a service, and wait until they are ready
///
/// The number is brought within the min and max of the service's policy.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{SCALE_EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Scale {
    /// Which
    service: String,

    /// How many
    #[arg(value_name = "N")]
    instances: u32,

    #[command(flatten)]
    common: Common,
}

/// What all orders have in common.
#[derive(Debug, clap::Args)]
struct Common {
    /// Only give the order: do not wait until it is done
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    reach: Reach,
}

/// `checkout`, `checkout/1`.
fn subject(text: &str) -> Result<(String, Option<u32>), String> {
    match text.split_once('/') {
        None => Ok((text.to_owned(), None)),
        Some((service, instance)) => match instance.parse() {
            Ok(instance) => Ok((service.to_owned(), Some(instance))),
            Err(_) => Err(format!("`{instance}` should be an instance's number, counted from 0")),
        },
    }
}

fn path(service: &str, verb: &str) -> String {
    format!("/v1/services/{}/{verb}", encoded(service))
}

impl Common {
    /// Gives an order and follows it.
    fn carry(
        &self,
        what: &str,
        order: impl AsyncFnOnce(&Api) -> Result<(Document<Service>, Goal), client::Error>,
    ) -> Result<(), Failure> {
        let wait = !self.no_wait;
        let (seen, said) = self.reach.ask(what, async |api: &Api, progress: &Progress| {
            let (seen, goal) = order(api).await?;
            if wait {
                until(api, &goal, seen, progress).await
            } else {
                Ok((seen, format!("{what}: ordered")))
            }
        })?;
        self.finish(&seen.raw, &said)
    }

    fn finish(&self, raw: &[u8], said: &str) -> Result<(), Failure> {
        if self.reach.json {
            return print(raw);
        }
        say(&crate::show::escape::message(said));
        Ok(())
    }
}

impl Start {
    pub(super) fn run(self) -> Result<(), Failure> {
        let what = format!("starting {}", self.service);
        self.common.carry(&what, async |api: &Api| {
            Ok((api.post(&path(&self.service, "start")).await?, Goal::Started))
        })
    }
}

impl Stop {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(service) = &self.service else { return self.all() };
        self.common.carry(&format!("stopping {service}"), async |api: &Api| {
            Ok((api.post(&path(service, "stop")).await?, Goal::Stopped))
        })
    }

    fn all(&self) -> Result<(), Failure> {
        let wait = !self.common.no_wait;
        let (seen, said) =
            self.common.reach.ask("stopping all services", async |api: &Api, progress: &Progress| {
                let mut seen: Document<Services> = api.post("/v1/stop").await?;
                let mut left = left(&seen.view);
                while wait && !left.is_empty() {
                    progress.say(format!(
                        "stopping all services: {} left, such as {}",
                        left.len(),
                        left.swap_remove(0)
                    ));
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    seen = api.get("/v1/services").await?;
                    left = self::left(&seen.view);
                }
                Ok((seen, if wait { "all services are stopped" } else { "stopping all services: ordered" }))
            })?;
        self.common.finish(&seen.raw, said)
    }
}

/// Those that are not stopped yet.
fn left(services: &Services) -> Vec<String> {
    let left = services.services.iter().filter(|service| service.state != State::Stopped);
    left.map(|service| service.name.clone()).collect()
}

impl Restart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (service, instance) = self.subject;
        self.common.carry(&format!("restarting {service}"), async |api: &Api| {
            let before: Document<Service> = api.get(&format!("/v1/services/{}", encoded(&service))).await?;
            let mains = before.view.instances.iter().filter_map(|instance| instance.main.as_ref());
            let before = mains.map(|main| main.entity_id.clone()).collect();
            let seen = api.send(Method::POST, &path(&service, "restart"), &RestartBody { instance }).await?;
            Ok((seen, Goal::Restarted { instance, before }))
        })
    }
}

impl Scale {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { service, instances, common } = self;
        common.carry(&format!("scaling {service} to {instances}"), async |api: &Api| {
            let seen = api.send(Method::POST, &path(&service, "scale"), &ScaleBody { instances }).await?;
            Ok((seen, Goal::Scaled))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        assert_eq!(subject("web"), Ok(("web".to_owned(), None)));
        assert_eq!(subject("web/12"), Ok(("web".to_owned(), Some(12))));
        for text in ["web/", "web/x", "web/-1", "web/1/2"] {
            assert!(subject(text).unwrap_err().contains("counted from 0"), "{text}");
        }
    }
}
