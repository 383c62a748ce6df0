//! What happens in single cases, as a person would tell it.

use guard_core::event::ExitStatus;
use guard_core::policy::model::{
    Act, Approval, Bound, Breaker, Budget, Condition, Demotion, Dependency, EndStatus, Failover, Host,
    Instances, Kill, Ladder, Mode, Service, Step,
};
use guard_core::supervise::{Command, ServiceState, Subject};

use crate::services::{
    MINUTE, SECOND, adopted, alert, hook, ladder, number, probe, run, scale, service, step,
};
use crate::world::World;

/// A world in which these services were healthy for a while.
pub(crate) fn up(services: Vec<Service>) -> World {
    let mut world = World::new(1);
    world.policies(services);
    world.run_for(MINUTE);
    world
}

/// `web` with a probe and this ladder for it.
fn probed(steps: Vec<Step>) -> Service {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    web.actions.insert("api".to_owned(), ladder(steps));
    web
}

/// The lines of the story that say this, without their time.
pub(crate) fn lines(world: &World, text: &str) -> Vec<String> {
    let story = world.story();
    let lines = story.lines().filter(|line| line.contains(text));
    lines.map(|line| line.trim_start().split_once(' ').map_or("", |(_, rest)| rest).to_owned()).collect()
}

#[test]
fn a_service_that_dies_is_started_again_until_its_budget_is_spent() {
    let mut world = up(vec![service("web")]);
    let first = world.main("web", 0).expect("it runs");
    for _ in 0..5 {
        world.kill("web", 0, 9);
        world.run_for(20 * SECOND);
        assert_eq!(world.state("web"), ServiceState::Healthy, "{}", world.story());
    }
    assert_ne!(world.main("web", 0), Some(first));
    world.kill("web", 0, 9);
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Held, "{}", world.story());
    assert_eq!(lines(&world, "alert").len(), 1, "{}", world.story());
    assert!(world.story().contains("0 of 5 restarts left"), "{}", world.story());
    world.run_for(15 * MINUTE);
    assert_eq!(world.state("web"), ServiceState::Healthy, "a slow try\n{}", world.story());
}

#[test]
fn a_stopped_service_stays_stopped_until_it_is_started() {
    let mut world = up(vec![service("web")]);
    world.command(Command::Stop("web".to_owned()));
    world.run_for(100 * SECOND);
    assert_eq!((world.state("web"), world.main("web", 0)), (ServiceState::Stopped, None));
    world.command(Command::Start("web".to_owned()));
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Healthy);
}

#[test]
fn ends_are_told_apart() {
    let mut job = service("job");
    job.restart.on = guard_core::policy::model::RestartOn::Failure;
    job.restart.never = vec![EndStatus::Code(3), EndStatus::Signal(31)];
    for (status, state) in [
        (ExitStatus::Code(0), ServiceState::Stopped),
        (ExitStatus::Code(3), ServiceState::Held),
        (ExitStatus::Signal { number: 31, core: false }, ServiceState::Held),
        (ExitStatus::Code(1), ServiceState::Healthy),
        (ExitStatus::Unknown, ServiceState::Healthy),
    ] {
        let mut world = up(vec![job.clone()]);
        world.dies("job", 0, status);
        world.run_for(MINUTE);
        assert_eq!(world.state("job"), state, "{status:?}\n{}", world.story());
    }
}

#[test]
fn who_depends_on_others_starts_after_them_and_ends_before_them() {
    let mut app = service("app");
    app.depends_on = vec![Dependency { service: "db".to_owned(), until: Condition::Ready }];
    let mut db = service("db");
    db.ready.by = guard_core::policy::model::Readiness::Delay(5 * SECOND);
    let mut world = World::new(1);
    world.policies(vec![app, db]);
    world.run_for(4 * SECOND);
    assert_eq!((world.state("app"), world.state("db")), (ServiceState::Waiting, ServiceState::Starting));
    world.run_for(2 * SECOND);
    assert_eq!((world.state("app"), world.state("db")), (ServiceState::Healthy, ServiceState::Healthy));
    world.forget_story();
    world.mood("app").deaf = true;
    world.command(Command::Shutdown);
    world.run_for(9 * SECOND);
    assert_eq!((world.state("app"), world.alive("db")), (ServiceState::Stopping, 1), "{}", world.story());
    world.run_for(9 * SECOND);
    assert_eq!((world.alive("app"), world.alive("db")), (0, 0), "{}", world.story());
    assert_eq!(world.state("db"), ServiceState::Stopped);
}

