use std::sync::Arc;

use super::*;
use crate::event::{Action, Cause, Event, Exit, ExitStatus, Gap, Origin, Process, Signal, SignalResult};
use crate::health::CheckState;
use crate::policy::model::RestartVia;
use crate::policy::{Source, load};
use crate::supervise::{ActionId, Because, Deed, Done, Notice, Plan, ServiceState, Subject, What};

const SECOND: u64 = 1_000_000_000;

fn web() -> Subject {
    Subject { service: "web".into(), instance: Some(0) }
}

fn policies(text: &str) -> crate::policy::PolicySet {
    let text = format!(
        "version: processguard/v1\nservice: web\nrun:\n  command: [/usr/bin/web]\n  instances: {{ min: 1, start: 1, max: 4 }}\n{text}"
    );
    let loaded = load(&[Source { name: "web.yaml", bytes: text.as_bytes() }]);
    loaded.set.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
}

fn state(time_ns: u64, from: ServiceState, to: ServiceState, why: &str) -> Notice {
    Notice { time_ns, subject: web(), what: What::State { from, to, why: why.to_owned() } }
}

fn check(time_ns: u64, state: CheckState) -> Notice {
    let what = What::Check { check: "api".into(), state, why: "connection refused".to_owned() };
    Notice { time_ns, subject: web(), what }
}

fn incidents(policy: &str) -> Incidents {
    let mut incidents = Incidents::new(7);
    incidents.policies(0, &policies(policy));
    incidents
}

const API: &str = "rto: 30s\nchecks:\n  api: { http: { url: \"http://127.0.0.1/\" } }\n";

#[test]
fn the_interval_of_a_recovery_lies_between_the_last_bad_and_the_first_good_answer() {
    let mut incidents = incidents(API);
    let ms = |ms: u64| 10 * SECOND + ms * 1_000_000;
    incidents.notice(&state(ms(0), ServiceState::Healthy, ServiceState::BackingOff, "exit code 3"));
    for (asked, answered, good) in [(10, 12, false), (20, 21, false), (30, 33, true), (40, 41, true)] {
        incidents.answered(&web(), None, good, (ms(asked), ms(answered)), "answered");
    }
    let why = "its readiness probe passed";
    incidents.notice(&state(ms(45), ServiceState::Starting, ServiceState::Healthy, why));
    let Some(Change::Opened(opened)) = incidents.poll() else { panic!("nothing was opened") };
    assert_eq!((opened.id, opened.rto_ns), (7, Some(30 * SECOND)));
    let Some(Change::Closed(closed)) = incidents.poll() else { panic!("nothing was closed") };
    assert_eq!(closed.recovery, Some((ms(20), ms(33))));
    assert_eq!((closed.downtime_ns(), closed.within_rto()), (Some(33_000_000), Some(true)));
    assert_eq!(incidents.poll(), None);
}

#[test]
fn a_timeline_is_bounded_and_keeps_its_beginning_and_its_end() {
    let mut incidents = incidents(API);
    incidents.notice(&state(SECOND, ServiceState::Healthy, ServiceState::BackingOff, "the beginning"));
    for number in 0..2_000 {
        let what = What::Withheld { deed: "restart".to_owned(), why: format!("reason {number}") };
        incidents.notice(&Notice { time_ns: 2 * SECOND + number, subject: web(), what });
    }
    incidents.notice(&state(3 * SECOND, ServiceState::Starting, ServiceState::Healthy, "the end"));
    let last = std::iter::from_fn(|| incidents.poll()).last();
    let Some(Change::Closed(closed)) = last else { panic!("{last:?}") };
    assert!(closed.timeline.len() <= 256, "{}", closed.timeline.len());
    assert_eq!(closed.timeline.len() as u64 + u64::from(closed.left_out), 2_002);
    let texts = [closed.timeline.first(), closed.timeline.last()].map(|entry| entry.unwrap().text.as_str());
    assert_eq!(texts, ["the beginning", "the end"]);
}

