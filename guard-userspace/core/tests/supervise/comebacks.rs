//! What changes hands while something is under way: instances and services that go and come back, budgets and groups that are
//! others, commands that come between. Random lives found each of these.

use guard_core::event::ExitStatus;
use guard_core::policy::model::{Budget, EndStatus, Host, Instances, Origin, Service};
use guard_core::supervise::{Command, ServiceState, Subject};

use crate::services::{MINUTE, SECOND, adopted, run, service};
use crate::stories::{databases, lines, lose_the_primary, up};
use crate::world::World;

/// `web` with two instances and room for fewer and more.
fn pair() -> Service {
    let mut web = service("web");
    run(&mut web).instances = Instances { min: 1, start: 2, max: 4 };
    web
}

/// Fewer instances, and as many as before.
fn in_and_out(world: &mut World) {
    for instances in [1, 2] {
        world.command(Command::Scale { service: "web".to_owned(), instances });
        world.run_for(SECOND);
    }
}

/// The moments, in milliseconds, in which an instance was started.
fn starts(world: &World, whose: &str) -> Vec<u64> {
    let start = format!("{whose} #");
    let story = world.story();
    let starts = story.lines().filter(|line| line.contains(&start) && line.contains(" start /usr/bin"));
    starts.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn an_instance_whose_budget_is_spent_is_not_started_for_free_by_fewer_and_more() {
    let mut web = pair();
    web.restart.budget = Budget { count: 1, within: 10 * MINUTE };
    let mut world = up(vec![web]);
    for _ in 0..2 {
        world.kill("web", 1, 11);
        world.run_for(SECOND);
    }
    assert_eq!(world.main("web", 1), None, "held\n{}", world.story());
    world.forget_story();
    in_and_out(&mut world);
    world.run_for(MINUTE);
    assert_eq!(world.main("web", 1), None, "{}", world.story());
    world.run_for(20 * MINUTE);
    let starts = lines(&world, "web/1 #");
    assert!(starts.iter().any(|line| line.contains("0 of 1 restarts left")), "a slow try\n{}", world.story());
    assert_eq!(world.state("web"), ServiceState::Healthy, "{}", world.story());
}

#[test]
fn an_instance_waits_no_shorter_after_fewer_and_more() {
    let mut world = up(vec![pair()]);
    // Three waits, each longer than the one before: about 0.1 s, 0.2 s, 0.4 s.
    world.mood("web").can_start = false;
    world.kill("web", 1, 11);
    world.run_for(700_000_000);
    world.mood("web").can_start = true;
    world.run_for(SECOND);
    assert!(world.main("web", 1).is_some(), "{}", world.story());
    let before = starts(&world, "web/1");
    // A start that fails takes 5 ms.
    let last_ms = before[before.len() - 1] - before[before.len() - 2] - 5;
    assert!(last_ms > 200, "{last_ms} ms\n{}", world.story());
    in_and_out(&mut world);
    let died_ms = world.now_ns / 1_000_000;
    world.kill("web", 1, 11);
    world.run_for(10 * SECOND);
    let waited_ms = starts(&world, "web/1").last().expect("a start") - died_ms;
    assert!(waited_ms >= last_ms, "{waited_ms} ms after {last_ms} ms\n{}", world.story());
}

#[test]
fn an_instance_that_went_while_it_waited_comes_back_by_a_restart_that_counts() {
    let mut world = up(vec![pair()]);
    world.forget_story();
    world.kill("web", 1, 11);
    in_and_out(&mut world);
    world.run_for(10 * SECOND);
    assert!(world.main("web", 1).is_some(), "{}", world.story());
    let counted =
        lines(&world, "web/1 #").iter().filter(|line| line.contains("4 of 5 restarts left")).count();
    assert_eq!(counted, 1, "{}", world.story());
}

#[test]
fn an_instance_that_must_not_be_restarted_is_not_by_fewer_and_more_but_by_hand() {
    let mut web = pair();
    web.restart.never = vec![EndStatus::Code(3)];
    let mut world = up(vec![web]);
    world.dies("web", 1, ExitStatus::Code(3));
    world.run_for(SECOND);
    in_and_out(&mut world);
    world.run_for(20 * MINUTE);
    assert_eq!(world.main("web", 1), None, "{}", world.story());
    world.command(Command::Start("web".to_owned()));
    world.run_for(SECOND);
    assert!(world.main("web", 1).is_some(), "{}", world.story());
}

#[test]
fn a_start_by_hand_forgets_what_an_instance_owed_that_is_not_there() {
    let mut world = up(vec![pair()]);
    world.kill("web", 1, 11);
    world.command(Command::Scale { service: "web".to_owned(), instances: 1 });
    world.run_for(SECOND);
    world.command(Command::Start("web".to_owned()));
    world.forget_story();
    world.command(Command::Scale { service: "web".to_owned(), instances: 2 });
    world.run_for(SECOND);
    assert!(world.main("web", 1).is_some(), "{}", world.story());
    assert_eq!(lines(&world, "restarts left"), [""; 0], "{}", world.story());
}

#[test]
fn a_command_for_what_has_no_policy_is_refused_and_says_so() {
    let mut world = up(vec![service("app"), service("web")]);
    world.policies(vec![service("web")]);
    // It is being ended, and has no policy.
    world.command(Command::Stop("app".to_owned()));
    let refused = "app Withheld { deed: \"stop\", why: \"its policy is gone, and it is being ended\" }";
    assert_eq!(lines(&world, refused).len(), 1, "{}", world.story());
    world.run_for(SECOND);
    let app = || "app".to_owned();
    for command in [
        Command::Start(app()),
        Command::Stop(app()),
        Command::Restart(Subject { service: "app".into(), instance: None }),
        Command::Scale { service: app(), instances: 2 },
    ] {
        world.command(command);
    }
    assert_eq!(lines(&world, "why: \"no policy is named so\"").len(), 4, "{}", world.story());
    assert_eq!(world.alive("app"), 0);
    // What was refused holds for no policy that comes later.
    world.policies(vec![service("app"), service("web")]);
    world.run_for(SECOND);
    assert_eq!(world.state("app"), ServiceState::Healthy, "{}", world.story());
}

#[test]
fn whoever_puts_a_stopped_service_back_wants_it_however_soon() {
    for pause in [0, MINUTE] {
        let mut world = up(vec![service("app"), service("web")]);
        world.mood("app").deaf = true;
        world.command(Command::Stop("app".to_owned()));
        world.run_for(SECOND);
        world.policies(vec![service("web")]);
        world.run_for(pause);
        world.policies(vec![service("app"), service("web")]);
        world.run_for(MINUTE);
        assert_eq!(world.state("app"), ServiceState::Healthy, "{pause}\n{}", world.story());
    }
}

#[test]
fn a_stopped_service_stays_stopped_although_others_are_looked_for() {
    let mut world = up(vec![adopted("nginx")]);
    world.command(Command::Stop("nginx".to_owned()));
    world.run_for(MINUTE);
    assert_eq!((world.state("nginx"), world.alive("nginx")), (ServiceState::Stopped, 0));
    world.forget_story();
    let mut other = adopted("nginx");
    if let Origin::Adopt(adopt) = &mut other.origin {
        adopt.matching.exe = Some("/usr/sbin/ngin*".to_owned());
    }
    world.policies(vec![other]);
    world.run_for(20 * MINUTE);
    assert_eq!(lines(&world, "restart the unit"), [""; 0], "{}", world.story());
    assert_eq!((world.state("nginx"), world.alive("nginx")), (ServiceState::Stopped, 0));
    world.command(Command::Start("nginx".to_owned()));
    world.run_for(MINUTE);
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
}

#[test]
fn who_started_it_ends_it_although_its_successor_looks_for_the_same_program() {
    let mut world = up(vec![service("nginx")]);
    let ours = world.main("nginx", 0).expect("it is up");
    world.policies(vec![adopted("nginx")]);
    world.run_for(MINUTE);
    assert_ne!(world.main("nginx", 0), Some(ours), "it was ended\n{}", world.story());
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "the unit's own is found\n{}", world.story());
    world.forget_story();
    world.run_for(20 * MINUTE);
    assert_eq!(world.story(), "", "nothing is left to do");
}