/// Whoever is looked at first must not end because it has not heard yet that the others end too.
#[test]
fn the_order_of_the_end_is_not_that_of_the_names() {
    let needs = |name: &str, other: &str| {
        let mut service = service(name);
        service.depends_on = vec![Dependency { service: other.to_owned(), until: Condition::Ready }];
        service
    };
    let mut world = up(vec![service("a"), needs("b", "a"), needs("c", "b")]);
    world.mood("c").deaf = true;
    world.command(Command::Shutdown);
    world.run_for(9 * SECOND);
    assert_eq!((world.alive("a"), world.alive("b"), world.alive("c")), (1, 1, 1), "{}", world.story());
    world.run_for(9 * SECOND);
    assert_eq!((world.alive("a"), world.alive("b"), world.alive("c")), (0, 0, 0), "{}", world.story());
}

#[test]
fn a_check_that_fails_climbs_its_ladder_and_every_plan_says_why() {
    let still = Step { if_still: Some(MINUTE), ..step(alert()) };
    let mut world = up(vec![probed(vec![step(Act::Restart), still])]);
    let first = world.main("web", 0);
    world.mood("web").probe = Some(false);
    world.forget_story();
    world.run_for(15 * SECOND);
    world.mood("web").probe = Some(true);
    world.run_for(5 * MINUTE);
    assert_ne!(world.main("web", 0), first);
    let because =
        "because api failed 2 times in a row: connection refused; step 1 of 2; 4 of 5 restarts left";
    assert!(lines(&world, "SIGTERM")[0].ends_with(because), "{}", world.story());
    assert!(lines(&world, "start /usr/bin/web")[0].ends_with(because), "{}", world.story());
    assert_eq!(lines(&world, "alert").len(), 0, "it helped\n{}", world.story());
}

#[test]
fn what_does_not_help_is_not_repeated_for_ever() {
    let mut web = probed(vec![step(Act::Restart)]);
    let fallback = Some(Box::new(Act::Exec(hook("page"))));
    let breaker = Breaker { tries: 2, within: 2 * MINUTE, fallback };
    web.actions.insert("api".to_owned(), Ladder { steps: vec![step(Act::Restart)], breaker });
    let mut world = up(vec![web]);
    world.mood("web").probe = Some(false);
    world.forget_story();
    world.run_for(30 * MINUTE);
    assert_eq!(lines(&world, "SIGTERM").len(), 2, "{}", world.story());
    assert_eq!(lines(&world, "exec: /usr/bin/page").len(), 1, "{}", world.story());
    assert_eq!(lines(&world, "alert (warning): web/0 is held").len(), 1, "{}", world.story());
    assert_eq!((world.state("web"), world.alive("web")), (ServiceState::Held, 1));
    world.mood("web").probe = Some(true);
    world.run_for(3 * MINUTE);
    assert_eq!(world.state("web"), ServiceState::Healthy, "the breaker closes again\n{}", world.story());
}

#[test]
fn alerts_alone_are_said_once_and_hold_nothing() {
    let mut world = up(vec![probed(vec![step(alert())])]);
    world.mood("web").probe = Some(false);
    world.run_for(60 * MINUTE);
    assert_eq!(lines(&world, "alert").len(), 1, "{}", world.story());
    assert_eq!(world.state("web"), ServiceState::Degraded);
}

#[test]
fn a_step_waits_for_consent_and_not_for_ever() {
    let asks = || Step { approval: Some(Approval { within: MINUTE }), ..step(Act::Restart) };
    for (verdict, restarts, told) in [
        (Some(true), 1, "SIGTERM"),
        (Some(false), 0, "it was denied"),
        (None, 0, "nobody approved it in time"),
    ] {
        let mut world = up(vec![probed(vec![asks(), step(alert())])]);
        world.mood("web").probe = Some(false);
        world.forget_story();
        world.run_for(20 * SECOND);
        let id = world.waiting.pop_first().expect("it asks");
        assert_eq!(lines(&world, "SIGTERM").len(), 0, "{}", world.story());
        match verdict {
            Some(true) => world.command(Command::Approve(id)),
            Some(false) => world.command(Command::Deny(id)),
            None => {}
        }
        world.run_for(55 * SECOND);
        assert_eq!(lines(&world, "SIGTERM").len(), restarts, "{}", world.story());
        assert_eq!(lines(&world, told).len(), 1, "{}", world.story());
        if verdict == Some(true) {
            assert!(lines(&world, &format!("web/0 #{} send SIGTERM", id.0)).len() == 1, "{}", world.story());
        }
    }
}

