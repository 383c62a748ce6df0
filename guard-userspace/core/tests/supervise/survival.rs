//! What goes on when a supervisor is killed and another one goes on: single cases, each to be read. Random ones are in `chance.rs`.

use guard_core::event::ExitStatus;
use guard_core::policy::model::{Act, Approval, Budget, Port, Readiness, Step};
use guard_core::policy::set::PolicySet;
use guard_core::supervise::{
    Before, Command, Life, Saved, ServiceState, Settings, Subject, Supervisor, Unreadable,
};

use crate::deaths::{Doom, at_once};
use crate::services::{MINUTE, SECOND, ladder, probe, service, step};
use crate::stories::{databases, lines, up};
use crate::world::World;

/// The supervisor is killed at its next input, and another one goes on.
fn dies(world: &mut World, doom: Doom) {
    world.doom(doom);
    let certain = world.certain;
    world.certain(certain);
    world.forget_story();
    world.run_for(1);
}

#[test]
fn what_lives_goes_on_undisturbed_and_is_ready_as_it_was() {
    let mut world = up(vec![service("web"), service("db")]);
    let mains = [world.main("web", 0), world.main("db", 0)];
    let before = world.supervisor().facts();
    dies(&mut world, at_once());
    let after = world.supervisor().facts();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.instances[0].ready_ns, before.instances[0].ready_ns);
        assert_eq!((after.state, after.since_ns), (ServiceState::Healthy, before.since_ns));
    }
    world.run_for(10 * MINUTE);
    assert_eq!([world.main("web", 0), world.main("db", 0)], mains);
    assert!(lines(&world, " #").is_empty(), "nothing was done: {}", world.story());
}

#[test]
fn who_died_meanwhile_is_restarted_with_the_rest_of_its_budget_and_whoever_left_no_trace_failed() {
    for no_trace in [false, true] {
        let mut web = service("web");
        web.restart.budget = Budget { count: 2, within: 10 * MINUTE };
        let mut world = up(vec![web]);
        world.kill("web", 0, 11);
        world.run_for(SECOND);
        dies(&mut world, Doom { down_ms: 500, dies: Some((0, 3)), no_trace, ..at_once() });
        world.run_for(5 * SECOND);
        let starts = lines(&world, "start /usr/bin/web");
        assert_eq!(starts.len(), 1, "{}", world.story());
        let why = if no_trace { "nobody saw how" } else { "exit code 3" };
        assert!(starts[0].contains(why) && starts[0].contains("0 of 2 restarts left"), "{}", starts[0]);
    }
}

#[test]
fn what_was_held_is_held_and_what_was_stopped_stays_stopped() {
    let mut web = service("web");
    web.restart.never = vec![guard_core::policy::model::EndStatus::Code(3)];
    let mut world = up(vec![web, service("db")]);
    world.dies("web", 0, ExitStatus::Code(3));
    world.command(Command::Stop("db".to_owned()));
    world.run_for(MINUTE);
    dies(&mut world, at_once());
    world.run_for(20 * MINUTE);
    assert_eq!((world.state("web"), world.state("db")), (ServiceState::Held, ServiceState::Stopped));
    assert!(lines(&world, "start").is_empty(), "{}", world.story());
    let facts = world.supervisor().facts_of("web").expect("it has a policy");
    assert!(facts.instances[0].why.contains("must not be restarted"), "{facts:?}");
}

#[test]
fn a_decided_start_that_nobody_made_is_made_and_counts_once() {
    let mut web = service("web");
    web.restart.budget = Budget { count: 2, within: 10 * MINUTE };
    web.restart.backoff.initial = 0;
    let mut world = up(vec![web]);
    world.doom(Doom { undone: true, ..at_once() });
    world.kill("web", 0, 11);
    assert_eq!(lines(&world, "lost: start").len(), 1, "{}", world.story());
    world.run_for(SECOND);
    assert!(world.main("web", 0).is_some(), "{}", world.story());
    assert_eq!(world.supervisor().facts_of("web").expect("a policy").budget, (1, 2), "{}", world.story());
}

#[test]
fn consent_that_was_asked_for_can_be_given_to_the_next_one() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    let approval = Some(Approval { within: 10 * MINUTE });
    web.actions.insert("api".to_owned(), ladder(vec![Step { approval, ..step(Act::Restart) }]));
    let mut world = up(vec![web]);
    world.mood("web").probe = Some(false);
    world.run_for(30 * SECOND);
    dies(&mut world, at_once());
    assert_eq!(world.state("web"), ServiceState::Degraded, "it still fails: {}", world.story());
    let id = world.waiting.pop_last().expect("it was asked for");
    world.command(Command::Approve(id));
    world.run_for(SECOND);
    let asked = lines(&world, &format!("#{} send SIGTERM", id.0));
    assert_eq!(asked.len(), 1, "under the number that was agreed to: {}", world.story());
}

/// The primary is lost, and its role goes over as far as this step, whose outcome nobody knows yet.
fn fail_over_until(world: &mut World, step: &str) {
    world.kill("db-1", 0, 11);
    world.run_for(SECOND);
    world.kill("db-1", 0, 11);
    for _ in 0..100 {
        if !lines(world, step).is_empty() {
            return;
        }
        world.run_for(1_000_000);
    }
    panic!("no {step}\n{}", world.story());
}

