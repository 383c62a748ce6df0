//! What becomes an incident, and what does not.

use guard_core::event::{
    Action, Cause, Exec, Gap, Listen, Oom, Origin as SignalOrigin, Sender, Signal, SignalResult,
};
use guard_core::incident::{Incident, Moment};
use guard_core::policy::model::{Act, Budget, Instances, Port, Readiness, Service};
use guard_core::supervise::{Command, Subject};

use crate::services::{MINUTE, SECOND, adopted, ladder, probe, run, service, step};
use crate::stories::up;
use crate::world::{World, process};

fn kinds(incident: &Incident) -> Vec<Moment> {
    incident.timeline.iter().map(|entry| entry.kind).collect()
}

fn only(world: &mut World, service: &str) -> Incident {
    let all = world.chronicle.of(service);
    assert_eq!(all.len(), 1, "{all:#?}\n{}", world.story());
    all[0].clone()
}

#[test]
fn a_death_is_an_incident_until_the_next_one_is_ready() {
    let mut web = service("web");
    web.rto = Some(30 * SECOND);
    web.ready.by = Readiness::Listen(Port::Instance);
    let mut world = World::new(1);
    world.policies(vec![web]);
    listens(&mut world);
    assert!(world.chronicle.of("web").is_empty(), "{:?}", world.chronicle.all);
    let main = world.main("web", 0).expect("it lives");
    let sender =
        Sender { id: guard_core::ids::ProcId { pid: 6937, start_ns: 5 }, name: name("bash"), uid: 0 };
    let signal = Signal {
        number: 9,
        code: 0,
        origin: SignalOrigin::Process(sender),
        result: SignalResult::Delivered,
        thread: None,
        value: 0,
    };
    let died_ns = world.now_ns;
    world.event(Action::Signal { process: process(main, "web"), signal });
    world.kill("web", 0, 9);
    let open = only(&mut world, "web");
    assert_eq!((open.opened_ns, open.closed_ns, open.within_rto()), (died_ns, None, None));
    world.event(Action::Gap(Gap::default()));
    listens(&mut world);
    let incident = only(&mut world, "web");
    assert_eq!(incident.outcome.as_deref(), Some("recovered"), "{incident:#?}\n{}", world.story());
    assert!(incident.gap, "records were lost meanwhile");
    assert_eq!((incident.restarts, incident.within_rto()), (1, Some(true)));
    use Moment::{Death, Decision, Fork, Listen as Listens, Ready, Signal as Signalled, Wait};
    assert_eq!(kinds(&incident), [Signalled, Death, Wait, Decision, Fork, Listens, Ready], "{incident:#?}");
    assert_eq!(incident.timeline[0].text, "SIGKILL from bash[6937]");
    let names: Vec<&str> = incident.segments().iter().map(|segment| segment.name).collect();
    assert_eq!(names, ["detect", "wait", "prepare", "listen", "ready"]);
    let lasted: u64 = incident.segments().iter().map(|segment| segment.length_ns()).sum();
    assert_eq!(Some(lasted), incident.downtime_ns(), "the parts are the whole");
    let (bad_ns, good_ns) = incident.recovery.expect("it recovered");
    assert!(bad_ns >= died_ns && good_ns > bad_ns, "{incident:#?}");
}

/// Lets it start, and listen a second later.
fn listens(world: &mut World) {
    world.run_for(SECOND);
    let main = world.main("web", 0).expect("it lives");
    let address = "127.0.0.1:8000".parse().expect("an address");
    world.event(Action::Listen { process: process(main, "web"), listen: Listen { address } });
    world.run_for(SECOND);
}

fn name(text: &str) -> guard_core::event::Name {
    guard_core::event::Name::from_bytes(text.as_bytes())
}

#[test]
fn the_verdict_of_the_out_of_memory_killer_may_come_after_the_death() {
    let mut world = up(vec![service("web")]);
    let main = world.main("web", 0).expect("it lives");
    world.kill("web", 0, 9);
    let cause = only(&mut world, "web").cause;
    assert!(cause.contains("SIGKILL"), "{cause}");
    world.event(Action::Oom { process: process(main, "web"), oom: Oom::default() });
    world.run_for(MINUTE);
    let incident = only(&mut world, "web");
    assert_eq!(incident.cause, "killed for lack of memory");
    assert!(incident.timeline.iter().any(|entry| entry.text.contains("out-of-memory")), "{incident:#?}");
    assert_ne!(Cause::Unknown, Cause::Oom(None));
}