/// A guard, as a policy brings it.
fn guard(source: &str) -> guard_core::policy::guard::Guard {
    let text = format!(
        "version: processguard/v1\nservice: web\nrun: {{ command: [/usr/bin/web] }}\n\
         checks: {{ api: {{ tcp: {{ address: \"127.0.0.1:80\" }} }} }}\n\
         actions: {{ api: [{{ restart: {{}}, when: '{source}' }}] }}\n"
    );
    let loaded =
        guard_core::policy::load(&[guard_core::policy::Source { name: "web", bytes: text.as_bytes() }]);
    let set = loaded.set.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    set.services[0].actions["api"].steps[0].when.clone().expect("it has a guard")
}

#[test]
fn a_guard_decides_whether_a_step_is_taken() {
    for (source, taken) in [("restarts_left > 1 && state == \"degraded\"", 1), ("hour < 0", 0)] {
        let guard = guard(source);
        let guarded = Step { when: Some(guard), ..step(Act::Restart) };
        let mut world = up(vec![probed(vec![guarded])]);
        world.mood("web").probe = Some(false);
        world.run_for(20 * SECOND);
        assert_eq!(lines(&world, "SIGTERM").len(), taken, "{source}\n{}", world.story());
        assert_eq!(lines(&world, "its condition does not hold").len(), 1 - taken, "{}", world.story());
    }
}

#[test]
fn a_queue_that_grows_gets_more_workers_and_gives_them_back() {
    let mut web = service("web");
    run(&mut web).instances = Instances { min: 1, start: 1, max: 3 };
    web.checks = vec![number("idle", Bound::Below(10.0)), number("queue", Bound::Above(100.0))];
    web.actions.insert("idle".to_owned(), ladder(vec![step(scale(-1))]));
    web.actions.insert("queue".to_owned(), ladder(vec![step(scale(1))]));
    let mut world = up(vec![web]);
    world.mood("web").number = 500.0;
    world.run_for(70 * SECOND);
    assert_eq!(world.alive("web"), 2, "not more than one a minute\n{}", world.story());
    world.run_for(10 * MINUTE);
    assert_eq!(world.alive("web"), 3, "{}", world.story());
    assert_eq!(lines(&world, "the most that its policy allows").len(), 1, "{}", world.story());
    world.mood("web").number = 0.0;
    world.run_for(10 * MINUTE);
    assert_eq!((world.alive("web"), world.state("web")), (1, ServiceState::Healthy), "{}", world.story());
}

#[test]
fn while_records_are_lost_only_the_dead_are_helped() {
    let mut world = up(vec![probed(vec![step(Act::Restart)])]);
    world.certain(false);
    world.mood("web").probe = Some(false);
    world.forget_story();
    world.run_for(MINUTE);
    assert_eq!(lines(&world, "SIGTERM").len(), 0, "{}", world.story());
    assert_eq!(lines(&world, "records were lost").len(), 1, "{}", world.story());
    world.kill("web", 0, 11);
    world.run_for(SECOND);
    assert_eq!(world.alive("web"), 1, "{}", world.story());
    assert_eq!(lines(&world, " kill ").len(), 0, "{}", world.story());
    world.certain(true);
    world.run_for(SECOND);
    assert_eq!(lines(&world, " kill ").len(), 1, "what was left behind\n{}", world.story());
}

#[test]
fn who_observes_says_what_it_would_do() {
    let mut web = probed(vec![step(Act::Restart), step(alert())]);
    let mut world = up(vec![web.clone()]);
    web.mode = Mode::Observe;
    let first = world.main("web", 0);
    world.policies(vec![web]);
    world.mood("web").probe = Some(false);
    world.forget_story();
    world.run_for(MINUTE);
    assert_eq!(world.main("web", 0), first);
    assert_eq!(lines(&world, "would send SIGTERM").len(), 1, "{}", world.story());
    assert_eq!(lines(&world, "would alert").len(), 1, "{}", world.story());
    world.kill("web", 0, 9);
    world.run_for(MINUTE);
    assert_eq!(lines(&world, "would start").len(), 1, "{}", world.story());
    assert_eq!((world.alive("web"), world.state("web")), (0, ServiceState::Held));
}

