//! The four stories, end to end: the policies of `policies/stories` as they are shipped, on real servers.
//!
//! One daemon keeps all of them at once: none delays another. Whether it did right is read from what the clients got, from
//! what the servers themselves wrote down and from the kernel; never from what the daemon says of itself. What each story
//! needs and what must be seen is in its README.md. `PROCESSGUARD_STORY=checkout` tells that one alone.

mod checkout;
mod ci_runner;
mod orders_db;
mod stream_worker;
mod world;

use std::env;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use guard_tests::daemon::Place;
use world::World;

/// A story: fails with what was seen instead.
type Story = fn(&World, &Place) -> Result<()>;

/// All of them, each by its policy's directory.
const STORIES: [(&str, Story); 4] = [
    ("checkout", checkout::story),
    ("stream-worker", stream_worker::story),
    ("orders-db", orders_db::story),
    ("ci-runner", ci_runner::story),
];

#[test]
fn the_four_stories_end_well() -> Result<()> {
    let (stories, policies) = wanted()?;
    // The place first: its mounts are then the world's, too.
    let place = Place::new()?;
    let world = World::new()?;
    let place = place.inside_of(world.pid());
    // Clients that are there before their services.
    let queue = stream_worker::queue(&world)?;
    orders_db::prepare(&world)?;
    let mut daemon = place.start(&policies, &[])?;

    let (world, place) = (&world, &place);
    let ended = thread::scope(|scope| {
        let told: Vec<_> = stories
            .iter()
            .map(|&(name, story)| (name, scope.spawn(move || tell(name, story, world, place))))
            .collect();
        // All of them are told to their end, whatever the first one comes to.
        let results = told.into_iter().map(|(name, story)| {
            let result = story.join().map_err(|_| anyhow!("a panic")).and_then(|result| result);
            result.with_context(|| format!("the story of {name}"))
        });
        results.collect::<Vec<_>>()
    });
    daemon.check_running()?;
    drop(queue);
    let failed: Vec<String> =
        ended.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if failed.is_empty() { daemon.stop() } else { Err(anyhow!("{}\n\n{}", failed.join("\n"), daemon.said())) }
}

/// One of them, and how long it was.
fn tell(name: &str, story: Story, world: &World, place: &Place) -> Result<()> {
    let began = Instant::now();
    let result = story(world, place);
    eprintln!("the story of {name}: {} s", began.elapsed().as_secs());
    result
}

/// The stories that are asked for, and where their policies are.
fn wanted() -> Result<(Vec<(&'static str, Story)>, PathBuf)> {
    let Ok(wanted) = env::var("PROCESSGUARD_STORY") else {
        return Ok((STORIES.to_vec(), world::stories()));
    };
    let one: Vec<_> = STORIES.into_iter().filter(|(name, _)| *name == wanted).collect();
    let names = STORIES.map(|(name, _)| name).join(", ");
    ensure!(!one.is_empty(), "PROCESSGUARD_STORY={wanted}: not one of {names}");
    Ok((one, world::stories().join(wanted)))
}
