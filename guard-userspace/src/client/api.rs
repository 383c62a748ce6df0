//! One request, one connection.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Error;
use crate::daemon::api::Problem;

/// How long an answer may take: a little more than the daemon gives itself.
const PATIENCE: Duration = Duration::from_secs(70);

/// A daemon's socket.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

/// An answer: as it came, and what it says.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// The bytes, for `--json`.
    pub raw: Bytes,
    /// What they say.
    pub view: T,
}

impl Api {
    /// The daemon at this socket.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Sees a document.
    ///
    /// # Errors
    /// If the daemon does not answer, or says why not.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Document<T>, Error> {
        document(self.whole(Method::GET, path, Bytes::new()).await?)
    }

    /// Sees a text.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn text(&self, path: &str) -> Result<Bytes, Error> {
        self.whole(Method::GET, path, Bytes::new()).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<Document<T>, Error> {
        document(self.whole(Method::POST, path, Bytes::new()).await?)
    }

    /// Has something done, as a document says.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Document<T>, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Answer(error.to_string()))?;
        document(self.whole(method, path, body.into()).await?)
    }

    async fn whole(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let answered = timeout(PATIENCE, async {
            let response = self.request(method, path, body, None).await?;
            Ok(response.into_body().collect().await.map_err(broken)?.to_bytes())
        });
        answered.await.map_err(|_late| Error::NoDaemon {
            path: self.socket.clone(),
            source: io::ErrorKind::TimedOut.into(),
        })?
    }

    /// The answer's head; its body is still to come. A problem is read, and is an error.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        last_event: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| no_socket(&self.socket, error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the answer's body, or with this program.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to the daemon ended: {error}");
            }
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Error::Answer(error.to_string()))?;
        if let Some(value) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert("last-event-id", value);
        }
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(broken)?.to_bytes();
        Err(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Error::Problem(Box::new(problem)),
            Err(_) => Error::Answer(format!("status {status} without a reason")),
        })
    }
}

fn no_socket(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::NotAllowed { path, source },
        _ => Error::NoDaemon { path, source },
    }
}

fn broken(error: hyper::Error) -> Error {
    Error::Answer(error.to_string())
}

fn document<T: DeserializeOwned>(raw: Bytes) -> Result<Document<T>, Error> {
    let view = serde_json::from_slice(&raw).map_err(|error| Error::Answer(error.to_string()))?;
    Ok(Document { raw, view })
}

/// A name as a part of a path or a query.
#[must_use]
pub(crate) fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
