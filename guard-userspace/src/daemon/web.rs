//! HTTP/1.1 for strangers: connections that are bounded in number, in size and in time.
//!
//! Both the API and the metrics stand on this. One [`Crowd`] owns the task of each connection of a server.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Bytes of a request's head: line and headers together.
const HEAD_BYTES: usize = 64 * 1024;

/// Headers of a request.
const HEADERS: usize = 64;

/// How long those who are being answered are waited for when the server ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At the same time. More wait until one ends.
    pub(super) connections: usize,
    /// Until a request's head is complete, the wait for it included.
    pub(super) head: Duration,
    /// Until the other side takes something of what was written to it.
    pub(super) stalled: Duration,
}

/// The connections of a server, each a task.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: Limits,
    tasks: JoinSet<()>,
    ending: watch::Sender<bool>,
}

impl Crowd {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, tasks: JoinSet::new(), ending: watch::channel(false).0 }
    }

    /// Whether another one may come.
    pub(super) fn has_room(&self) -> bool {
        self.tasks.len() < self.limits.connections
    }

    /// Becomes true when the server ends: for what would go on for ever.
    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Waits until one has gone; for ever, if nobody is there.
    pub(super) async fn gone(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => tracing::error!("a connection's task panicked: {error}"),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Serves a connection. While `lenient` is set, the other side may take its time to read.
    pub(super) fn enter<I, S, B>(&mut self, stream: I, service: S, lenient: Arc<AtomicBool>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: HttpService<hyper::body::Incoming, ResBody = B, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (limits, ending) = (self.limits, self.ending.subscribe());
        self.tasks.spawn(async move {
            let stream = Patient { stream, patience: limits.stalled, lenient, waiting: None };
            serve(stream, service, limits, ending).await;
        });
    }

    /// Lets those who are being answered have their answers, and ends.
    pub(super) async fn leave(mut self) {
        self.ending.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

async fn serve<I, S, B>(stream: Patient<I>, service: S, limits: Limits, mut ending: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<hyper::body::Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_headers(HEADERS)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(2 * HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // Whoever does that knows it: a head that is too long or too slow, an end in the middle.
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits until the server ends.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server has gone, which is an end too.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// A stream that fails if the other side takes nothing for too long.
struct Patient<I> {
    stream: I,
    patience: Duration,
    lenient: Arc<AtomicBool>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<I> Patient<I> {
    /// What a write came to; if to nothing, for how long already.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() || self.lenient.load(Ordering::Relaxed) {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        if waiting.deadline() < Instant::now() || waiting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(shut)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(30);

    /// A server of something large, and somebody who asks for it.
    async fn asked(limits: Limits, lenient: bool) -> (Crowd, DuplexStream) {
        let (near, mut far) = duplex(1024);
        let mut crowd = Crowd::new(limits);
        let service = service_fn(async |_: Request<hyper::body::Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 1 << 20]))))
        });
        crowd.enter(near, service, Arc::new(AtomicBool::new(lenient)));
        assert!(!crowd.has_room());
        far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        (crowd, far)
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_cut_off_and_whoever_may_is_not() {
        let limits = Limits { connections: 1, head: LONG, stalled: SHORT };
        let (mut crowd, mut far) = asked(limits, false).await;
        timeout(LONG, crowd.gone()).await.unwrap();
        assert!(crowd.has_room());
        let mut taken = Vec::new();
        far.read_to_end(&mut taken).await.unwrap();
        assert!(taken.len() < 1 << 20, "{}", taken.len());

        let (mut crowd, mut far) = asked(limits, true).await;
        assert!(timeout(4 * SHORT, crowd.gone()).await.is_err(), "it is waited for");
        let mut all = vec![0; 1 << 20];
        far.read_exact(&mut all).await.unwrap();
        crowd.leave().await;
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_cut_off() {
        let limits = Limits { connections: 1, head: SHORT, stalled: LONG };
        let (near, far) = duplex(1024);
        let mut crowd = Crowd::new(limits);
        let service = service_fn(async |_: Request<hyper::body::Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        crowd.enter(near, service, Arc::new(AtomicBool::new(false)));
        timeout(LONG, crowd.gone()).await.unwrap();
        drop(far);
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_but_not_for_ever() {
        let limits = Limits { connections: 1, head: LONG, stalled: LONG };
        let (crowd, far) = asked(limits, false).await;
        timeout(LONG, crowd.leave()).await.unwrap();
        drop(far);
    }
}
