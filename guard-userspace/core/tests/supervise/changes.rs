//! What `policy diff` says of a change is what the supervisor does.

use std::collections::BTreeSet;
use std::sync::Arc;

use guard_core::policy::PolicySet;
use guard_core::policy::diff::{Change, Processes, diff};
use guard_core::policy::model::{Impact, Instances, Origin, RestartOn, Service};
use proptest::prelude::*;

use crate::services::{MINUTE, SECOND, adopted, alert, ladder, probe, service, step};
use crate::world::World;

/// A service of this name, otherwise in as many ways as bits are set.
fn variant(name: &str, bits: u16, (start, more): (u32, u32)) -> Service {
    // The world does not let somebody else's process and ours have one name.
    let mut service = if name == "nginx" { adopted(name) } else { service(name) };
    let has = |bit: u16| bits >> bit & 1 == 1;
    if let Origin::Run(run) = &mut service.origin {
        run.instances = Instances { min: 1, start, max: start + more };
        if has(0) {
            run.command.push("--other".to_owned());
        }
        if has(1) {
            run.limits.memory = Some(1 << 30);
        }
    }
    if has(2) {
        service.stop.timeout = 5 * SECOND;
    }
    if has(3) {
        service.restart.on = RestartOn::Failure;
        service.restart.budget.count = 3;
    }
    if has(4) {
        (service.impact, service.owner) = (Impact::High, Some("somebody".to_owned()));
    }
    if has(5) {
        service.checks = vec![probe("api")];
    }
    if has(6) {
        service.checks = vec![probe("api")];
        service.actions.insert("api".to_owned(), ladder(vec![step(alert())]));
    }
    service
}

fn variants() -> impl Strategy<Value = Vec<Service>> {
    // Few bits: pairs that differ in one thing, or in none, are what it is about.
    let one = |name: &'static str| {
        let bits = prop_oneof![Just(0_u16), (0..10_u16).prop_map(|bit| 1 << bit), any::<u16>()];
        prop::option::weighted(
            0.9,
            (bits, (1..4_u32, 0..2_u32)).prop_map(move |(bits, count)| variant(name, bits, count)),
        )
    };
    (one("app"), one("db"), one("nginx"))
        .prop_map(|(app, db, nginx)| [app, db, nginx].into_iter().flatten().collect())
}

fn set(services: &[Service]) -> PolicySet {
    PolicySet { services: services.iter().cloned().map(Arc::new).collect(), ..PolicySet::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_diff_says_is_restarted_is_what_a_reload_restarts(before in variants(), after in variants()) {
        let mut world = World::new(1);
        world.policies(before.clone());
        world.run_for(MINUTE);
        let count = |service: &str| u32::try_from(world.alive(service)).unwrap_or(u32::MAX);
        let mains = |world: &World, service: &str| -> Vec<_> {
            (0..8).map(|number| world.main(service, number)).collect()
        };
        let said: Vec<_> = diff(&set(&before), &set(&after));
        let old: Vec<(String, u32, Vec<_>)> =
            before.iter().map(|one| (one.name.clone(), count(&one.name), mains(&world, &one.name))).collect();
        world.policies(after.clone());
        world.run_for(10 * MINUTE);
        let mut restarted = BTreeSet::new();
        for (name, count, ids) in &old {
            let now = mains(&world, name);
            // Who lived before and after, and is another one.
            if ids.iter().zip(&now).any(|(old, now)| old.is_some() && now.is_some() && old != now) {
                restarted.insert(name.clone());
            }
            let change = said.iter().find(|one| one.service.as_ref() == Some(name)).map(|one| &one.change);
            let living = now.iter().flatten().count();
            if let Some(Change::Changed { processes: Processes::Scaled { from, to }, .. }) = change {
                prop_assert_eq!(*count, *from, "{}", name);
                prop_assert_eq!(living, *to as usize, "{}", name);
            }
            if matches!(change, None | Some(Change::Changed { processes: Processes::GoOn, .. })) {
                prop_assert_eq!(&now, ids, "{}", name);
            }
        }
        let expected: BTreeSet<String> = said
            .iter()
            .filter(|one| matches!(one.change, Change::Changed { processes: Processes::Restarted, .. }))
            .filter_map(|one| one.service.clone())
            .collect();
        prop_assert_eq!(restarted, expected);
    }
}
