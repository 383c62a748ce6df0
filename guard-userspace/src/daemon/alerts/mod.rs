//! Telling people: the journal, a program, a webhook.
//!
//! Each channel is told by itself, and nothing waits for any of them: what became of it arrives later, as an [`Outcome`]. A program
//! and a webhook are told the same document: see [`document`].

pub mod document;
mod hook;
mod journal;
mod webhook;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use guard_core::incident::Incident;
use guard_core::policy::model::Severity;
use guard_core::supervise::{About, Because};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use journal::Journal;
use webhook::Webhook;

/// Alerts of one channel that are told at once.
const AT_ONCE: usize = 4;

/// Alerts that wait to be told, in all channels together. More than this is a storm that nobody would read.
const WAITING: usize = 256;

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A program and its arguments: it reads the document, and knows the most important by its environment (`PROCESSGUARD_*`).
    /// What it leaves behind when it ends is killed.
    pub exec: Option<Vec<String>>,
    /// A URL: the document is posted there.
    pub webhook: Option<String>,
    /// The system's journal, or else its syslog.
    pub journal: bool,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number: that of the plan which it is.
    pub id: u64,
    /// When it was decided, in nanoseconds since boot.
    pub time_ns: u64,
    /// The same, in nanoseconds since the epoch.
    pub unix_ns: i64,
    /// About which service.
    pub service: Arc<str>,
    /// About which of its instances.
    pub instance: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What whoever is told needs to know of the service.
    pub about: About,
    /// The incident that it belongs to, as far as it has come.
    pub incident: Option<Incident>,
    /// Why it is told.
    pub because: Because,
}

/// A way to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the settings describe them")]
pub enum Channel {
    Journal,
    Exec,
    Webhook,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journal => "journal",
            Self::Exec => "exec",
            Self::Webhook => "webhook",
        })
    }
}

/// What became of an alert in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The alert's number.
    pub alert: u64,
    /// In which.
    pub channel: Channel,
    /// Why it was not told.
    pub result: Result<(), String>,
}

/// Tells. What is under way ends with it.
#[derive(Debug)]
pub struct Alerts {
    settings: Settings,
    host: String,
    journal: Journal,
    webhook: Arc<Webhook>,
    tasks: JoinSet<()>,
    hooks: Arc<Semaphore>,
    posts: Arc<Semaphore>,
    outcomes: UnboundedSender<Outcome>,
}

impl Alerts {
    /// With one outcome for each alert and each channel.
    #[must_use]
    pub fn new(settings: Settings) -> (Self, UnboundedReceiver<Outcome>) {
        Self::with(settings, Journal::default(), Webhook::default())
    }

    fn with(settings: Settings, journal: Journal, webhook: Webhook) -> (Self, UnboundedReceiver<Outcome>) {
        let (outcomes, arriving) = unbounded_channel();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        let alerts = Self {
            settings,
            host,
            journal,
            webhook: Arc::new(webhook),
            tasks: JoinSet::new(),
            hooks: places(),
            posts: places(),
            outcomes,
        };
        (alerts, arriving)
    }

    /// Tells everybody, at once. The journal has it when this returns, if it is to have it at all.
    pub fn alert(&mut self, alert: &Alert) {
        while self.tasks.try_join_next().is_some() {}
        if self.settings.journal {
            let result = self.journal.tell(alert).map_err(|error| crate::daemon::others::in_words(&error));
            let outcome = Outcome { alert: alert.id, channel: Channel::Journal, result };
            // Nobody listens any more when the daemon ends.
            let _heard = self.outcomes.send(outcome);
        }
        if self.settings.exec.is_none() && self.settings.webhook.is_none() {
            return;
        }
        let document: Arc<str> = document::text(alert, &self.host).into();
        if let Some(command) = self.settings.exec.clone() {
            let environment = document::environment(alert);
            let telling = hook::tell(command, environment, Arc::clone(&document));
            self.spawn(alert.id, Channel::Exec, Arc::clone(&self.hooks), telling);
        }
        if let Some(url) = self.settings.webhook.clone() {
            let webhook = Arc::clone(&self.webhook);
            let telling = async move { webhook.tell(&url, &document).await };
            self.spawn(alert.id, Channel::Webhook, Arc::clone(&self.posts), telling);
        }
    }

    fn spawn(
        &mut self,
        alert: u64,
        channel: Channel,
        places: Arc<Semaphore>,
        telling: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let outcomes = self.outcomes.clone();
        let outcome = move |result| Outcome { alert, channel, result };
        if self.tasks.len() >= WAITING {
            let _heard = outcomes.send(outcome(Err(format!("{WAITING} alerts wait to be told already"))));
            return;
        }
        self.tasks.spawn(async move {
            // It is never closed.
            let _place = places.acquire_owned().await;
            let _heard = outcomes.send(outcome(telling.await));
        });
    }
}

#[cfg(test)]
mod tests;
