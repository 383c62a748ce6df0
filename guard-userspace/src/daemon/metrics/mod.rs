//! Metrics for Prometheus, on a TCP port: `--metrics ADDR`.
//!
//! ```text
//! registry.rs  facts -> metrics, at the time of the scrape: nothing is counted twice
//! rows.rs      a metric whose values are known already
//! text.rs      OpenMetrics 1.0 or Prometheus text 0.0.4, as the scraper likes
//! ```
//! Whoever reaches the port may read. A scraper that asks without end gets the same picture for a moment ([`FRESH`]) and
//! cannot keep the daemon's loop busy; one that is slow is cut off.

mod registry;
mod rows;
mod text;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::door::{Answer, Door, Peer, Question};
use super::web::{Crowd, Limits};
use text::Form;

/// What a connection may take. Prometheus itself has one or two.
const LIMITS: Limits =
    Limits { connections: 16, head: Duration::from_secs(10), stalled: Duration::from_secs(10) };

/// How long a picture is given again: no scraper in earnest asks more often than once a second.
const FRESH: Duration = Duration::from_millis(250);

/// How long the daemon's loop may take to answer. Prometheus gives up after 10 s by default.
const ANSWER_TIME: Duration = Duration::from_secs(8);

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics at {address}")]
pub struct Error {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        "name an address of this host and a port that is free with --metrics ADDR, such as 127.0.0.1:9464"
    }
}

/// The metrics' server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    scrapes: Arc<Scrapes>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// If that is not possible at this address.
    pub async fn bind(address: SocketAddr, door: Door) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.map_err(|source| Error { address, source })?;
        Ok(Self { listener, scrapes: Arc::new(Scrapes { door, last: Mutex::new(None) }) })
    }

    /// Where it listens: with the port that the system chose, if it was asked to.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is told to end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut crowd = Crowd::new(LIMITS);
        let mut stop = std::pin::pin!(stop);
        loop {
            let room = crowd.has_room();
            tokio::select! {
                () = &mut stop => break,
                () = crowd.gone() => {}
                stream = accept(&self.listener), if room => {
                    let scrapes = Arc::clone(&self.scrapes);
                    let service = service_fn(move |request| {
                        let scrapes = Arc::clone(&scrapes);
                        async move { Ok::<_, Infallible>(answer(&request, &scrapes).await) }
                    });
                    crowd.enter(stream, service, Arc::new(AtomicBool::new(false)));
                }
            }
        }
        crowd.leave().await;
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Out of descriptors, say: those who wait can wait longer.
            Err(error) => {
                tracing::warn!("cannot accept a scraper: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer<B>(request: &Request<B>, scrapes: &Scrapes) -> Response<Full<Bytes>> {
    if !matches!(request.uri().path(), "/metrics" | "/") {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read: use GET\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accepted = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = Form::accepted(accepted);
    match scrapes.picture().await {
        Ok(picture) => {
            let mut response = Response::new(Full::new(picture.body(form)));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media()));
            headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            response
        }
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The last picture, and the way to another.
#[derive(Debug)]
struct Scrapes {
    door: Door,
    /// Locked while another one is made: who comes meanwhile waits for that, and asks nothing.
    last: Mutex<Option<(Instant, Picture)>>,
}

/// All metrics at one moment, in both forms.
#[derive(Clone, Debug)]
struct Picture {
    open: Bytes,
    plain: Bytes,
}

impl Picture {
    fn body(&self, form: Form) -> Bytes {
        match form {
            Form::OpenMetrics => self.open.clone(),
            Form::Plain => self.plain.clone(),
        }
    }
}

impl Scrapes {
    async fn picture(&self) -> Result<Picture, &'static str> {
        let mut last = self.last.lock().await;
        if let Some((made, picture)) = &*last
            && made.elapsed() < FRESH
        {
            return Ok(picture.clone());
        }
        let made = timeout(ANSWER_TIME, self.make()).await;
        let picture = made.unwrap_or(Err("the daemon's loop does not answer\n"))?;
        *last = Some((Instant::now(), picture.clone()));
        Ok(picture)
    }

    async fn make(&self) -> Result<Picture, &'static str> {
        // Nobody's: whoever reaches the port asks.
        let nobody = Peer { uid: u32::MAX, pid: 0 };
        let daemon = self.door.ask(nobody, Question::Daemon).await;
        let services = self.door.ask(nobody, Question::Services).await;
        let (Ok(Answer::Daemon(daemon)), Ok(Answer::Services(services))) = (daemon, services) else {
            return Err("the daemon is stopping\n");
        };
        let open =
            registry::open_metrics(&daemon, &services).map_err(|_| "the metrics cannot be written\n")?;
        let plain = text::plain(&open);
        Ok(Picture { open: open.into(), plain: plain.into() })
    }
}
