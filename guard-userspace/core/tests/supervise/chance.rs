//! Random lives against what must hold of all. `PROPTEST_CASES=20000` throws more dice, and others each time, than the usual 200:
//! each is an hour or more of seven services.

use std::cell::RefCell;

use guard_core::event::ExitStatus;
use guard_core::policy::model::{
    Act, Approval, Backoff, Bound, Breaker, Budget, CheckKind, Condition, Demotion, Dependency, EndStatus,
    Failover, Host, Instances, Ladder, Mode, Origin, Readiness, RestartOn, Scaling, Service, Step,
};
use guard_core::supervise::{Command, ServiceState, Subject};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::deaths::Doom;
use crate::reached::Reached;
use crate::services::{
    MINUTE, SECOND, adopted, alert, hook, ladder, number, probe, run, scale, service, step,
};
use crate::world::{World, is_adopted};

const NAMES: [&str; 7] = ["app", "db-1", "db-2", "job", "nginx", "shadow", "web"];

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Chance {
    Passes {
        ms: u64,
    },
    Dies {
        who: usize,
        instance: u32,
        how: u8,
    },
    Probe {
        who: usize,
        found: Option<bool>,
    },
    Number {
        number: u8,
    },
    Start {
        who: usize,
        works: bool,
    },
    Deaf {
        who: usize,
        deaf: bool,
    },
    Hooks {
        who: usize,
        promotes: bool,
        work: bool,
    },
    /// A database fails for so long, and somebody answers what is asked then, or not; 0: it cannot be fenced, 1: nobody can be
    /// promoted.
    Crisis {
        of: usize,
        seconds: u64,
        agreed: Option<bool>,
        how: u8,
    },
    /// There is little or much to do for so long.
    Tide {
        number: u8,
        seconds: u64,
    },
    Appears,
    Certain(bool),
    Approve(bool),
    Command {
        who: usize,
        what: u8,
    },
    Reload(u8),
}

fn chance() -> impl Strategy<Value = Chance> {
    let who = || 0..NAMES.len();
    prop_oneof![
        6 => (1..30_000u64).prop_map(|ms| Chance::Passes { ms }),
        4 => (30_000..900_000u64).prop_map(|ms| Chance::Passes { ms }),
        6 => (who(), 0..3u32, 0..5u8).prop_map(|(who, instance, how)| Chance::Dies { who, instance, how }),
        4 => (who(), prop::option::weighted(0.8, any::<bool>()))
            .prop_map(|(who, found)| Chance::Probe { who, found }),
        2 => (0..200u8).prop_map(|number| Chance::Number { number }),
        2 => (who(), any::<bool>()).prop_map(|(who, works)| Chance::Start { who, works }),
        1 => (who(), any::<bool>()).prop_map(|(who, deaf)| Chance::Deaf { who, deaf }),
        2 => (1..3usize, any::<bool>(), any::<bool>())
            .prop_map(|(who, promotes, work)| Chance::Hooks { who, promotes, work }),
        3 => (1..3usize, 20..400u64, prop::option::weighted(0.8, prop::bool::weighted(0.7)), 0..5u8)
            .prop_map(|(of, seconds, agreed, how)| Chance::Crisis { of, seconds, agreed, how }),
        3 => (any::<bool>(), 20..200u64)
            .prop_map(|(much, seconds)| Chance::Tide { number: if much { 150 } else { 5 }, seconds }),
        1 => Just(Chance::Appears),
        2 => any::<bool>().prop_map(Chance::Certain),
        2 => any::<bool>().prop_map(Chance::Approve),
        2 => (who(), 0..6u8).prop_map(|(who, what)| Chance::Command { who, what }),
        1 => (0..8u8).prop_map(Chance::Reload),
    ]
}

