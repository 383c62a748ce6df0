//! Recoveries: SIGKILL of a supervised process to the first instruction of its replacement's main.
//!
//! A round takes every contender once, in random order, each alone: it is started, its victim is killed some times,
//! and it is ended. The moment before the kill is read here, the other one by the victim itself, as the first
//! statement of its main: nobody's word is taken for it.

mod adopted;
mod contender;
mod ours;
mod peers;
pub(super) mod place;
mod systemd;
mod table;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::stats::Random;
use crate::sh;
use contender::{Contender, Running};
use place::{Life, Place};
use table::Rounds;
pub(super) use table::Table;

/// The name for `--only`.
pub(super) const NAME: &str = "recovery";
/// The same without ourselves: peers can be measured while ours does not build.
pub(super) const PEERS: &str = "recovery-peers";

/// Once started, a supervisor may still have to look at what it has started.
const SETTLES: Duration = Duration::from_millis(1_200);

/// Measures all of them; without `processguard` only the peers.
pub(super) fn measure(
    processguard: Option<PathBuf>,
    rounds: usize,
    scratch: &Path,
    random: &mut Random,
) -> Result<Table> {
    let victim = place::compile("victim", include_str!("victim.c"), scratch)?;
    place::compile("loop", include_str!("loop.c"), scratch)?;
    let decided = match &processguard {
        Some(program) => adopted::measure(program, &victim).context("adopted services")?,
        None => Vec::new(),
    };
    let contenders = contender::all(processguard);
    let mut measured: Vec<(&Contender, Rounds)> = contenders.iter().map(|one| (one, Rounds::new())).collect();
    for round in 1..=rounds {
        let began = Instant::now();
        let mut order: Vec<usize> = (0..measured.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            let Some((contender, taken)) = measured.get_mut(index) else { continue };
            taken.push(one_slot(contender, &victim, random).with_context(|| contender.title)?);
        }
        eprintln!("recoveries, round {round} of {rounds} ({})", sh::took(began.elapsed()));
    }
    Ok(Table::new(&measured, decided, random))
}

/// Milliseconds of each kill of one contender's slot in a round.
fn one_slot(contender: &Contender, victim: &Path, random: &mut Random) -> Result<Vec<f64>> {
    let place = Place::new(contender.id, victim)?;
    let mut running = contender.supervisor.start(&place)?;
    let mut life = place.wait_for(1, || running.check()).context("the first start")?;
    thread::sleep(SETTLES);
    let mut taken = Vec::with_capacity(contender.kills);
    for kill in 0..contender.kills {
        live(contender, random);
        let (ms, next) = one_kill(&place, running.as_mut(), life, kill + 2)?;
        taken.push(ms);
        life = next;
    }
    // One that came after all: a service started twice would show here.
    live(contender, random);
    let lives = place.lives()?.len();
    ensure!(lives == contender.kills + 1, "{} kills, but {lives} lives", contender.kills);
    running.stop()?;
    Ok(taken)
}

fn one_kill(place: &Place, running: &mut dyn Running, life: Life, number: usize) -> Result<(f64, Life)> {
    let killed_ns = place.kill(life)?;
    let next = place.wait_for(number, || running.check())?;
    // The victim's clock is ours: CLOCK_BOOTTIME, which containers share.
    ensure!(next.began_ns > killed_ns, "started before the kill");
    Ok(((next.began_ns - killed_ns) as f64 / 1e6, next))
}

/// Lets a victim live for a while, chosen at random.
fn live(contender: &Contender, random: &mut Random) {
    let (least, most) = contender.life;
    let spread = usize::try_from((most - least).as_micros()).unwrap_or(0);
    thread::sleep(least + Duration::from_micros(random.below(spread.max(1)) as u64));
}