#[test]
fn a_promotion_that_may_have_happened_is_repeated_only_if_its_ladder_wants_it() {
    let mut world = up(databases());
    fail_over_until(&mut world, "promote:");
    dies(&mut world, at_once());
    world.run_for(30 * SECOND);
    assert!(lines(&world, "promote:").is_empty(), "{}", world.story());
    assert!(
        lines(&world, "may have been promoted").iter().any(|line| line.contains("alert")),
        "{}",
        world.story()
    );
    assert_eq!(world.alive("db-1"), 0, "two primaries: {}", world.story());
    world.run_for(10 * MINUTE);
    let again = lines(&world, "promote:");
    assert!(again.len() == 1 && again[0].contains("step 1 of 2"), "{}", world.story());
    let (old, new) = (world.supervisor().facts_of("db-1"), world.supervisor().facts_of("db-2"));
    assert_eq!(old.and_then(|old| old.role), None, "{}", world.story());
    assert!(new.is_some_and(|new| new.role > Some(1)), "{}", world.story());
}

#[test]
fn who_was_being_fenced_is_fenced_again_with_a_larger_token() {
    let mut world = up(databases());
    fail_over_until(&mut world, "fence:");
    let before = world.supervisor().facts_of("db-1").expect("a policy").role;
    dies(&mut world, at_once());
    world.run_for(10 * MINUTE);
    assert_eq!(lines(&world, "fence:").len(), 1, "{}", world.story());
    assert_eq!(lines(&world, "promote:").len(), 1, "{}", world.story());
    let role = world.supervisor().facts_of("db-2").expect("a policy").role;
    assert!(role > before.map(|token| token + 1), "{role:?} after {before:?}");
}

#[test]
fn who_may_have_become_ready_unseen_is_asked_where_it_listens() {
    let mut web = service("web");
    web.ready.by = Readiness::Listen(Port::Instance);
    let mut world = World::new(1);
    world.policies(vec![web]);
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Starting);
    dies(&mut world, at_once());
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Healthy, "{}", world.story());
    assert_eq!(lines(&world, "start /usr/bin").len(), 0, "{}", world.story());
}

#[test]
fn after_another_boot_all_is_started_anew_and_nobody_has_failed() {
    let mut web = service("web");
    web.restart.budget = Budget { count: 2, within: 10 * MINUTE };
    let mut world = up(vec![web, service("db")]);
    world.kill("web", 0, 11);
    world.command(Command::Stop("db".to_owned()));
    world.run_for(MINUTE);
    let set: PolicySet = (*world.set).clone();
    let shift_ns = -i64::try_from(world.now_ns).expect("a short life");
    let mut next = Supervisor::new(Settings::default());
    let before = Before { shift_ns: Some(shift_ns), ..world.store.read() };
    let nobody = |subject: &Subject| -> Life { panic!("nobody lives of {subject}") };
    next.restore(5 * SECOND, &set, before, &nobody).expect("it can be read");
    let web = next.facts_of("web").expect("a policy");
    assert_eq!((web.state, web.budget), (ServiceState::Starting, (1, 2)), "a boot is no restart: {web:?}");
    assert!(web.why.contains("started anew"), "{}", web.why);
    assert_eq!(next.state("db"), Some(ServiceState::Stopped));
    next.handle_timeout(11 * MINUTE);
    assert_eq!(
        next.facts_of("web").expect("a policy").budget,
        (2, 2),
        "what was before the boot is forgotten in time"
    );
}

#[test]
fn what_another_version_wrote_is_refused() {
    let world = up(vec![service("web")]);
    let mut before = world.store.read();
    let (name, saved) = before.services.remove(0);
    let text = serde_json::to_string(&saved).expect("it can be written");
    let version = format!("\"version\":{}", Saved::VERSION);
    let other = text.replacen(&version, "\"version\":99", 1);
    before.services = vec![(name, serde_json::from_str(&other).expect("it can be read"))];
    let mut next = Supervisor::new(Settings::default());
    let refused = next.restore(SECOND, &PolicySet::default(), before, &|_| Life::Gone);
    let Err(Unreadable { what, found }) = &refused else { panic!("{refused:?}") };
    assert_eq!((what.as_str(), *found), ("web", 99));
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut web = service("web");
    web.checks = vec![probe("api")];
    let mut world = up(vec![web]);
    world.run_for(MINUTE);
    let writes = world.store.writes;
    world.run_for(60 * MINUTE);
    assert_eq!(world.store.writes, writes, "checks that pass are no news");
}

/// What stands on disk: a change of it needs another version.
#[test]
fn the_saved_form_is_known() {
    let mut world = up(vec![service("web")]);
    world.kill("web", 0, 11);
    let (_, saved) = world.store.read().services.remove(0);
    let json = serde_json::to_value(&saved).expect("it can be written");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("a map").keys().cloned().collect()
    };
    assert_eq!(keys(&json), ["units", "version"]);
    let unit = &json["units"][0];
    let expected = "climbs down failing failovers follows handover hold instances leftovers parted restarts retiring rolling run \
                    scale_why scaled_ns start_why stop_why target thrown told told_ns wanted";
    assert_eq!(keys(unit).join(" "), expected);
    let instance = &unit["instances"][0];
    let expected = "after failing moments number outdated phase probation renewing ticket told told_end told_ns wait why";
    assert_eq!(keys(instance).join(" "), expected);
    assert!(instance["phase"]["backoff"]["until_ns"].is_u64(), "{instance:#}");
}
