//! Questions to services, and their answers.
//!
//! ```text
//! ask --> waits for a place --> asks: http, tcp, exec, tls, auth, a number, a file, memory --> Answered
//!           | too long                  | newer question of the same check
//!           +--> Error                  +--> Error
//! ```
//! Every question is answered once, whatever becomes of it. When to ask is the supervisor's business; here no more are asked at
//! once than there are places. Readiness has places of its own: a recovery never waits behind a thousand slow checks.

mod dial;
mod exec;
mod expected;
mod exposition;
pub(super) mod http;
mod number;
mod tcp;
mod tls;
pub(super) mod trust;
mod url;
pub(super) mod verdict;

#[cfg(test)]
pub(super) mod servers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use guard_core::policy::model::{Probe, Span, span};
use guard_core::supervise::{Answer, Ask, Question, Subject};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::clock;
use trust::Trust;
use verdict::Bad;

/// How long the kernel may take to say something about a file or a process, in nanoseconds. It takes long where a file system
/// waits for a server.
const LOOK_NS: Span = 5_000_000_000;

/// Looks at files and processes at once: each takes a thread, for ever if its file system is stuck.
const LOOKS: usize = 4;

/// Places for readiness: few services recover at once, and each asks one question.
const READINESS: usize = 64;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// To which question.
    pub question: u64,
    /// The answer.
    pub answer: Answer,
    /// When it was asked, in nanoseconds since boot: after it had waited for its place.
    pub asked_ns: u64,
    /// How long the answer took from then on, in nanoseconds.
    pub took_ns: u64,
}

/// Asks. All that is under way ends with it.
#[derive(Debug)]
pub struct Probes {
    tasks: JoinSet<()>,
    /// What is under way, by subject and check.
    under_way: HashMap<(Subject, Option<Arc<str>>), AbortHandle>,
    places: Places,
    means: Arc<Means>,
    answers: UnboundedSender<Answered>,
}

/// What is asked with.
#[derive(Debug, Default)]
struct Means {
    trust: Trust,
    /// Where programs get their control groups.
    programs: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Places {
    checks: Arc<Semaphore>,
    readiness: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

impl Probes {
    /// At most so many checks are asked at once. Every question that is asked gives one answer.
    #[must_use]
    pub fn new(limit: usize) -> (Self, UnboundedReceiver<Answered>) {
        let (answers, arriving) = unbounded_channel();
        let places = |places: usize| Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        let places = Places { checks: places(limit), readiness: places(READINESS), looks: places(LOOKS) };
        let probes =
            Self { tasks: JoinSet::new(), under_way: HashMap::new(), places, means: Arc::default(), answers };
        (probes, arriving)
    }

    /// From now on, programs are put into control groups of their own below this directory of a cgroup v2 hierarchy, and killed
    /// with all that is in them. Without it, one that leaves its process group outlives its timeout.
    pub fn put_programs_below(&mut self, directory: PathBuf) {
        self.means = Arc::new(Means { trust: Trust::default(), programs: Some(directory) });
    }

    /// Asks, at once. A question that is still under way for the same check of the same subject is given up: whoever asks anew
    /// does not wait for it any more.
    pub fn ask(&mut self, question: Question) {
        self.reap();
        let owed = Owed::new(question.id, self.answers.clone());
        let asking = asking(
            owed,
            question.ask,
            question.check.is_none(),
            self.places.clone(),
            Arc::clone(&self.means),
        );
        let task = self.tasks.spawn(asking);
        if let Some(older) = self.under_way.insert((question.subject, question.check), task) {
            older.abort();
        }
    }

    /// How many questions have no answer yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.values().filter(|task| !task.is_finished()).count()
    }

    /// Forgets what is done, so that services which are no more leave nothing behind.
    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        if self.under_way.len() > 2 * self.tasks.len() + 64 {
            self.under_way.retain(|_, task| !task.is_finished());
        }
    }
}

/// An answer that somebody waits for: it is given even if the asking is given up.
struct Owed {
    question: u64,
    asked_ns: u64,
    answers: UnboundedSender<Answered>,
    answer: Option<Answer>,
}

impl Owed {
    fn new(question: u64, answers: UnboundedSender<Answered>) -> Self {
        Self { question, asked_ns: clock::boot_ns(), answers, answer: None }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let given_up = || Answer::Error("given up: a newer question took its place".to_owned());
        let answer = self.answer.take().unwrap_or_else(given_up);
        let took_ns = clock::boot_ns().saturating_sub(self.asked_ns);
        let answered = Answered { question: self.question, answer, asked_ns: self.asked_ns, took_ns };
        // Nobody listens any more when the daemon ends.
        let _heard = self.answers.send(answered);
    }
}

async fn asking(mut owed: Owed, ask: Ask, is_readiness: bool, places: Places, means: Arc<Means>) {
    let within = match &ask {
        Ask::Probe(probe) => probe.timeout(),
        Ask::Number(source) => source.timeout(),
        Ask::Changed(_) | Ask::Logged(_) | Ask::Pss(_) => LOOK_NS,
    };
    let is_look = matches!(ask, Ask::Changed(_) | Ask::Pss(_));
    let room = match (is_look, is_readiness) {
        (true, _) => places.looks,
        (false, true) => places.readiness,
        (false, false) => places.checks,
    };
    let Ok(Ok(place)) = timeout(Duration::from_nanos(within), room.acquire_owned()).await else {
        let text = format!("not asked: other questions took all places for {}", span(within));
        owed.answer = Some(Answer::Error(text));
        return;
    };
    owed.asked_ns = clock::boot_ns();
    owed.answer = Some(answer(ask, &means, place).await);
}

async fn answer(ask: Ask, means: &Means, place: OwnedSemaphorePermit) -> Answer {
    let number = match ask {
        Ask::Probe(asked) => return probe(&asked, means).await.map_or_else(Answer::from, |()| Answer::Pass),
        Ask::Number(source) => number::number(&source, means).await,
        Ask::Changed(path) => look(place, move || number::changed(&path)).await,
        Ask::Pss(processes) => look(place, move || number::pss_of(&processes)).await,
        Ask::Logged(_) => Bad::own("what was logged is known to whoever holds the logs, not here"),
    };
    // A number that is not known says nothing about the service.
    number.map_or_else(|bad| Answer::Error(bad.to_string()), Answer::Number)
}

async fn probe(asked: &Probe, means: &Means) -> Result<(), Bad> {
    match asked {
        Probe::Http(asked) => http::probe(asked, &means.trust).await,
        Probe::Tcp(asked) => tcp::probe(asked).await,
        Probe::Exec(asked) => exec::probe(asked, means.programs.as_deref()).await,
        Probe::Tls(asked) => tls::probe(asked, &means.trust).await,
        Probe::Auth(asked) => http::auth(asked, &means.trust).await,
    }
}

/// Looks at what may block, on a thread that keeps its place until it is done, even if nobody waits for it.
async fn look(
    place: OwnedSemaphorePermit,
    look: impl FnOnce() -> Result<f64, Bad> + Send + 'static,
) -> Result<f64, Bad> {
    let looking = tokio::task::spawn_blocking(move || {
        let found = look();
        drop(place);
        found
    });
    match timeout(Duration::from_nanos(LOOK_NS), looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(ended)) => Bad::own(format!("the look failed: {ended}")),
        Err(_over) => Bad::own(format!("the kernel did not say it within {}", span(LOOK_NS))),
    }
}
