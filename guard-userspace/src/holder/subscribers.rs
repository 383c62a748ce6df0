//! Those who see what the holder sees. A slow one loses records, counted, and never holds anybody up.

use std::time::Duration;

use bytes::Bytes;
use guard_common::wire::Kind;
use guard_core::event::{LossCause, Lost};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::recording::frame::{self, Frame, MAGIC};

/// Batches that may wait for one subscriber. A batch has about 1 MiB at the most, in a storm, and is shared by
/// all subscribers.
const WAITING_BATCHES: usize = 16;

/// How long subscribers may take to read what is left when the holder ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// All subscribers.
#[derive(Debug)]
pub(super) struct Subscribers {
    list: Vec<Subscriber>,
    /// One for each direction of each connection.
    tasks: JoinSet<()>,
    /// Numbers of those who want no more than what happened until now.
    leaving: (UnboundedSender<u64>, UnboundedReceiver<u64>),
    next: u64,
}

#[derive(Debug)]
struct Subscriber {
    number: u64,
    batches: Sender<Bytes>,
    /// Records that it will not get.
    dropped: [u64; Kind::COUNT],
    /// Something was dropped, perhaps without any record in it.
    behind: bool,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self { list: Vec::new(), tasks: JoinSet::new(), leaving: mpsc::unbounded_channel(), next: 0 }
    }
}

impl Subscribers {
    /// Adds one, who begins with `head`.
    pub(super) fn add(&mut self, stream: UnixStream, head: Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let (mut from, mut stream) = stream.into_split();
        let leaving = self.leaving.0.clone();
        self.tasks.spawn(async move {
            // Nothing is expected; the end of it says that the subscriber is about to leave.
            let mut word = [0; 64];
            while from.read(&mut word).await.is_ok_and(|bytes| bytes > 0) {}
            // Without a holder nobody needs to know.
            let _ = leaving.send(number);
        });
        let (batches, mut waiting) = mpsc::channel::<Bytes>(WAITING_BATCHES);
        self.tasks.spawn(async move {
            let begun = async {
                stream.write_all(&MAGIC).await?;
                stream.write_all(&head).await
            };
            let mut written = begun.await;
            drop(head);
            while written.is_ok()
                && let Some(batch) = waiting.recv().await
            {
                written = stream.write_all(&batch).await;
            }
        });
        self.list.push(Subscriber { number, batches, dropped: [0; Kind::COUNT], behind: false });
    }

    /// Waits for one who wants no more than what happened until now.
    pub(super) async fn leaving(&mut self) -> u64 {
        match self.leaving.1.recv().await {
            Some(number) => number,
            // Not as long as this has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Lets one go, once all that was sent is written.
    pub(super) fn remove(&mut self, number: u64) {
        self.list.retain(|subscriber| subscriber.number != number);
    }

    /// Hands a batch on. Who lost some gets the whole table as soon as there is room again.
    pub(super) fn send(&mut self, batch: &Bytes, counts: &[u64; Kind::COUNT], table: impl Fn() -> Vec<u8>) {
        while self.tasks.try_join_next().is_some() {}
        self.list.retain_mut(|subscriber| {
            if subscriber.batches.is_closed() {
                return false;
            }
            if !subscriber.behind && subscriber.batches.try_send(batch.clone()).is_ok() {
                return true;
            }
            subscriber.behind = true;
            for (dropped, count) in subscriber.dropped.iter_mut().zip(counts) {
                *dropped += count;
            }
            if subscriber.batches.capacity() > WAITING_BATCHES / 2 {
                subscriber.catch_up(&table());
            }
            true
        });
    }

    /// Ends all, once they have read what is left or were given the time to.
    pub(super) async fn close(mut self) {
        self.list.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Who does not read loses the rest, as before.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

impl Subscriber {
    fn catch_up(&mut self, table: &[u8]) {
        let lost = Kind::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0);
        let lost = lost.map(|(kind, count)| Lost { kind, cause: LossCause::SlowReader, cpu: None, count });
        let mut frames = Vec::new();
        frame::write(&mut frames, 0, &Frame::Dropped(lost.collect()));
        frames.extend_from_slice(table);
        if self.batches.try_send(Bytes::from(frames)).is_ok() {
            self.dropped = [0; Kind::COUNT];
            self.behind = false;
        }
    }
}
