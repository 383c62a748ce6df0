//! What happens, as it happens: server-sent events.
//!
//! ```text
//! id: 5021123456789-17                the daemon's start, and the event's number
//! data: {"@timestamp":...}            one JSON object with names of the Elastic Common Schema
//!
//! event: missed                       this follower was too slow, or was away
//! data: {"missed":3}                  null: nobody knows how many, because the daemon was another one
//!
//! : still here                        every 15 s
//! ```
//! The last [`KEPT`] events are kept, as far as they are within [`KEPT_BYTES`]: whoever was away for a moment misses nothing.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::daemon::door::{Door, Told};
use crate::daemon::web;

/// How often a follower hears that the stream still stands. Proxies and people give up after 30 to 60 s of silence.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How much goes out in one piece.
const PIECE_BYTES: usize = 32 * 1024;

/// Events that are kept.
pub(super) const KEPT: usize = 512;

/// Bytes of those: an event has some hundred, but the end of a crash loop's incident 30,000.
const KEPT_BYTES: usize = 512 * 1024;

/// The last events.
#[derive(Debug)]
pub(super) struct History {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    told: Receiver<Arc<Told>>,
    last: VecDeque<Arc<Told>>,
    bytes: usize,
}

impl History {
    pub(super) fn new(door: &Door) -> Self {
        Self { kept: Mutex::new(Kept { told: door.follow(), last: VecDeque::new(), bytes: 0 }) }
    }

    /// Takes what was told since. To be called whenever something was.
    pub(super) fn keep(&self) {
        self.lock().keep();
    }