#[test]
fn many_changes_of_one_incident_are_told_once() {
    let mut incidents = incidents(API);
    incidents.notice(&check(SECOND, CheckState::Failing));
    assert!(matches!(incidents.poll(), Some(Change::Opened(_))));
    let gap = Event { time_ns: 2 * SECOND, cpu: 0, sequence: 0, action: Action::Gap(Gap::default()) };
    for _ in 0..100 {
        incidents.event(&gap, None);
    }
    let Some(Change::Updated(updated)) = incidents.poll() else { panic!("nothing was told") };
    assert!(updated.gap && incidents.poll().is_none(), "{updated:?}");
}

#[test]
fn a_check_that_only_changes_the_number_of_instances_is_no_incident() {
    let scales = format!("{API}actions:\n  api: [{{ scale: {{ by: 1 }} }}]\n");
    let mut incidents = incidents(&scales);
    incidents.notice(&check(SECOND, CheckState::Failing));
    assert_eq!(incidents.poll(), None);
}

#[test]
fn an_incident_goes_on_in_the_next_supervisor_until_its_check_passes() {
    let mut before = incidents(API);
    before.notice(&check(SECOND, CheckState::Failing));
    let open: Vec<Incident> = before.open().cloned().collect();
    let mut incidents = incidents(API);
    incidents.restore(open);
    assert_eq!(incidents.next_id(), 8, "its number is taken");
    incidents.notice(&state(2 * SECOND, ServiceState::Starting, ServiceState::Healthy, "its program runs"));
    assert!(matches!(incidents.poll(), Some(Change::Updated(_))), "who is ready may still answer badly");
    incidents.notice(&check(3 * SECOND, CheckState::Passing));
    let Some(Change::Closed(closed)) = incidents.poll() else { panic!("it is over") };
    assert_eq!((closed.id, closed.outcome.as_deref()), (7, Some("recovered")));
}

#[test]
fn who_only_observes_and_whose_role_another_one_holds_is_in_no_trouble() {
    let mut incidents = incidents(API);
    incidents.notice(&state(1, ServiceState::Stopped, ServiceState::Held, "its policy only observes"));
    incidents.notice(&state(2, ServiceState::Healthy, ServiceState::Held, "db-2 holds the primary role"));
    assert_eq!(incidents.poll(), None);
}

/// The kernel may tell of a process before whoever started it does.
#[test]
fn what_happens_to_a_start_under_way_is_told_of_it() {
    let mut incidents = incidents(API);
    let process = |pid| Process { id: ProcId { pid, start_ns: 3 * SECOND }, ..Process::default() };
    let deed = Deed::RestartVia { via: RestartVia::Unit("web.service".to_owned()), timeout_ns: SECOND };
    let because = Because { what: String::new(), since_ns: 0, step: None, restarts_left: None };
    let id = ActionId(1);
    incidents.plan(&Plan { id, time_ns: SECOND, subject: web(), deed, act: true, because });
    let signal = Signal {
        number: 9,
        code: 0,
        origin: Origin::Kernel,
        result: SignalResult::Delivered,
        thread: None,
        value: 0,
    };
    let exit = Exit {
        status: ExitStatus::Signal { number: 9, core: false },
        cause: Cause::Kernel,
        lifetime_ns: 0,
        fork_to_exec_ns: None,
        exec_to_listen_ns: None,
        usage: None,
    };
    for pid in [9, 10] {
        let process = || Arc::new(process(pid));
        let signal = Action::Signal { process: process(), signal: signal.clone() };
        let exit = Action::Exit { process: process(), exit: Box::new(exit.clone()) };
        for (time_ns, action) in [(4 * SECOND, signal), (5 * SECOND, exit)] {
            incidents.event(&Event { time_ns, cpu: 0, sequence: 0, action }, None);
        }
    }
    incidents.done(6 * SECOND, id, &Ok(Done::Started(Arc::new(process(9)))));
    incidents.notice(&state(6 * SECOND, ServiceState::Starting, ServiceState::BackingOff, "it ended"));
    assert!(matches!(incidents.poll(), Some(Change::Opened(opened)) if opened.opened_ns == 5 * SECOND));
    let Some(Change::Updated(incident)) = incidents.poll() else { panic!("nothing was told") };
    let told = incident.timeline.iter().map(|entry| (entry.kind, entry.process.map(|id| id.pid)));
    let own = [(Moment::Signal, Some(9)), (Moment::Death, Some(9)), (Moment::Wait, None)];
    assert_eq!(told.collect::<Vec<_>>(), own);
}
