//! The one table of what can be asked. The router and the OpenAPI document are made from it.

use hyper::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::answers;
use super::body::Reply;
use super::call::Call;
use super::peer::Role;
use super::problem::Problem;
use super::router::Answers;
use crate::clock::Stamp;
use crate::daemon::door::Question;
use crate::daemon::view;

/// Something that can be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    /// Parts in braces are whatever stands there.
    pub(super) path: &'static str,
    /// Who may.
    pub(super) role: Role,
    /// What it does.
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    /// What may stand in the body.
    pub(super) body: Option<SchemaOf>,
    /// The status of an answer that is no problem.
    pub(super) status: u16,
    pub(super) media: Media,
    pub(super) does: Does,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) schema: SchemaOf,
}

/// Describes a type, and remembers what that is made of.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What an answer is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Media {
    /// A document.
    Json(SchemaOf),
    /// A text of this kind.
    Text(&'static str),
    /// Server-sent events.
    Events,
}

/// How it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// By the daemon's loop: what is asked, and what is made of the answers.
    Ask {
        questions: fn(&Call) -> Result<Vec<Question>, Problem>,
        show: fn(Answers, &Call, &Stamp) -> Result<Response<Reply>, Problem>,
    },
    /// By what happens, as it happens.
    Follow,
    /// By the OpenAPI document.
    Document,
}

/// What a scaling is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// How many instances are wanted. Beyond the bounds of the policy it is refused (409), and nothing changes.
    pub instances: u32,
}

/// What a restart is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Only this instance, counted from 0; absent: all, one after the other.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<u32>,
}

/// What a flag is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Whether it is on from now on.
    pub on: bool,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const SERVICE: Parameter =
    Parameter { name: "service", doc: "Only what concerns this service.", schema: of::<String> };
const OPEN: Parameter =
    Parameter { name: "open", doc: "Only incidents that are not over.", schema: of::<bool> };
const LIMIT: Parameter = Parameter {
    name: "limit",
    doc: "At most so many, the newest first: 100 if it is not given, 1000 at most.",
    schema: of::<u32>,
};

const LAST: Parameter = Parameter {
    name: "last",
    doc: "So many of the last events first, 512 at most: none if it is not given. `Last-Event-ID` tells better where to begin.",
    schema: of::<u32>,
};
const ONCE: Parameter =
    Parameter { name: "once", doc: "Nothing more than what was told already.", schema: of::<bool> };

type Questions = fn(&Call) -> Result<Vec<Question>, Problem>;
type Show = fn(Answers, &Call, &Stamp) -> Result<Response<Reply>, Problem>;

/// Something to be seen.
const fn see(
    path: &'static str,
    summary: &'static str,
    schema: SchemaOf,
    questions: Questions,
    show: Show,
) -> Route {
    Route {
        method: "GET",
        path,
        role: Role::Read,
        summary,
        query: &[],
        body: None,
        status: 200,
        media: Media::Json(schema),
        does: Does::Ask { questions, show },
    }
}

/// Something to be done.
const fn act(
    path: &'static str,
    summary: &'static str,
    schema: SchemaOf,
    questions: Questions,
    show: Show,
) -> Route {
    Route { method: "POST", role: Role::Act, ..see(path, summary, schema, questions, show) }
}

/// Something to be done to a service: it is begun when it is answered, and shown by the service's state.
const fn order(path: &'static str, summary: &'static str, questions: Questions) -> Route {
    Route { status: 202, ..act(path, summary, of::<view::Service>, questions, answers::ordered) }
}

