//! Requests over HTTP. Each has a connection of its own: one that is kept open says nothing of a server that lets nobody in any
//! more, and a redirect is an answer.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use guard_core::policy::model::{AuthProbe, Expected, HttpProbe, bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial;
use super::expected::lacks;
use super::trust::Trust;
use super::url::Target;
use super::verdict::{Bad, Deadline};
use crate::show::escape;

/// Of a body, at most so many bytes are read, unless more are wanted.
pub(super) const BODY: usize = 1 << 20;

/// What says who asks.
const AGENT: &str = concat!("processguard/", env!("CARGO_PKG_VERSION"));

/// What is sent.
#[derive(Debug)]
pub(in crate::daemon) struct Asked<'a> {
    pub(in crate::daemon) method: &'a str,
    pub(in crate::daemon) url: &'a str,
    /// Names and values; they take the place of our own.
    pub(in crate::daemon) headers: Vec<(&'a str, &'a str)>,
    pub(in crate::daemon) body: Bytes,
    /// Of the answer's body, so many bytes are read at most; 0: none is waited for.
    pub(in crate::daemon) most: usize,
}

/// What came back.
#[derive(Debug)]
pub(in crate::daemon) struct Reply {
    pub(in crate::daemon) status: u16,
    /// Where a redirect leads, fit for a terminal.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
    /// There is more of it.
    pub(super) is_cut: bool,
}

/// Whether a server answers as it should.
pub(super) async fn probe(probe: &HttpProbe, trust: &Trust) -> Result<(), Bad> {
    let headers = probe.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let asked = Asked { method: &probe.method, url: &probe.url, headers, body: Bytes::new(), most: BODY };
    let reply = exchange(&asked, trust, Deadline::after(probe.timeout)).await?;
    if !probe.status.iter().any(|range| (range.first..=range.last).contains(&reply.status)) {
        return Bad::fail(format!("status {}{}", reply.status, reply.leads()));
    }
    probe.body.as_ref().map_or(Ok(()), |expected| reply.holds(expected))
}

/// Whether a server refuses whoever has no credentials.
pub(super) async fn auth(probe: &AuthProbe, trust: &Trust) -> Result<(), Bad> {
    let asked =
        Asked { method: &probe.method, url: &probe.url, headers: Vec::new(), body: Bytes::new(), most: 0 };
    let reply = exchange(&asked, trust, Deadline::after(probe.timeout)).await?;
    if probe.refused.contains(&reply.status) {
        return Ok(());
    }
    let codes: Vec<String> = probe.refused.iter().map(u16::to_string).collect();
    let (codes, status) = (codes.join(" or "), reply.status);
    if (200..300).contains(&status) {
        return Bad::fail(format!("let in without credentials: status {status} instead of {codes}"));
    }
    Bad::fail(format!("not refused as it must be: status {status}{} instead of {codes}", reply.leads()))
}

impl Reply {
    fn leads(&self) -> String {
        self.location.as_ref().map(|location| format!(", which leads to {location}")).unwrap_or_default()
    }

    fn holds(&self, expected: &Expected) -> Result<(), Bad> {
        let Some(lack) = lacks(&self.body, expected)? else { return Ok(()) };
        let part = if self.is_cut {
            format!("the first {} of the body", bytes(BODY as u64))
        } else {
            "the body".to_owned()
        };
        Bad::fail(format!("{part} {lack}"))
    }
}

/// Asks, and reads the answer, all before the deadline.
pub(in crate::daemon) async fn exchange(
    asked: &Asked<'_>,
    trust: &Trust,
    deadline: Deadline,
) -> Result<Reply, Bad> {
    let target = Target::parse(asked.url)?;
    let request = request(asked, &target)?;
    let connection = dial::connect(&target.host, target.port, deadline).await?;
    let peer = connection.peer;
    if target.tls {
        let stream = trust.handshake(connection, &target.host, deadline).await?;
        over(stream, request, asked.most, peer, deadline).await
    } else {
        over(connection.stream, request, asked.most, peer, deadline).await
    }
}

fn request(asked: &Asked<'_>, target: &Target) -> Result<Request<Full<Bytes>>, Bad> {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
            Ok(())
        }
        Err(_) => Bad::own(format!("the header `{name}` cannot have that value")),
    };
    set(HOST, &target.host_header)?;
    set(USER_AGENT, AGENT)?;
    set(ACCEPT, "*/*")?;
    set(CONNECTION, "close")?;
    if let Some(authorization) = &target.authorization {
        set(AUTHORIZATION, authorization)?;
    }
    for (name, value) in &asked.headers {
        let Ok(name) = HeaderName::try_from(*name) else {
            return Bad::own(format!("`{name}` is no name of a header"));
        };
        set(name, value)?;
    }
    let Ok(method) = Method::from_bytes(asked.method.as_bytes()) else {
        return Bad::own(format!("`{}` is no method of HTTP", asked.method));
    };
    let request = Request::builder().method(method).uri(&target.path).body(Full::new(asked.body.clone()));
    let mut request = request.map_err(|error| Bad::Own(format!("the request cannot be made: {error}")))?;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    most: usize,
    peer: SocketAddr,
    deadline: Deadline,
) -> Result<Reply, Bad> {
    let broken = |error: hyper::Error| of_hyper(&error, peer);
    let made = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(broken)?;
    let dialogue = async {
        let sent = async { sender.send_request(request).await.map_err(broken) };
        let response = deadline.of(|| "answer".to_owned(), sent).await?;
        read(response, most, peer, deadline).await
    };
    beside(dialogue, connection).await
}

/// The dialogue goes on as long as its connection is driven. Once that has ended, what came before can still be read.
async fn beside<T>(dialogue: impl Future<Output = T>, connection: impl Future) -> T {
    let (mut dialogue, mut connection) = (pin!(dialogue), pin!(connection));
    tokio::select! {
        biased;
        done = &mut dialogue => return done,
        _ended = &mut connection => {}
    }
    dialogue.await
}

async fn read(
    response: Response<Incoming>,
    most: usize,
    peer: SocketAddr,
    deadline: Deadline,
) -> Result<Reply, Bad> {
    let (head, mut incoming) = response.into_parts();
    let location = head.headers.get(LOCATION).map(|location| escape::display(location.as_bytes()));
    let mut reply = Reply { status: head.status.as_u16(), location, body: Vec::new(), is_cut: false };
    while reply.body.len() < most {
        let came = reply.body.len();
        let status = reply.status;
        let what = || format!("end of the answer (status {status}, {came} bytes of its body came)");
        let next = async { incoming.frame().await.transpose().map_err(|error| of_hyper(&error, peer)) };
        let Some(frame) = deadline.of(what, next).await? else { return Ok(reply) };
        // Trailers are none of it.
        reply.body.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    reply.is_cut = reply.body.len() > most || !hyper::body::Body::is_end_stream(&incoming);
    reply.body.truncate(most);
    Ok(reply)
}

/// The innermost reason that says most.
fn of_hyper(error: &hyper::Error, peer: SocketAddr) -> Bad {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return super::trust::of_stream(inner, peer);
        }
        source = inner.source();
    }
    if error.is_parse() {
        return Bad::Fail(format!("the answer is not HTTP: {error}"));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Bad::Fail(format!("{peer} closed the connection before its answer was complete"));
    }
    Bad::Fail(format!("the answer cannot be read: {error}"))
}