#[test]
fn an_adopted_service_is_found_watched_and_restarted_by_others() {
    let mut nginx = adopted("nginx");
    nginx.checks = vec![probe("api")];
    nginx.actions.insert("api".to_owned(), ladder(vec![step(Act::Restart)]));
    let mut world = World::new(1);
    world.policies(vec![nginx]);
    world.appears("nginx");
    world.run_for(MINUTE);
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
    world.kill("nginx", 0, 11);
    world.run_for(MINUTE);
    let restarts = lines(&world, "restart the unit nginx.service");
    assert_eq!(restarts.len(), 1, "{}", world.story());
    assert!(restarts[0].ends_with("4 of 5 restarts left"), "{}", world.story());
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
    world.mood("nginx").probe = Some(false);
    world.run_for(15 * SECOND);
    world.mood("nginx").probe = Some(true);
    world.run_for(MINUTE);
    assert_eq!(lines(&world, "restart the unit nginx.service").len(), 2, "{}", world.story());
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
}

#[test]
fn budgets_of_groups_and_hosts_hold_for_all_of_them_together() {
    let names = ["a", "b", "c"];
    let services = names.map(|name| Service { group: Some("g".to_owned()), ..service(name) });
    let mut host = Host::default();
    host.groups.insert("g".to_owned(), Budget { count: 2, within: 10 * MINUTE });
    let mut world = World::new(1);
    world.policies_on(services.to_vec(), host);
    world.run_for(SECOND);
    for name in names {
        world.kill(name, 0, 9);
        world.run_for(SECOND);
    }
    assert_eq!(
        names.map(|name| world.state(name)),
        [ServiceState::Healthy, ServiceState::Healthy, ServiceState::Held]
    );
    assert!(world.story().contains("2 restarts in 10m for the group g are spent"), "{}", world.story());
}

#[test]
fn a_reload_leaves_alone_what_did_not_change() {
    let mut world = up(vec![service("a"), service("b"), service("c"), service("d")]);
    let before = ["a", "b", "c", "d"].map(|name| world.main(name, 0));
    let mut other = service("b");
    run(&mut other).command.push("--new".to_owned());
    let mut slower = service("c");
    slower.stop.timeout = MINUTE;
    world.policies(vec![service("a"), other, slower]);
    world.run_for(SECOND);
    let after = ["a", "b", "c"].map(|name| world.main(name, 0));
    assert_eq!((after[0], after[2]), (before[0], before[2]), "{}", world.story());
    assert!(after[1].is_some() && after[1] != before[1], "{}", world.story());
    assert_eq!(world.main("d", 0), None, "its policy is gone\n{}", world.story());
    assert_eq!(lines(&world, "--new").len(), 1, "{}", world.story());
    assert!(!world.story().contains("restarts left"), "a reload spends no budget\n{}", world.story());
}

#[test]
fn a_restart_by_hand_goes_through_all_instances_one_after_the_other() {
    let mut web = service("web");
    run(&mut web).instances = Instances { min: 1, start: 3, max: 3 };
    web.ready.by = guard_core::policy::model::Readiness::Delay(2 * SECOND);
    let mut world = up(vec![web]);
    world.command(Command::Restart(Subject { service: "web".into(), instance: None }));
    for _ in 0..100 {
        world.run_for(SECOND / 10);
        assert!(world.alive("web") >= 2, "{}", world.story());
    }
    assert_eq!(lines(&world, "SIGTERM").len(), 3, "{}", world.story());
    assert_eq!(lines(&world, "2 of 5 restarts left").len(), 2, "{}", world.story());
}

#[test]
fn who_does_not_listen_is_killed() {
    let mut web = service("web");
    web.stop.kill = Kill::Group;
    let mut world = up(vec![web]);
    world.mood("web").deaf = true;
    world.command(Command::Stop("web".to_owned()));
    world.run_for(9 * SECOND);
    assert_eq!(world.alive("web"), 1);
    world.run_for(2 * SECOND);
    assert_eq!(world.alive("web"), 0);
    let killed = lines(&world, "and its process group because it did not end within 10s of being asked to");
    assert_eq!(killed.len(), 1, "{}", world.story());
}

/// A primary and its standby, each of which can stand in for the other.
pub(crate) fn databases() -> Vec<Service> {
    let names = [("db-1", "db-2"), ("db-2", "db-1")];
    names
        .map(|(name, other)| {
            let mut db = service(name);
            run(&mut db).instances = Instances { min: 1, start: 1, max: 1 };
            db.restart.budget = Budget { count: 1, within: 60 * MINUTE };
            let breaker = Breaker { tries: 2, within: MINUTE, fallback: None };
            let held = Ladder { steps: vec![step(Act::Failover), step(alert())], breaker };
            db.actions.insert(Ladder::HELD.to_owned(), held);
            let demote = Some(Demotion { hook: hook("demote"), required: false });
            let (standbys, fence, promote) = (vec![other.to_owned()], hook("fence"), hook("promote"));
            let budget = Budget { count: 2, within: 60 * MINUTE };
            db.failover = Some(Failover { standbys, demote, fence, promote, budget });
            db
        })
        .to_vec()
}