#[test]
fn who_follows_waits_for_all_before_it() {
    let mut world = up(vec![service("nginx")]);
    let ours = world.main("nginx", 0).expect("it is up");
    world.mood("nginx").deaf = true;
    world.policies(vec![adopted("nginx")]);
    world.policies(vec![service("nginx")]);
    world.run_for(SECOND);
    assert_eq!((world.main("nginx", 0), world.alive("nginx")), (Some(ours), 1), "{}", world.story());
    world.run_for(MINUTE);
    assert_ne!(world.main("nginx", 0), Some(ours), "it was killed\n{}", world.story());
    assert_eq!(world.state("nginx"), ServiceState::Healthy, "{}", world.story());
}

#[test]
fn what_is_stopped_is_not_restarted() {
    let mut world = World::new(1);
    world.policies(vec![adopted("nginx")]);
    world.command(Command::Stop("nginx".to_owned()));
    world.appears("nginx");
    // It is being ended.
    let subject = Subject { service: "nginx".into(), instance: None };
    world.command(Command::Restart(subject));
    world.run_for(5 * MINUTE);
    assert_eq!(lines(&world, "restart the unit"), [""; 0], "{}", world.story());
    assert!(world.story().contains("why: \"it is stopped\""), "{}", world.story());
    assert_eq!(world.alive("nginx"), 0);
}