#[test]
fn a_crash_loop_is_one_incident_until_it_is_held_and_until_it_is_well() {
    let mut web = service("web");
    web.restart.budget = Budget { count: 3, within: 10 * MINUTE };
    let mut world = up(vec![web]);
    for _ in 0..4 {
        world.kill("web", 0, 11);
        world.run_for(SECOND);
    }
    let incident = only(&mut world, "web");
    let deaths = kinds(&incident).iter().filter(|kind| **kind == Moment::Death).count();
    assert_eq!((deaths, incident.restarts, incident.closed_ns), (4, 3, None), "{incident:#?}");
    assert!(kinds(&incident).contains(&Moment::Held) && kinds(&incident).contains(&Moment::Alert));
    world.run_for(20 * MINUTE);
    let incident = only(&mut world, "web");
    assert_eq!(incident.outcome.as_deref(), Some("recovered"), "a slow try helped: {incident:#?}");
    world.kill("web", 0, 11);
    world.run_for(MINUTE);
    assert_eq!(world.chronicle.of("web").len(), 2, "much later it is another one");
}

#[test]
fn a_check_that_passes_again_by_itself_was_an_incident_too() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    let mut world = up(vec![web]);
    world.run_for(15 * SECOND);
    world.mood("web").probe = Some(false);
    world.run_for(25 * SECOND);
    let incident = only(&mut world, "web");
    assert_eq!((incident.instance, incident.failing.as_slice()), (Some(0), &["api".to_owned()][..]));
    assert!(incident.opened_ns < world.now_ns - 10 * SECOND, "since the first bad answer: {incident:#?}");
    world.mood("web").probe = Some(true);
    world.run_for(15 * SECOND);
    let incident = only(&mut world, "web");
    assert_eq!(incident.outcome.as_deref(), Some("recovered"), "{incident:#?}");
    assert_eq!(kinds(&incident), [Moment::BadAnswer, Moment::GoodAnswer]);
    let (bad_ns, good_ns) = incident.recovery.expect("it recovered");
    assert!((10 * SECOND..11 * SECOND).contains(&(good_ns - bad_ns)), "between two looks: {incident:#?}");
}

#[test]
fn a_restart_that_a_check_wants_is_over_when_the_check_passes() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    web.actions.insert("api".to_owned(), ladder(vec![step(Act::Restart)]));
    let mut world = up(vec![web]);
    world.run_for(15 * SECOND);
    world.mood("web").probe = Some(false);
    world.run_for(20 * SECOND);
    let open = only(&mut world, "web");
    assert!(open.closed_ns.is_none() && kinds(&open).contains(&Moment::Decision), "{open:#?}");
    world.mood("web").probe = Some(true);
    world.run_for(20 * SECOND);
    let incident = only(&mut world, "web");
    assert_eq!((incident.outcome.as_deref(), incident.restarts), (Some("recovered"), 1), "{incident:#?}");
}

#[test]
fn what_was_asked_for_is_no_incident() {
    let mut web = service("web");
    run(&mut web).instances = Instances { min: 1, start: 2, max: 4 };
    let mut world = up(vec![web.clone()]);
    let all = Subject { service: "web".into(), instance: None };
    world.command(Command::Restart(all));
    world.run_for(MINUTE);
    world.command(Command::Scale { service: "web".to_owned(), instances: 1 });
    world.run_for(MINUTE);
    let other = |mut web: Service| {
        run(&mut web).command.push("--new".to_owned());
        web
    };
    world.policies(vec![other(web)]);
    world.run_for(MINUTE);
    world.command(Command::Stop("web".to_owned()));
    world.run_for(MINUTE);
    world.command(Command::Start("web".to_owned()));
    world.run_for(MINUTE);
    assert!(world.chronicle.of("web").is_empty(), "{:#?}\n{}", world.chronicle.all, world.story());
}

#[test]
fn an_incident_of_a_service_that_is_stopped_or_taken_away_is_over() {
    let mut world = up(vec![service("web"), service("db")]);
    for name in ["web", "db"] {
        world.mood(name).can_start = false;
        world.kill(name, 0, 11);
    }
    world.run_for(SECOND);
    world.command(Command::Stop("web".to_owned()));
    world.policies(vec![service("web")]);
    let outcomes = [only(&mut world, "web").outcome, only(&mut world, "db").outcome];
    assert_eq!(outcomes.map(Option::unwrap_or_default), ["stopped", "policy removed"]);
}

#[test]
fn an_adopted_service_that_others_restart_has_its_incident() {
    let mut world = World::new(1);
    world.policies(vec![adopted("nginx")]);
    world.appears("nginx");
    world.run_for(MINUTE);
    assert!(world.chronicle.of("nginx").is_empty(), "{:#?}", world.chronicle.all);
    world.dies("nginx", 0, guard_core::event::ExitStatus::Signal { number: 11, core: true });
    world.run_for(MINUTE);
    let incident = only(&mut world, "nginx");
    assert_eq!((incident.outcome.as_deref(), incident.restarts), (Some("recovered"), 1), "{incident:#?}");
    assert!(incident.timeline.iter().any(|entry| entry.text.contains("nginx.service")), "{incident:#?}");
    let main = world.main("nginx", 0).expect("it lives");
    world.event(Action::Exec { process: process(main, "nginx"), exec: Exec::default() });
    assert_eq!(world.chronicle.of("nginx").len(), 1);
}
