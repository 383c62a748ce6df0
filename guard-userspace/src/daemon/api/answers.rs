//! Each route's questions, and what is made of the answers.

use guard_core::supervise::{ActionId, Command, ServiceFacts, Subject};
use hyper::{Response, StatusCode};

use super::body::{self, Reply};
use super::call::Call;
use super::problem::Problem;
use super::router::Answers;
use super::routes::{Restart, Scale, Switch};
use crate::clock::{self, Stamp};
use crate::daemon::door::{Answer, Question};
use crate::daemon::view;

type Asked = Result<Vec<Question>, Problem>;
type Shown = Result<Response<Reply>, Problem>;

/// Incidents in an answer, unless told otherwise.
const INCIDENTS: usize = 100;

/// Incidents in an answer at most: a timeline has some kilobytes.
const MOST_INCIDENTS: usize = 1000;

/// Takes one kind of answer.
macro_rules! take {
    ($answers:ident, $kind:ident) => {
        $answers.next(|answer| match answer {
            Answer::$kind(it) => Some(it),
            _ => None,
        })
    };
}

fn ok(document: &impl serde::Serialize) -> Shown {
    body::json(StatusCode::OK, document)
}

fn done(answers: &mut Answers) -> Result<(), Problem> {
    answers.next(|answer| matches!(answer, Answer::Done).then_some(()))
}

// What is asked.

pub(super) fn ask_flags(_: &Call) -> Asked {
    Ok(vec![Question::Flags])
}

pub(super) fn ask_status(_: &Call) -> Asked {
    Ok(vec![Question::Daemon, Question::Services])
}

pub(super) fn ask_services(_: &Call) -> Asked {
    Ok(vec![Question::Services])
}

pub(super) fn ask_incidents(call: &Call) -> Asked {
    let limit = call.limit("limit", INCIDENTS, MOST_INCIDENTS)?;
    let service = call.parameter("service").map(str::to_owned);
    Ok(vec![Question::Incidents { service, open: call.switch("open")?, limit }])
}

pub(super) fn ask_incident(call: &Call) -> Asked {
    Ok(vec![Question::Incident(call.number(0)?)])
}

pub(super) fn ask_inventory(_: &Call) -> Asked {
    Ok(vec![Question::Services, Question::Unguarded])
}

pub(super) fn ask_draft(call: &Call) -> Asked {
    Ok(vec![Question::Draft(call.number(0)?)])
}

pub(super) fn ask_suggestion(call: &Call) -> Asked {
    Ok(vec![Question::Suggest(call.part(0)?.to_owned())])
}

pub(super) fn ask_generations(_: &Call) -> Asked {
    Ok(vec![Question::Generations])
}

// What is to be done. The services are asked for afterwards, to be shown as the order found them.

fn order(command: Command) -> Asked {
    Ok(vec![Question::Command(command), Question::Services])
}

pub(super) fn start(call: &Call) -> Asked {
    order(Command::Start(call.part(0)?.to_owned()))
}

pub(super) fn stop(call: &Call) -> Asked {
    order(Command::Stop(call.part(0)?.to_owned()))
}

pub(super) fn restart(call: &Call) -> Asked {
    let Restart { instance } = call.document()?;
    order(Command::Restart(Subject { service: call.part(0)?.into(), instance }))
}

pub(super) fn scale(call: &Call) -> Asked {
    let Scale { instances } = call.document()?;
    order(Command::Scale { service: call.part(0)?.to_owned(), instances })
}

pub(super) fn stop_all(_: &Call) -> Asked {
    order(Command::Shutdown)
}

pub(super) fn approve(call: &Call) -> Asked {
    order(Command::Approve(ActionId(call.number(0)?)))
}

pub(super) fn deny(call: &Call) -> Asked {
    order(Command::Deny(ActionId(call.number(0)?)))
}

pub(super) fn reload(_: &Call) -> Asked {
    Ok(vec![Question::Reload])
}

pub(super) fn rollback(_: &Call) -> Asked {
    Ok(vec![Question::Rollback])
}

pub(super) fn set_flag(call: &Call) -> Asked {
    let Switch { on } = call.document()?;
    Ok(vec![Question::SetFlag(call.part(0)?.to_owned(), on)])
}

// What is answered.

pub(super) fn health(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    take!(answers, Flags)?;
    ok(&view::Health { ok: true })
}

pub(super) fn status(mut answers: Answers, _: &Call, stamp: &Stamp) -> Shown {
    let (daemon, services) = (take!(answers, Daemon)?, take!(answers, Services)?);
    ok(&view::Status::new(stamp, clock::boot_ns(), &daemon, &services))
}

pub(super) fn services(mut answers: Answers, _: &Call, stamp: &Stamp) -> Shown {
    ok(&view::Services::new(stamp, &take!(answers, Services)?))
}

pub(super) fn service(mut answers: Answers, call: &Call, stamp: &Stamp) -> Shown {
    ok(&named(&take!(answers, Services)?, call, stamp)?)
}

fn named(services: &[ServiceFacts], call: &Call, stamp: &Stamp) -> Result<view::Service, Problem> {
    let name = call.part(0)?;
    let found = services.iter().find(|facts| facts.policy.name == name);
    let missing = || Problem::unknown(format!("no service is named `{name}`"));
    Ok(view::Service::new(stamp, found.ok_or_else(missing)?))
}

pub(super) fn ordered(mut answers: Answers, call: &Call, stamp: &Stamp) -> Shown {
    done(&mut answers)?;
    body::json(StatusCode::ACCEPTED, &named(&take!(answers, Services)?, call, stamp)?)
}

pub(super) fn all_ordered(mut answers: Answers, _: &Call, stamp: &Stamp) -> Shown {
    done(&mut answers)?;
    body::json(StatusCode::ACCEPTED, &view::Services::new(stamp, &take!(answers, Services)?))
}

pub(super) fn incidents(mut answers: Answers, _: &Call, stamp: &Stamp) -> Shown {
    ok(&view::Incidents::new(stamp, clock::boot_ns(), &take!(answers, Incidents)?))
}

pub(super) fn incident(mut answers: Answers, call: &Call, stamp: &Stamp) -> Shown {
    let incidents = take!(answers, Incidents)?;
    let missing = || Problem::unknown(format!("there is no incident {}", call.path.join("")));
    let incident = incidents.first().ok_or_else(missing)?;
    ok(&view::Incident::new(stamp, clock::boot_ns(), incident))
}

pub(super) fn inventory(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    let (services, unguarded) = (take!(answers, Services)?, take!(answers, Unguarded)?);
    ok(&view::Inventory::new(&services, unguarded))
}

pub(super) fn draft(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    Ok(body::text("application/yaml", take!(answers, Text)?))
}

pub(super) fn patch(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    Ok(body::text("text/x-diff", take!(answers, Text)?))
}

pub(super) fn generation(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    ok(&view::Generation::from(take!(answers, Generation)?))
}

pub(super) fn generations(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    ok(&view::Generations::from(take!(answers, Generations)?))
}

pub(super) fn flags(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    ok(&view::Flags::from(take!(answers, Flags)?))
}

pub(super) fn approvals(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    ok(&view::Approvals::new(&take!(answers, Services)?))
}

pub(super) fn decided(mut answers: Answers, _: &Call, _: &Stamp) -> Shown {
    done(&mut answers)?;
    ok(&view::Approvals::new(&take!(answers, Services)?))
}
