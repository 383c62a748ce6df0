//! What is said if something is not done: RFC 9457, with the cause and the remedy.

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::daemon::door::Refusal;

/// Why something was not done (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Which kind of problem: `urn:processguard:problem:not-allowed`. Stable.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The kind in words.
    pub title: Box<str>,
    /// The status code of the answer.
    pub status: u16,
    /// The cause.
    pub detail: Box<str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<Box<str>>,
    /// All errors of the policies, each in its place, as `processguard policy check` shows them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diagnostics: Option<Box<str>>,
}

/// What the kinds of problems begin with.
const URN: &str = "urn:processguard:problem:";

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{URN}{kind}").into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into().into(),
            remedy: None,
            diagnostics: None,
        }
    }

    fn remedy(self, remedy: &str) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request makes no sense", detail)
            .remedy("/v1/openapi.json says what can be asked")
    }

    pub(super) fn no_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "no such path", format!("nothing is at {path}"))
            .remedy("/v1/openapi.json says what can be asked")
    }

    pub(super) fn no_method(method: &str, path: &str, allowed: &str) -> Self {
        let detail = format!("{method} is not possible for {path}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "no such method", detail)
            .remedy(&format!("use {allowed}"))
    }

    pub(super) fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown", "there is no such thing", detail)
            .remedy("`processguard status` and `processguard incidents` list what there is")
    }

    pub(super) fn not_allowed(uid: u32, acts: bool) -> Self {
        let (what, remedy) = if acts {
            ("act", "ask as root, or become a member of the group that the daemon names with --group")
        } else {
            ("read", "ask as root, or have the daemon started with --readers or --group")
        };
        let detail = format!("user {uid} may not {what} here");
        Self::new(StatusCode::FORBIDDEN, "not-allowed", "not allowed", detail).remedy(remedy)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is too large", detail)
    }

    pub(super) fn too_slow() -> Self {
        let detail = "the body did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "the request is too slow", detail)
    }

    pub(super) fn crowded() -> Self {
        let detail = "too many connections of users who may only read are open";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "crowded", "too many readers", detail)
            .remedy("try again when others have finished")
    }

    pub(super) fn no_answer() -> Self {
        let detail = "the daemon's loop does not answer";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "no-answer", "no answer in time", detail)
            .remedy("look at the daemon's own log; its watchdog restarts it, and the services go on")
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault of the daemon", detail)
            .remedy("report it, with the daemon's version")
    }

    /// As the status line has it.
    pub(super) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its kind, without what all begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(URN).unwrap_or(&self.kind)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let said = refusal.to_string();
        match refusal {
            Refusal::Unknown(_) => Self::unknown(said),
            Refusal::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, "conflict", "it cannot be done now", said)
                    .remedy("`processguard status SERVICE` shows what stands against it")
            }
            Refusal::Policies(diagnostics) => Self {
                diagnostics: Some(diagnostics.into()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policies", "the policies have errors", said)
                    .remedy("mend them; what held before holds on: nothing was changed")
            },
            Refusal::Failed(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "it failed", said)
                .remedy("the daemon's log and `processguard events` say more"),
            Refusal::Gone => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping", said)
                    .remedy("try again when it is back; services go on meanwhile")
            }
        }
    }
}