/// The primary dies until it is held.
pub(crate) fn lose_the_primary(world: &mut World) {
    for _ in 0..2 {
        world.kill("db-1", 0, 11);
        world.run_for(SECOND);
    }
}

#[test]
fn a_failover_demotes_fences_and_promotes_in_this_order() {
    let mut world = up(databases());
    lose_the_primary(&mut world);
    world.run_for(SECOND);
    let story = world.story();
    let place = |text: &str| story.find(text).unwrap_or_else(|| panic!("no {text}\n{story}"));
    let places = ["demote: ", "fence: ", "promote: ", "db-2 Role { token: 2 }"].map(place);
    assert!(places.is_sorted(), "{story}");
    assert_eq!((world.alive("db-1"), world.alive("db-2")), (0, 1));
    world.run_for(60 * MINUTE);
    assert_eq!((world.state("db-1"), world.alive("db-1")), (ServiceState::Held, 0), "the old one is held");
    assert_eq!(lines(&world, "promote: ").len(), 1, "{}", world.story());
    assert_eq!(
        lines(&world, "alert").len(),
        0,
        "once it is handed over, nothing is wrong with it\n{}",
        world.story()
    );
    world.command(Command::Start("db-1".to_owned()));
    world.run_for(MINUTE);
    assert_eq!(world.state("db-1"), ServiceState::Healthy, "as a standby\n{}", world.story());
}

#[test]
fn nobody_is_promoted_beside_a_primary_that_is_not_fenced() {
    let mut world = up(databases());
    world.mood("db-1").hooks_work = false;
    lose_the_primary(&mut world);
    world.run_for(10 * MINUTE);
    assert_eq!(lines(&world, "promote: ").len(), 0, "{}", world.story());
    assert!(
        world.story().contains("it was not fenced: exit code 1; it keeps the primary role"),
        "{}",
        world.story()
    );
}

#[test]
fn without_a_healthy_standby_there_is_no_failover() {
    let mut world = up(databases());
    world.mood("db-2").can_start = false;
    world.kill("db-2", 0, 11);
    world.run_for(SECOND);
    lose_the_primary(&mut world);
    world.run_for(MINUTE);
    assert_eq!(lines(&world, "fence: ").len(), 0, "{}", world.story());
    assert!(world.story().contains("no standby is healthy: db-2"), "{}", world.story());
}

#[test]
fn who_may_have_been_promoted_is_stopped_before_the_old_primary_comes_back() {
    let mut world = up(databases());
    world.mood("db-1").can_be_promoted = false;
    lose_the_primary(&mut world);
    world.run_for(3 * MINUTE);
    assert!(world.story().contains("db-2 was not promoted: exit code 1"), "{}", world.story());
    // It is down, but it will be started again, perhaps as the primary that it became.
    world.mood("db-2").can_start = false;
    world.kill("db-2", 0, 11);
    world.run_for(SECOND);
    assert_eq!(world.alive("db-2"), 0);
    world.command(Command::Start("db-1".to_owned()));
    world.run_for(SECOND);
    assert!(world.story().contains("db-2 may be primary: stop it first"), "{}", world.story());
    assert_eq!(lines(&world, "db-1 Role").len(), 1, "{}", world.story());
    world.command(Command::Stop("db-2".to_owned()));
    world.run_for(SECOND);
    world.command(Command::Start("db-1".to_owned()));
    world.run_for(SECOND);
    assert_eq!(lines(&world, "db-1 Role").len(), 2, "{}", world.story());
}

#[test]
fn what_an_operator_starts_counts_against_no_budget() {
    let mut world = World::new(1);
    world.policies(vec![adopted("nginx")]);
    world.appears("nginx");
    world.run_for(MINUTE);
    for _ in 0..8 {
        // Before it has ended.
        world.command(Command::Stop("nginx".to_owned()));
        world.command(Command::Start("nginx".to_owned()));
        world.run_for(MINUTE);
        assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
    }
    assert_eq!(lines(&world, "restart the unit nginx.service").len(), 8, "{}", world.story());
    assert_eq!(lines(&world, "restarts left"), [""; 0], "{}", world.story());
}

#[test]
fn a_thousand_runs_are_the_same() {
    let story = || {
        let mut world = up(databases());
        lose_the_primary(&mut world);
        world.run_for(5 * MINUTE);
        world.story()
    };
    let first = story();
    assert!((1..1_000).all(|_| story() == first));
}