/// Policies with a little of everything; `variant`: what a reload changes.
fn policies(variant: u8) -> (Vec<Service>, Host) {
    let budget = |count| Budget { count, within: 10 * MINUTE };
    let mut web = service("web");
    run(&mut web).instances = Instances { min: 1, start: 2, max: 4 };
    web.checks = vec![probe("api"), number("idle", Bound::Below(10.0)), number("queue", Bound::Above(100.0))];
    let still = Step { if_still: Some(MINUTE), ..step(alert()) };
    web.actions.insert("api".to_owned(), ladder(vec![step(Act::Restart), still]));
    let ebb = Scaling { by: -1, cooldown: 3 * MINUTE };
    web.actions.insert("idle".to_owned(), ladder(vec![step(Act::Scale(ebb))]));
    web.actions.insert("queue".to_owned(), ladder(vec![step(scale(1)), step(alert())]));
    web.group = Some("front".to_owned());
    web.restart.backoff = Backoff { factor: 1.0, jitter: 0.5, ..web.restart.backoff };
    web.rto = Some(30 * SECOND);

    let mut app = service("app");
    app.depends_on = vec![Dependency { service: "web".to_owned(), until: Condition::Healthy }];
    app.ready.by = Readiness::Delay(2 * SECOND);
    app.group = Some("front".to_owned());

    let mut job = service("job");
    // Dice that matter more than the growth: without care, a wait would be shorter than the one before.
    job.restart.backoff = Backoff { factor: 1.1, jitter: 0.5, ..job.restart.backoff };
    (job.restart.on, job.restart.never) = (RestartOn::Failure, vec![EndStatus::Code(3)]);

    let mut nginx = adopted("nginx");
    nginx.checks = vec![probe("api")];
    let fallback = || Some(Box::new(Act::Exec(hook("page"))));
    let breaker = Breaker { tries: 2, within: MINUTE, fallback: fallback() };
    nginx.actions.insert("api".to_owned(), Ladder { steps: vec![step(Act::Restart)], breaker });

    let mut shadow = Service { name: "shadow".to_owned(), mode: Mode::Observe, ..web.clone() };
    shadow.group = None;

    let [one, two] = [("db-1", "db-2"), ("db-2", "db-1")].map(|(name, other)| {
        let mut db = service(name);
        run(&mut db).instances = Instances { min: 1, start: 1, max: 1 };
        db.restart.budget = budget(2);
        // The one is up as soon as it runs, and may be ill then; the other one is up when it is well.
        if name == "db-2" {
            db.ready.by = Readiness::Probe(Box::new(match probe("ready").kind {
                CheckKind::Probe(check) => check.probe,
                CheckKind::Threshold(_) => unreachable!("it is a probe"),
            }));
        }
        db.checks = vec![probe("api")];
        let approval = Some(Approval { within: 5 * MINUTE });
        let failover = Step { approval, if_still: Some(30 * SECOND), ..step(Act::Failover) };
        db.actions.insert("api".to_owned(), ladder(vec![step(Act::Restart), failover]));
        let breaker = Breaker { tries: 3, within: MINUTE, fallback: fallback() };
        let held = Ladder { steps: vec![step(Act::Failover)], breaker };
        db.actions.insert("held".to_owned(), held);
        let demote = Some(Demotion { hook: hook("demote"), required: false });
        let (standbys, fence, promote) = (vec![other.to_owned()], hook("fence"), hook("promote"));
        db.failover = Some(Failover { standbys, demote, fence, promote, budget: budget(3) });
        db
    });

    let mut host = Host { budget: Some(budget(6)), ..Host::default() };
    host.groups.insert("front".to_owned(), budget(4));
    match variant {
        1 => run(&mut web).command.push("--new".to_owned()),
        2 => web.checks = vec![probe("api")],
        3 => web.mode = Mode::Observe,
        4 => web.restart.budget = budget(2),
        5 => web.group = None,
        6 => {
            if let Origin::Adopt(adopt) = &mut nginx.origin {
                adopt.matching.exe = Some("/usr/sbin/ngin*".to_owned());
            }
        }
        7 => nginx.origin = service("nginx").origin,
        _ => {}
    }
    let mut all = vec![web, job, nginx, shadow, one, two];
    if variant != 5 {
        all.push(app);
    }
    (all, host)
}

fn play(chances: &[Chance], seed: u64) -> World {
    let mut world = World::new(seed);
    world.mortal = false;
    let (services, host) = policies(0);
    world.policies_on(services, host);
    for &chance in chances {
        befall(&mut world, chance);
    }
    world
}

