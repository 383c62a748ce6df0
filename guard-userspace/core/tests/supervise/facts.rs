//! What a supervisor says of its services when it is asked.

use guard_core::health::CheckState;
use guard_core::policy::model::{Act, Approval, Step};
use guard_core::supervise::ServiceState;

use crate::services::{MINUTE, SECOND, ladder, probe, service, step};
use crate::stories::{databases, up};

#[test]
fn what_is_shown_of_a_service_is_what_it_does() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    let begun_ns = SECOND;
    let mut world = up(vec![web]);
    let main = world.main("web", 0).expect("it lives");
    let facts = world.supervisor().facts_of("web").expect("it has a policy");
    assert_eq!((facts.state, facts.ready, facts.target, facts.budget), (ServiceState::Healthy, 1, 1, (5, 5)));
    assert!(facts.since_ns > begun_ns && facts.since_ns < world.now_ns, "{facts:?}");
    assert_eq!((facts.down_since_ns, facts.role), (None, None));
    let [web] = &facts.instances[..] else { panic!("{facts:?}") };
    assert_eq!((web.main, web.port, web.next_ns, web.used), (Some(main), Some(8_000), None, None));
    assert_eq!((&*web.checks[0].name, web.checks[0].state), ("api", CheckState::Passing));
    assert!(facts.checks.is_empty(), "that check is of each instance");
    let (subject, is_main) = world.supervisor().whose(main).expect("it is somebody's");
    assert_eq!((subject.to_string(), is_main), ("web/0".to_owned(), true));

    world.mood("web").can_start = false;
    world.kill("web", 0, 11);
    world.run_for(SECOND / 2);
    let died = world.supervisor().facts_of("web").expect("it has a policy");
    assert_eq!((died.state, died.instances[0].main), (ServiceState::BackingOff, None));
    assert!(died.instances[0].next_ns > Some(world.now_ns) && died.budget.0 < 4, "{died:?}");
    assert!(died.down_since_ns.is_some_and(|since_ns| since_ns > facts.since_ns), "{died:?}");
    assert!(world.supervisor().whose(main).is_none(), "it is dead");
    assert!(world.supervisor().facts_of("db").is_none(), "nobody knows it");
}

#[test]
fn a_step_that_waits_for_consent_is_shown_until_somebody_answers() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    let approval = Some(Approval { within: MINUTE });
    web.actions.insert("api".to_owned(), ladder(vec![Step { approval, ..step(Act::Restart) }]));
    let mut world = up(vec![web]);
    world.mood("web").probe = Some(false);
    world.run_for(30 * SECOND);
    let waiting = world.supervisor().facts_of("web").expect("it has a policy").waiting;
    let asked = *world.waiting.first().expect("it is asked for");
    assert_eq!(waiting, [(asked.0, "restart".to_owned())]);
    world.run_for(2 * MINUTE);
    let facts = world.supervisor().facts_of("web").expect("it has a policy");
    assert!(facts.waiting.is_empty(), "nobody answered in time: {:?}", facts.waiting);
}

#[test]
fn the_primary_is_shown_with_its_token() {
    let world = up(databases());
    let facts = world.supervisor().facts();
    let roles: Vec<_> = facts.iter().map(|facts| (facts.policy.name.as_str(), facts.role)).collect();
    assert_eq!(roles.iter().filter(|(_, role)| role.is_some()).count(), 1, "{roles:?}");
    let names: Vec<&str> = world.supervisor().services().map(|name| &**name).collect();
    assert_eq!(names, roles.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
