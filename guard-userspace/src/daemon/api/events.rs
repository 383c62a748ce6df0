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

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::daemon::door::Told;
use crate::daemon::web;

/// How often a follower hears that the stream still stands. Proxies and people give up after 30 to 60 s of silence.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How much goes out in one piece.
const PIECE_BYTES: usize = 32 * 1024;

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
    next: Pin<Box<dyn Future<Output = Option<(Bytes, Follower)>> + Send>>,
}

/// Who follows.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) told: Receiver<Arc<Told>>,
    pub(super) ending: watch::Receiver<bool>,
    /// Which daemon this is.
    pub(super) epoch: u64,
    /// Only what concerns this service.
    pub(super) service: Option<String>,
    /// Where it was before it came.
    pub(super) last: Option<Place>,
    pub(super) begun: bool,
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
    /// The next piece of the stream; `None`: it is over.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut piece = String::new();
        if !self.begun {
            // The head of the answer goes out with the first piece: whoever connects knows at once that it stands.
            self.begun = true;
            piece.push_str(": events follow\n\n");
            if self.last.is_some_and(|last| last.epoch != self.epoch) {
                self.last = None;
                missed(&mut piece, None);
            }
            return Some((piece.into(), self));
        }
        let mut ending = self.ending.clone();
        while piece.is_empty() {
            let told = tokio::select! {
                () = web::ended(&mut ending) => return None,
                told = timeout(HEARTBEAT, self.told.recv()) => told,
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

    fn put(&mut self, piece: &mut String, told: &Told) {
        let Told { number, service, json } = told;
        if let Some(last) = self.last.take() {
            match number.saturating_sub(last.number) {
                0 => {
                    self.last = Some(last);
                    return;
                }
                1 => {}
                more => missed(piece, Some(more - 1)),
            }
        }
        if self.service.as_deref().is_none_or(|only| service.as_deref() == Some(only)) {
            // Writing to a string cannot fail. A line end would end the event: there is none, but nobody relies on it.
            let _ =
                write!(piece, "id: {}-{number}\ndata: {}\n\n", self.epoch, json.replace(['\n', '\r'], " "));
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
    use crate::daemon::door::Door;

    fn told(number: u64, service: Option<&str>) -> Told {
        Told { number, service: service.map(Arc::from), json: format!("{{\"n\":{number}}}") }
    }

    fn follower(door: &Door, last: Option<&str>) -> (Follower, watch::Sender<bool>) {
        let (end, ending) = watch::channel(false);
        let last = last.and_then(Place::parse);
        (Follower { told: door.follow(), ending, epoch: 7, service: None, last, begun: false }, end)
    }

    async fn piece(follower: Follower) -> (String, Follower) {
        let (bytes, follower) = follower.next().await.unwrap();
        (String::from_utf8(bytes.to_vec()).unwrap(), follower)
    }

    #[tokio::test]
    async fn a_follower_learns_what_it_missed() {
        let (door, _requests) = Door::new();
        let (one, _end) = follower(&door, Some("7-3"));
        let (begin, one) = piece(one).await;
        assert_eq!(begin, ": events follow\n\n");
        for number in [3, 6, 7] {
            door.tell(told(number, None));
        }
        let (events, _) = piece(one).await;
        let expected =
            "event: missed\ndata: {\"missed\":2}\n\nid: 7-6\ndata: {\"n\":6}\n\nid: 7-7\ndata: {\"n\":7}\n\n";
        assert_eq!(events, expected);
        // Of another daemon nobody knows.
        let (other, _end) = follower(&door, Some("6-3"));
        assert!(piece(other).await.0.ends_with("data: {\"missed\":null}\n\n"));
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_and_one_of_a_service_sees_only_that() {
        let (door, _requests) = Door::new();
        let (slow, _end) = follower(&door, None);
        let (_, mut slow) = piece(slow).await;
        slow.service = Some("web".to_owned());
        for number in 1..=5000 {
            door.tell(told(number, Some(if number == 5000 { "web" } else { "db" })));
        }
        let (events, _) = piece(slow).await;
        assert_eq!(events, "event: missed\ndata: {\"missed\":904}\n\n", "a piece goes out at once");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_and_the_end_ends_it() {
        let (door, _requests) = Door::new();
        let (quiet, end) = follower(&door, None);
        let (_, quiet) = piece(quiet).await;
        let (heartbeat, quiet) = piece(quiet).await;
        assert_eq!(heartbeat, ": still here\n\n");
        end.send_replace(true);
        assert!(quiet.next().await.is_none());
    }
}