/// Three instances are being restarted when this becomes of their policy; so many come back.
fn changed_meanwhile(change: impl Fn(&mut Service)) -> (World, usize) {
    let mut web = pair();
    run(&mut web).instances.start = 3;
    web.group = Some("wide".to_owned());
    let mut host = Host::default();
    host.groups.insert("wide".to_owned(), Budget { count: 9, within: 10 * MINUTE });
    host.groups.insert("narrow".to_owned(), Budget { count: 1, within: 10 * MINUTE });
    let mut world = World::new(1);
    world.policies_on(vec![web.clone()], host.clone());
    world.run_for(MINUTE);
    for instance in 0..3 {
        let subject = Subject { service: "web".into(), instance: Some(instance) };
        world.command(Command::Restart(subject));
    }
    change(&mut web);
    world.policies_on(vec![web], host);
    world.run_for(MINUTE);
    let alive = world.alive("web");
    world.run_for(60 * MINUTE);
    assert_eq!(world.alive("web"), 3, "slow tries\n{}", world.story());
    (world, alive)
}

#[test]
fn a_smaller_budget_holds_for_restarts_that_were_decided_before() {
    let (world, alive) = changed_meanwhile(|web| web.restart.budget.count = 2);
    assert_eq!(alive, 2, "{}", world.story());
    assert_eq!(lines(&world, "2 restarts in 10m are spent").len(), 2, "{}", world.story());
}

#[test]
fn another_groups_budget_holds_for_restarts_that_were_decided_before() {
    let (world, alive) = changed_meanwhile(|web| web.group = Some("narrow".to_owned()));
    assert_eq!(alive, 1, "{}", world.story());
    let (world, alive) = changed_meanwhile(|web| web.group = None);
    assert_eq!(alive, 3, "{}", world.story());
}

#[test]
fn a_start_that_is_refused_leaves_what_was_stopped_stopped() {
    let mut world = up(databases());
    world.mood("db-1").can_be_promoted = false;
    lose_the_primary(&mut world);
    world.run_for(SECOND);
    for command in [Command::Stop("db-1".to_owned()), Command::Start("db-1".to_owned())] {
        world.command(command);
        world.run_for(SECOND);
    }
    assert!(world.story().contains("db-2 may be primary: stop it first"), "{}", world.story());
    world.run_for(20 * MINUTE);
    assert_eq!((world.state("db-1"), world.alive("db-1")), (ServiceState::Stopped, 0), "{}", world.story());
}
