//! What is sent back: a document that is there, or events as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::events::Events;
use super::problem::Problem;

/// The body of an answer.
pub(super) enum Reply {
    Whole(Option<Bytes>),
    Events(Events),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events.poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

fn response(status: StatusCode, media: &'static str, reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A document as JSON.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Result<Response<Reply>, Problem> {
    let mut bytes = serde_json::to_vec(document)
        .map_err(|error| Problem::internal(format!("the answer cannot be written: {error}")))?;
    bytes.push(b'\n');
    Ok(response(status, "application/json", Reply::Whole(Some(bytes.into()))))
}

/// A text.
pub(super) fn text(media: &'static str, text: String) -> Response<Reply> {
    response(StatusCode::OK, media, Reply::Whole(Some(text.into())))
}

/// Events as they come.
pub(super) fn events(events: Events) -> Response<Reply> {
    response(StatusCode::OK, "text/event-stream", Reply::Events(events))
}

/// A problem.
pub(super) fn problem(problem: &Problem) -> Response<Reply> {
    // It is made of texts and numbers, which can be written.
    let bytes = serde_json::to_vec(problem).unwrap_or_default();
    response(problem.status_code(), "application/problem+json", Reply::Whole(Some(bytes.into())))
}