    /// What was told so far, and all that is told from then on. What was told in between is in both.
    pub(super) fn follow(&self, door: &Door) -> (VecDeque<Arc<Told>>, Receiver<Arc<Told>>) {
        let mut kept = self.lock();
        let told = door.follow();
        kept.keep();
        (kept.last.clone(), told)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in between can be half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self) {
        loop {
            match self.told.try_recv() {
                Ok(told) => {
                    self.bytes += told.json.len();
                    self.last.push_back(told);
                    while self.last.len() > KEPT || self.bytes > KEPT_BYTES {
                        let Some(oldest) = self.last.pop_front() else { break };
                        self.bytes -= oldest.json.len();
                    }
                }
                Err(TryRecvError::Lagged(_)) => {
                    // What was told before is too old to be kept anyway.
                    self.last.clear();
                    self.bytes = 0;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

/// Where a follower was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    epoch: u64,
    number: u64,
}

impl Place {
    /// Reads what `Last-Event-ID` says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('-')?;
        Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A stream of events.
pub(super) struct Events {
    next: Pin<Box<dyn Future<Output = Option<Piece>> + Send>>,
}

/// A piece of a stream, and who waits for the next one.
type Piece = (Bytes, Follower);

/// Who follows.
#[derive(Debug)]
pub(super) struct Follower {
    told: Receiver<Arc<Told>>,
    /// What is given before that.
    before: VecDeque<Arc<Told>>,
    ending: watch::Receiver<bool>,
    wish: Wish,
    /// Which daemon this is.
    epoch: u64,
    /// The last event that was given, or was there before.
    last: Option<u64>,
    begun: bool,
    /// How long there may be silence.
    heartbeat: Duration,
}

/// What a follower wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// Only what concerns this service.
    pub(super) service: Option<String>,
    /// So many of the last events first, unless it says where it was.
    pub(super) last: usize,
    /// Where it was.
    pub(super) place: Option<Place>,
    /// Nothing more than what was told already.
    pub(super) once: bool,
}

impl Wish {
    fn concerns(&self, told: &Told) -> bool {
        self.service.as_deref().is_none_or(|only| told.service.as_deref() == Some(only))
    }
}

impl Events {
    pub(super) fn new(follower: Follower) -> Self {
        Self { next: Box::pin(follower.next()) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = std::task::ready!(self.next.as_mut().poll(cx));
        Poll::Ready(next.map(|(bytes, follower)| {
            self.next = Box::pin(follower.next());
            bytes
        }))
    }
}

impl Follower {
    pub(super) fn new(
        door: &Door,
        history: &History,
        epoch: u64,
        wish: Wish,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let (kept, told) = history.follow(door);
        let newest = kept.back().map(|told| told.number);
        let (before, last) = match wish.place {
            Some(place) if place.epoch == epoch => (kept, Some(place.number)),
            _ => {
                // So many of those that concern it.
                let concerning: VecDeque<_> = kept.into_iter().filter(|told| wish.concerns(told)).collect();
                let skipped = concerning.len().saturating_sub(wish.last);
                let before: VecDeque<_> = concerning.into_iter().skip(skipped).collect();
                let last = if before.is_empty() { newest } else { None };
                (before, last)
            }
        };
        Self { told, before, ending, wish, epoch, last, begun: false, heartbeat: HEARTBEAT }
    }

    /// The next piece of the stream; `None`: it is over.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut piece = String::new();
        if !self.begun {
            self.begin(&mut piece);
            return Some((piece.into(), self));
        }
        if self.wish.once {
            return None;
        }
        let mut ending = self.ending.clone();
        while piece.is_empty() {
            let told = tokio::select! {
                () = web::ended(&mut ending) => return None,
                told = timeout(self.heartbeat, self.told.recv()) => told,
            };
            match told {
                Ok(Ok(told)) => self.put(&mut piece, &told),
                Ok(Err(RecvError::Lagged(count))) => self.lagged(&mut piece, count),
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) => piece.push_str(": still here\n\n"),
            }
        }
        while piece.len() < PIECE_BYTES {
            match self.told.try_recv() {
                Ok(told) => self.put(&mut piece, &told),
                Err(TryRecvError::Lagged(count)) => self.lagged(&mut piece, count),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some((piece.into(), self))
    }

    /// The head of the answer goes out with the first piece: whoever connects knows at once that it stands.
    fn begin(&mut self, piece: &mut String) {
        self.begun = true;
        piece.push_str(": events follow\n\n");
        if self.wish.place.is_some_and(|place| place.epoch != self.epoch) {
            missed(piece, None);
        }
        // With a place, the numbers say whether something is missing; without, nothing is.
        let begins_anew = self.last.is_none();
        for told in std::mem::take(&mut self.before) {
            if begins_anew {
                self.last = Some(told.number.saturating_sub(1));
            }
            self.put(piece, &told);
        }
    }

    fn put(&mut self, piece: &mut String, told: &Told) {
        if let Some(last) = self.last {
            match told.number.saturating_sub(last) {
                // It was given already.
                0 => return,
                1 => {}
                more => missed(piece, Some(more - 1)),
            }
        }
        self.last = Some(told.number);
        if self.wish.concerns(told) {
            // Writing to a string cannot fail. A line end would end the event: there is none, but nobody relies on it.
            let json = told.json.replace(['\n', '\r'], " ");
            let _ = write!(piece, "id: {}-{}\ndata: {json}\n\n", self.epoch, told.number);
        }
    }

    fn lagged(&mut self, piece: &mut String, count: u64) {
        self.last = None;
        missed(piece, Some(count));
    }
}

fn missed(piece: &mut String, count: Option<u64>) {
    let count = count.map_or_else(|| "null".to_owned(), |count| count.to_string());
    // Writing to a string cannot fail.
    let _ = write!(piece, "event: missed\ndata: {{\"missed\":{count}}}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: u64, service: Option<&str>) -> Told {
        Told { number, service: service.map(Arc::from), json: format!("{{\"n\":{number}}}") }
    }

    fn follower(door: &Door, history: &History, place: Option<&str>) -> (Follower, watch::Sender<bool>) {
        let (end, ending) = watch::channel(false);
        let wish = Wish { place: place.and_then(Place::parse), last: 2, ..Wish::default() };
        (Follower::new(door, history, 7, wish, ending), end)
    }

    async fn piece(follower: Follower) -> (String, Follower) {
        let (bytes, follower) = follower.next().await.unwrap();
        (String::from_utf8(bytes.to_vec()).unwrap(), follower)
    }

    fn events(numbers: &[u64]) -> String {
        numbers.iter().map(|number| format!("id: 7-{number}\ndata: {{\"n\":{number}}}\n\n")).collect()
    }

    #[test]
    fn large_events_are_kept_as_far_as_there_is_room() {
        let (door, _requests) = Door::new();
        let history = History::new(&door);
        for number in 1..=5 {
            let json = "x".repeat(KEPT_BYTES / 2 - 1);
            door.tell(Told { number, service: None, json });
        }
        let (kept, _told) = history.follow(&door);
        assert_eq!(kept.iter().map(|told| told.number).collect::<Vec<_>>(), [4, 5]);
    }

    #[tokio::test]
    async fn a_follower_goes_on_where_it_was_and_learns_what_it_missed() {
        let (door, _requests) = Door::new();
        let history = History::new(&door);
        for number in 1..=KEPT as u64 + 10 {
            door.tell(told(number, None));
            history.keep();
        }
        // What it has not seen is kept.
        let (one, _end) = follower(&door, &history, Some("7-520"));
        let (begin, one) = piece(one).await;
        assert_eq!(begin, format!(": events follow\n\n{}", events(&[521, 522])));
        door.tell(told(523, None));
        assert_eq!(piece(one).await.0, events(&[523]));
        // It was away for longer.
        let (other, _end) = follower(&door, &history, Some("7-3"));
        let begin = piece(other).await.0;
        assert!(
            begin.starts_with(": events follow\n\nevent: missed\ndata: {\"missed\":8}\n\nid: 7-12\n"),
            "{begin}"
        );
        // Of another daemon nobody knows.
        let (stranger, _end) = follower(&door, &history, Some("6-3"));
        let begin = piece(stranger).await.0;
        let expected = format!("event: missed\ndata: {{\"missed\":null}}\n\n{}", events(&[522, 523]));
        assert!(begin.ends_with(&expected), "{begin}");
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_and_one_of_a_service_sees_only_that() {
        let (door, _requests) = Door::new();
        let history = History::new(&door);
        let (slow, _end) = follower(&door, &history, None);
        let (_, mut slow) = piece(slow).await;
        slow.wish.service = Some("web".to_owned());
        for number in 1..=5000 {
            door.tell(told(number, Some(if number == 5000 { "web" } else { "db" })));
        }
        let (first, _) = piece(slow).await;
        assert_eq!(first, format!("event: missed\ndata: {{\"missed\":904}}\n\n{}", events(&[5000])));
    }

    #[tokio::test]
    async fn what_was_told_can_be_had_alone() {
        let (door, _requests) = Door::new();
        let history = History::new(&door);
        for number in 1..=9 {
            door.tell(told(number, Some(if number % 2 == 0 { "web" } else { "db" })));
        }
        let (end, ending) = watch::channel(false);
        let wish = Wish { service: Some("web".to_owned()), last: 3, once: true, ..Wish::default() };
        let (begin, follower) = piece(Follower::new(&door, &history, 7, wish, ending)).await;
        assert!(begin.ends_with(&events(&[4, 6, 8])), "{begin}");
        assert!(!begin.contains("missed"), "what does not concern it is not missed: {begin}");
        assert!(follower.next().await.is_none());
        drop(end);
    }

    #[tokio::test]
    async fn silence_is_broken_and_the_end_ends_it() {
        let (door, _requests) = Door::new();
        let history = History::new(&door);
        let (quiet, end) = follower(&door, &history, None);
        let (_, mut quiet) = piece(quiet).await;
        quiet.heartbeat = Duration::from_millis(1);
        let (heartbeat, quiet) = piece(quiet).await;
        assert_eq!(heartbeat, ": still here\n\n");
        let quiet = Follower { heartbeat: HEARTBEAT, ..quiet };
        end.send_replace(true);
        assert!(quiet.next().await.is_none());
    }
}