/// All that can be asked, in the order in which the document has it.
pub(super) const TABLE: &[Route] = &[
    see(
        "/v1/healthz",
        "Whether the daemon's loop answers",
        of::<view::Health>,
        answers::ask_flags,
        answers::health,
    ),
    see(
        "/v1/status",
        "The daemon and all services",
        of::<view::Status>,
        answers::ask_status,
        answers::status,
    ),
    see("/v1/services", "All services", of::<view::Services>, answers::ask_services, answers::services),
    see("/v1/services/{name}", "One service", of::<view::Service>, answers::ask_services, answers::service),
    order(
        "/v1/services/{name}/start",
        "Start a stopped or held service; its budget begins anew",
        answers::start,
    ),
    order("/v1/services/{name}/stop", "Stop a service; it stays stopped until it is started", answers::stop),
    Route {
        body: Some(of::<Restart>),
        ..order(
            "/v1/services/{name}/restart",
            "Restart an instance, or all, one after the other",
            answers::restart,
        )
    },
    Route {
        body: Some(of::<Scale>),
        ..order(
            "/v1/services/{name}/scale",
            "Have so many instances, within the policy's bounds",
            answers::scale,
        )
    },
    Route {
        media: Media::Text("text/x-diff"),
        ..see(
            "/v1/services/{name}/suggest",
            "Thresholds from what was measured, as a patch of the policy's file",
            of::<String>,
            answers::ask_suggestion,
            answers::patch,
        )
    },
    Route {
        status: 202,
        ..act(
            "/v1/stop",
            "Stop all services, each before those that it depends on; they stay stopped",
            of::<view::Services>,
            answers::stop_all,
            answers::all_ordered,
        )
    },
    Route {
        query: &[SERVICE, OPEN, LIMIT],
        ..see(
            "/v1/incidents",
            "Incidents, the newest first",
            of::<view::Incidents>,
            answers::ask_incidents,
            answers::incidents,
        )
    },
    see("/v1/incidents/{id}", "One incident", of::<view::Incident>, answers::ask_incident, answers::incident),
    Route {
        query: &[SERVICE, LAST, ONCE],
        media: Media::Events,
        does: Does::Follow,
        ..see(
            "/v1/events",
            "What happens, as it happens: server-sent events with one JSON object each, named as in the Elastic Common \
             Schema. `Last-Event-ID` tells where a follower was; an event `missed` tells what it missed",
            of::<String>,
            answers::ask_flags,
            answers::health,
        )
    },
    see(
        "/v1/inventory",
        "Services by impact and rto, and processes that listen and that no policy guards",
        of::<view::Inventory>,
        answers::ask_inventory,
        answers::inventory,
    ),
    Route {
        media: Media::Text("application/yaml"),
        ..see(
            "/v1/inventory/draft/{pid}",
            "A policy for a running process",
            of::<String>,
            answers::ask_draft,
            answers::draft,
        )
    },
    act(
        "/v1/policies/reload",
        "Read the files of policies again: all of them hold from now on, or nothing changes",
        of::<view::Generation>,
        answers::reload,
        answers::generation,
    ),
    act(
        "/v1/policies/rollback",
        "Have the generation of policies before this one hold again",
        of::<view::Generation>,
        answers::rollback,
        answers::generation,
    ),
    see(
        "/v1/policies/generations",
        "Sets of policies that were accepted, the newest first",
        of::<view::Generations>,
        answers::ask_generations,
        answers::generations,
    ),
    see(
        "/v1/flags",
        "What can be switched off on this host",
        of::<view::Flags>,
        answers::ask_flags,
        answers::flags,
    ),
    Route {
        method: "PUT",
        body: Some(of::<Switch>),
        ..act(
            "/v1/flags/{name}",
            "Switch a behaviour on or off on this host",
            of::<view::Flags>,
            answers::set_flag,
            answers::flags,
        )
    },
    see(
        "/v1/approvals",
        "Steps that wait for somebody's consent",
        of::<view::Approvals>,
        answers::ask_services,
        answers::approvals,
    ),
    act(
        "/v1/approvals/{id}/approve",
        "A step that waits may be taken",
        of::<view::Approvals>,
        answers::approve,
        answers::decided,
    ),
    act(
        "/v1/approvals/{id}/deny",
        "A step that waits may not be taken",
        of::<view::Approvals>,
        answers::deny,
        answers::decided,
    ),
    Route {
        does: Does::Document,
        ..see(
            "/v1/openapi.json",
            "This document",
            of::<serde_json::Map<String, serde_json::Value>>,
            answers::ask_flags,
            answers::health,
        )
    },
];