fn befall(world: &mut World, chance: Chance) {
    world.rise();
    match chance {
        Chance::Passes { ms } => world.run_for(ms * 1_000_000),
        Chance::Dies { who, instance, how } => {
            let status = match how {
                0 => ExitStatus::Code(0),
                1 => ExitStatus::Code(3),
                2 => ExitStatus::Unknown,
                _ => ExitStatus::Signal { number: 11, core: how == 3 },
            };
            world.dies(NAMES[who], instance, status);
        }
        Chance::Probe { who, found } => world.mood(NAMES[who]).probe = found,
        Chance::Number { number } => world.mood("web").number = number.into(),
        Chance::Start { who, works } => world.mood(NAMES[who]).can_start = works,
        Chance::Deaf { who, deaf } => world.mood(NAMES[who]).deaf = deaf,
        Chance::Hooks { who, promotes: true, work } => world.mood(NAMES[who]).can_be_promoted = work,
        Chance::Hooks { who, promotes: false, work } => world.mood(NAMES[who]).hooks_work = work,
        Chance::Crisis { of, seconds, agreed, how } => {
            let mood = world.mood(NAMES[of]);
            (mood.probe, mood.hooks_work, mood.can_be_promoted) = (Some(false), how != 0, how != 1);
            world.run_for(seconds * SECOND);
            if let Some(agreed) = agreed {
                decide(world, agreed);
            }
            world.run_for(10 * SECOND);
            world.mood(NAMES[of]).probe = Some(true);
        }
        Chance::Tide { number, seconds } => {
            world.mood("web").number = number.into();
            world.run_for(seconds * SECOND);
        }
        Chance::Appears => world.appears("nginx"),
        Chance::Certain(certain) => world.certain(certain),
        Chance::Approve(agreed) => decide(world, agreed),
        Chance::Command { who, what } => {
            let service = NAMES[who].to_owned();
            world.command(match what {
                0 | 1 => Command::Start(service),
                2 => Command::Stop(service),
                3 => Command::Restart(Subject { service: service.into(), instance: None }),
                4 => Command::Restart(Subject { service: service.into(), instance: Some(0) }),
                _ => Command::Scale { service, instances: 3 },
            });
        }
        Chance::Reload(variant) => {
            let (services, host) = policies(variant);
            world.policies_on(services, host);
        }
    }
}

/// Somebody answers what was asked last.
fn decide(world: &mut World, agreed: bool) {
    if let Some(id) = world.waiting.pop_last() {
        world.command(if agreed { Command::Approve(id) } else { Command::Deny(id) });
    }
}

/// The dice of every run that asks for no others, as `.cargo/config.toml` has it.
const USUAL: RngSeed = RngSeed::Fixed(4);

/// A few lives, always the same ones, so that no commit goes red by dice; or as many as the environment asks for, with dice that it
/// names or that nobody threw before. What breaks a rule is printed whole, and becomes a story.
fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match (asked, config.rng_seed) {
        (false, _) => ProptestConfig { cases: 200, rng_seed: USUAL, ..config },
        (true, USUAL) => ProptestConfig { rng_seed: RngSeed::Random, ..config },
        (true, _) => config,
    }
}

/// A life: what happens, and the dice.
fn life(most: usize) -> impl Strategy<Value = (Vec<Chance>, u64)> {
    (prop::collection::vec(chance(), 1..most), any::<u64>())
}

/// Whatever happens, no rule is broken; and when all is well again, so is every service in the end, unless it is stopped or
/// held for a reason that only a person can take away.
#[test]
fn nothing_is_broken_and_nothing_is_stuck() {
    let reached = RefCell::new(Reached::default());
    let lived = |(chances, seed): (Vec<Chance>, u64)| {
        let mut world = play(&chances, seed);
        world.cheer_up();
        world.appears("nginx");
        world.run_for(45 * MINUTE);
        reached.borrow_mut().add(&world.rules.reached);
        world.chronicle.is_sound().map_err(|why| TestCaseError::fail(format!("{why}\n{}", world.story())))?;
        ends_well(&world)
    };
    let config = config();
    let least = u64::from(config.cases) / 100;
    let outcome = TestRunner::new(config).run(&life(60), lived);
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("{}", reached.borrow());
    let lacks = reached.borrow().lacks(least);
    assert!(lacks.is_empty(), "random lives hardly get to:\n{}", lacks.join("\n"));
}

