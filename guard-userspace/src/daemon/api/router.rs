//! What is done with a request: found in the table, allowed, taken apart, asked, answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guard_core::ids::BootId;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::{self, Reply};
use super::call::{self, Call};
use super::events::{Events, Follower, History, KEPT, Place, Wish};
use super::peer::Role;
use super::problem::Problem;
use super::routes::{Does, Route, TABLE};
use crate::clock;
use crate::daemon::door::{Answer, Door, Peer};

/// Bytes of a request's body.
const BODY_BYTES: usize = 64 * 1024;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How long the daemon's loop may take to answer. Reading policies again takes longest.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Answers requests.
#[derive(Debug)]
pub(super) struct Router {
    door: Door,
    boot: BootId,
    /// Which daemon this is, among those of this boot: when it began to answer.
    epoch: u64,
    history: History,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) peer: Peer,
    pub(super) role: Option<Role>,
    /// Too many of those who may only read are here.
    pub(super) crowded: bool,
    pub(super) ending: watch::Receiver<bool>,
    /// Set when the answer is a stream: it may be read slowly.
    pub(super) lenient: Arc<AtomicBool>,
}

impl Router {
    pub(super) fn new(door: Door, boot: BootId) -> Self {
        let history = History::new(&door);
        Self { door, boot, epoch: clock::boot_ns(), history }
    }

    /// Keeps what is told, for those who come later. Never ends.
    pub(super) async fn keep(&self) {
        let mut told = self.door.follow();
        loop {
            // Whatever it is, and however many.
            if let Err(RecvError::Closed) = told.recv().await {
                std::future::pending::<()>().await;
            }
            self.history.keep();
        }
    }

    /// Answers, whatever was asked.
    pub(super) async fn answer<B>(&self, request: Request<B>, context: Context) -> Response<Reply>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.try_answer(request, context).await {
            Ok(response) => response,
            Err(Denied { problem, allow }) => {
                let mut response = body::problem(&problem);
                if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
                    response.headers_mut().insert(header::ALLOW, allow);
                }
                response
            }
        }
    }

    async fn try_answer<B>(&self, request: Request<B>, context: Context) -> Result<Response<Reply>, Denied>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if context.role.is_none() {
            return Err(Problem::not_allowed(context.peer.uid, false).into());
        }
        if context.crowded {
            return Err(Problem::crowded().into());
        }
        let (route, path) = find(TABLE, &head.method, head.uri.path())?;
        if context.role < Some(route.role) {
            return Err(Problem::not_allowed(context.peer.uid, true).into());
        }
        let known: Vec<&str> = route.query.iter().map(|parameter| parameter.name).collect();
        let last_event = head.headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let call = Call {
            peer: context.peer,
            path,
            query: call::query(head.uri.query().unwrap_or_default(), &known)?,
            body: read(body).await?,
            last_event: last_event.map(str::to_owned),
        };
        Ok(self.reply(route, &call, context).await?)
    }

    async fn reply(&self, route: &Route, call: &Call, context: Context) -> Result<Response<Reply>, Problem> {
        match route.does {
            Does::Ask { questions, show } => {
                let mut answers = Vec::new();
                for question in questions(call)? {
                    let asked = timeout(ANSWER_TIME, self.door.ask(call.peer, question)).await;
                    answers.push(asked.map_err(|_late| Problem::no_answer())??);
                }
                show(Answers { answers: answers.into_iter() }, call, &super::stamp(self.boot))
            }
            Does::Follow => {
                let wish = Wish {
                    service: call.parameter("service").map(str::to_owned),
                    last: call.limit("last", 0, KEPT)?,
                    place: call.last_event.as_deref().and_then(Place::parse),
                    once: call.switch("once")?,
                };
                context.lenient.store(true, Ordering::Relaxed);
                let follower = Follower::new(&self.door, &self.history, self.epoch, wish, context.ending);
                Ok(body::events(Events::new(follower)))
            }
            Does::Document => body::json(StatusCode::OK, &super::document()),
        }
    }
}

/// The answers to a route's questions, in order.
#[derive(Debug)]
pub(super) struct Answers {
    answers: std::vec::IntoIter<Answer>,
}

impl Answers {
    /// The next one, if it is of the right kind.
    pub(super) fn next<T>(&mut self, take: impl FnOnce(Answer) -> Option<T>) -> Result<T, Problem> {
        let answer = self.answers.next().and_then(take);
        answer.ok_or_else(|| Problem::internal("the daemon answered another question than was asked"))
    }
}

/// A problem, and the methods that would be possible.
#[derive(Debug)]
struct Denied {
    problem: Problem,
    allow: Option<String>,
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None }
    }
}

/// The route of a path, and what stands in the path where the table has `{...}`.
fn find<'a>(
    table: &'a [Route],
    method: &hyper::Method,
    path: &str,
) -> Result<(&'a Route, Vec<String>), Denied> {
    let mut allowed = Vec::new();
    for route in table {
        let Some(parts) = parts(route.path, path) else { continue };
        if route.method == method.as_str() {
            let parts: Result<Vec<String>, Problem> = parts.into_iter().map(call::decoded).collect();
            return Ok((route, parts?));
        }
        allowed.push(route.method);
    }
    if allowed.is_empty() {
        return Err(Problem::no_path(path).into());
    }
    let allow = allowed.join(", ");
    Err(Denied { problem: Problem::no_method(method.as_str(), path, &allow), allow: Some(allow) })
}

fn parts<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = Vec::new();
    let (mut patterns, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some(pattern), Some(part)) if pattern.starts_with('{') && !part.is_empty() => parts.push(part),
            (Some(pattern), Some(part)) if pattern == part => {}
            _ => return None,
        }
    }
}

async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Problem::too_large(BODY_BYTES))
        }
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body cannot be read: {error}"))),
        Err(_late) => Err(Problem::too_slow()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_their_parts() {
        let find = |method: hyper::Method, path| find(TABLE, &method, path);
        let (route, parts) = find(hyper::Method::POST, "/v1/services/a%2Db/stop").unwrap();
        assert_eq!((route.path, parts), ("/v1/services/{name}/stop", vec!["a-b".to_owned()]));
        let denied = find(hyper::Method::GET, "/v1/services/web/stop").unwrap_err();
        assert_eq!((denied.problem.status, denied.allow.as_deref()), (405, Some("POST")));
        for path in
            ["/", "/v1", "/v1/services/", "/v1/services//stop", "/v1/services/web/stop/now", "/v2/status"]
        {
            assert_eq!(find(hyper::Method::GET, path).unwrap_err().problem.status, 404, "{path}");
        }
    }
}
