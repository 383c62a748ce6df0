//! An order is followed until it is done or failed.

use std::time::Duration;

use tokio::time::sleep;

use super::progress::Progress;
use super::show::word;
use super::{Api, Document, Error, encoded};
use crate::daemon::view::{Instance, Mode, Service, State};

/// How often the service is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is to come of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It is ready.
    Started,
    /// Nothing is left of it.
    Stopped,
    /// Other main processes are ready.
    Restarted {
        /// Which instance; `None`: all.
        instance: Option<u32>,
        /// Those main processes that were there before, by `entity_id`.
        before: Vec<String>,
    },
    /// As many as wanted are ready, and no more are there.
    Scaled,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// There.
    Done(String),
    /// It will not get there.
    Failed(String),
    /// On its way.
    Going(String),
}

impl Goal {
    /// How far a service is.
    #[must_use]
    pub fn judge(&self, service: &Service) -> Judged {
        let name = &service.name;
        let line = format!("{name} is {}: {}", word(service.state), service.why);
        if *self == Self::Stopped {
            return match service.state {
                _ if service.wanted => Judged::Failed(format!("{name} is wanted again: {}", service.why)),
                State::Stopped => Judged::Done(format!("{name} is stopped")),
                _ => Judged::Going(line),
            };
        }
        if !service.wanted {
            return Judged::Failed(format!("{name} is not wanted any more: {}", service.why));
        }
        if service.state == State::Held {
            return Judged::Failed(line);
        }
        let ready = matches!(service.state, State::Healthy | State::Degraded);
        let there = match self {
            // All instances ended well, and want no others.
            Self::Started => ready || service.state == State::Stopped,
            Self::Restarted { instance, before } => {
                let meant = |one: &&Instance| instance.is_none_or(|number| one.number == number);
                let mut meant = service.instances.iter().filter(meant).peekable();
                meant.peek().is_some() && meant.all(|one| is_another(one, before))
            }
            Self::Scaled => {
                let there = service.instances.iter().filter(|one| one.state != State::Stopped).count();
                service.ready >= service.target && there == service.target as usize
            }
            Self::Stopped => false,
        };
        if there {
            let counted = format!("{} of {} ready", service.ready, service.target);
            return Judged::Done(format!("{name} is {} ({counted})", word(service.state)));
        }
        let busy =
            service.instances.iter().find(|one| !matches!(one.state, State::Healthy | State::Degraded));
        Judged::Going(
            busy.map_or(line, |one| format!("{name}/{} is {}: {}", one.number, word(one.state), one.why)),
        )
    }
}

fn is_another(instance: &Instance, before: &[String]) -> bool {
    let ready = matches!(instance.state, State::Healthy | State::Degraded);
    ready && instance.main.as_ref().is_some_and(|main| !before.contains(&main.entity_id))
}

/// Follows a service until it is there, or will not get there. The last look at it, and what that says.
///
/// # Errors
/// If it will not get there, or the daemon does not say.
pub async fn until(
    api: &Api,
    goal: &Goal,
    mut seen: Document<Service>,
    progress: &Progress,
) -> Result<(Document<Service>, String), Error> {
    if seen.view.mode == Mode::Observe && *goal != Goal::Stopped {
        let said = format!("{} is only observed: what is decided is recorded, and not done", seen.view.name);
        return Ok((seen, said));
    }
    let path = format!("/v1/services/{}", encoded(&seen.view.name));
    loop {
        match goal.judge(&seen.view) {
            Judged::Done(said) => return Ok((seen, said)),
            Judged::Failed(why) => return Err(Error::Failed(why)),
            Judged::Going(line) => progress.say(line),
        }
        sleep(LOOK).await;
        seen = api.get(&path).await?;
    }
}
