//! Services under a supervisor, in a small world of their own.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod world;

use guard_core::supervise::{Command, ServiceState};

use crate::world::{SECOND, World, service};

#[test]
fn a_service_that_dies_is_started_again_until_its_budget_is_spent() {
    let mut world = World::new(1);
    world.policies(vec![service("web")]);
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Healthy);
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
    world.run_for(900 * SECOND);
    assert_eq!(world.state("web"), ServiceState::Healthy, "a slow try\n{}", world.story());
}

#[test]
fn a_stopped_service_stays_stopped_until_it_is_started() {
    let mut world = World::new(1);
    world.policies(vec![service("web")]);
    world.run_for(SECOND);
    world.command(Command::Stop("web".to_owned()));
    world.run_for(100 * SECOND);
    assert_eq!((world.state("web"), world.main("web", 0)), (ServiceState::Stopped, None));
    world.command(Command::Start("web".to_owned()));
    world.run_for(SECOND);
    assert_eq!(world.state("web"), ServiceState::Healthy);
}
