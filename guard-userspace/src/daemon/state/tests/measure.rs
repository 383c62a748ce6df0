//! What it costs. These print; other machines have other disks.

use std::time::{Duration, Instant};

use super::*;

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(500), at(990), at(1000))
}

fn times(count: u64, mut each: impl FnMut(u64)) -> String {
    quantiles(
        (1..=count)
            .map(|number| {
                let begun = Instant::now();
                each(number);
                begun.elapsed()
            })
            .collect(),
    )
}

/// On the disk that the build directory is on: /tmp may be memory.
fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}

#[test]
fn an_intent_costs_a_write_and_a_promise_a_synchronisation() {
    let directory = on_disk();
    let (mut state, _) = open(directory.path());
    let crash = times(20_000, |id| state.intend(&intent(id), Durability::Crash).unwrap());
    let power = times(500, |id| state.intend(&intent(100_000 + id), Durability::Power).unwrap());
    let begun = Instant::now();
    read(&state, |_| Ok(()));
    println!("crash-durable intent: {crash}\npower-durable intent: {power}\nquestion: {:?}", begun.elapsed());
    drop(state);
    let (_state, found) = open(directory.path());
    assert_eq!(found.unfinished.len(), 20_500);
}

#[test]
fn a_thousand_services_start() {
    let directory = on_disk();
    let (mut state, _) = open(directory.path());
    let saved = format!(r#"{{"state":"starting","restarts":[{}]}}"#, "123456789012,".repeat(20));
    let begun = Instant::now();
    let mut changes = state.together();
    for number in 1..=1_000_u32 {
        let name = format!("service-{number}");
        let id = u64::from(number);
        state.intend(&Intent { service: name.clone(), ..intent(id) }, Durability::Crash).unwrap();
        changes
            .put_life(&life(&name, 0, number))
            .outcome(ActionId(id), 1, None)
            .put_service(&name, Some(&saved));
        state.write(&mut changes, Durability::Crash).unwrap();
    }
    let written = begun.elapsed();
    read(&state, |_| Ok(()));
    let applied = begun.elapsed();
    drop(state);
    let begun = Instant::now();
    let (_state, found) = open(directory.path());
    println!("1,000 starts: written {written:?}, in the database {applied:?}; opened {:?}", begun.elapsed());
    assert_eq!((found.lives.len(), found.services.len(), found.unfinished.len()), (1_000, 1_000, 0));
}

#[test]
fn a_full_history_is_opened() {
    let directory = on_disk();
    let (mut state, _) = open(directory.path());
    let mut changes = state.together();
    for id in 1..=10_000 {
        let mut one = incident(id, "checkout", Some(9_000));
        one.cause = "x".repeat(1_500);
        changes.put_incident(&one);
    }
    state.write(&mut changes, Durability::Crash).unwrap();
    let begun = Instant::now();
    read(&state, |view| view.incidents(&Wanted { limit: 20, open: true, service: None }));
    let asked = begun.elapsed();
    drop(state);
    let begun = Instant::now();
    let (_state, found) = open(directory.path());
    println!("10,000 incidents of 1.7 KB: applied and asked {asked:?}, opened {:?}", begun.elapsed());
    assert_eq!(found.last_incident, 10_000);
}