fn ends_well(world: &World) -> Result<(), TestCaseError> {
    for incident in world.chronicle.incidents.open() {
        let facts = world.supervisor().facts_of(&incident.service).expect("it has a policy");
        let number = incident.instance;
        let instance = facts.instances.iter().find(|instance| Some(instance.number) == number);
        let state =
            if number.is_some() { instance.map(|instance| instance.state) } else { Some(facts.state) };
        let is_over = matches!(state, None | Some(ServiceState::Healthy | ServiceState::Stopped));
        prop_assert!(!is_over, "{} is {:?}: {:#?}\n{}", incident.service, state, incident, world.story());
    }
    for service in world.services() {
        let (name, state) = (&service.name, world.state(&service.name));
        let story = || world.story();
        if service.mode == Mode::Observe {
            continue;
        }
        if world.rules.is_stopped(name) {
            prop_assert_eq!(state, ServiceState::Stopped, "{}\n{}", name, story());
            prop_assert_eq!(world.alive(name), 0, "{}\n{}", name, story());
            continue;
        }
        let needed = |needed: &Dependency| world.state(&needed.service) == ServiceState::Healthy;
        let well = match state {
            ServiceState::Healthy => world.alive(name) > 0,
            ServiceState::Waiting => !service.depends_on.iter().all(needed),
            ServiceState::Held => world.rules.may_be_held(name),
            // A job that ended with success.
            ServiceState::Stopped => service.restart.on == RestartOn::Failure,
            _ => false,
        };
        prop_assert!(well, "{} is {:?}\n{}", name, state, story());
        prop_assert!(!is_adopted(&service) || state == ServiceState::Healthy, "{}\n{}", name, story());
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    /// The same inputs give the same effects, to the last byte.
    #[test]
    fn the_same_happens_twice((chances, seed) in life(40)) {
        prop_assert_eq!(play(&chances, seed).story(), play(&chances, seed).story());
    }
}

/// A life in which the supervisor is killed again and again.
fn deadly_life(most: usize) -> impl Strategy<Value = (Vec<(Chance, Option<Doom>)>, u64)> {
    let down = prop_oneof![3 => Just(0), 2 => 1..500u64, 2 => 500..60_000u64];
    let dies = prop::option::of((0..9usize, 0..4u8));
    let doom = (1..40u32, any::<bool>(), down, any::<bool>(), any::<bool>(), dies).prop_map(
        |(turns, undone, down_ms, starts_land, no_trace, dies)| Doom {
            turns: turns.saturating_sub(20).max(1),
            undone,
            down_ms,
            starts_land,
            no_trace,
            dies,
        },
    );
    (prop::collection::vec((chance(), prop::option::weighted(0.4, doom)), 1..most), any::<u64>())
}

/// Whatever happens, and whenever the supervisor is killed meanwhile, no rule is broken and nothing is lost: all that holds of one
/// that lives holds of all of them together.
#[test]
fn a_supervisor_that_is_killed_breaks_nothing_and_loses_nothing() {
    let config = ProptestConfig { cases: config().cases / 2, ..config() };
    let outcome = TestRunner::new(config).run(&deadly_life(50), |(chances, seed)| {
        let mut world = World::new(seed);
        let (services, host) = policies(0);
        world.policies_on(services, host);
        for &(chance, doom) in &chances {
            if let Some(doom) = doom {
                world.doom(doom);
            }
            befall(&mut world, chance);
        }
        world.doomed = None;
        world.cheer_up();
        world.appears("nginx");
        world.run_for(45 * MINUTE);
        world.chronicle.is_sound().map_err(|why| TestCaseError::fail(format!("{why}\n{}", world.story())))?;
        ends_well(&world)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
