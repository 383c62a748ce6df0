//! How many are asked at once, and who waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use guard_core::policy::model::{Probe, TcpProbe};
use tokio::io::AsyncWriteExt;

use super::super::servers::Server;
use super::*;

fn ask(server: &Server, expects: bool, timeout: u64) -> Ask {
    let expect = expects.then(|| guard_core::policy::model::Expected::Contains("x".into()));
    let address = server.address.to_string();
    Ask::Probe(Box::new(Probe::Tcp(TcpProbe { address, send: None, expect, timeout })))
}

#[tokio::test]
async fn a_question_waits_for_its_place_as_long_as_for_its_answer() {
    let server = Server::stalls(b"").await;
    let (mut probes, mut answers) = Probes::new(1);
    let before = clock::boot_ns();
    probes.ask(question(1, Some("slow"), ask(&server, true, 1500 * MILLISECOND)));
    probes.ask(question(2, Some("late"), ask(&server, false, 50 * MILLISECOND)));
    probes.ask(question(3, Some("patient"), ask(&server, false, 20 * SECOND)));
    // Readiness has places of its own.
    probes.ask(question(4, None, ask(&server, false, 20 * SECOND)));
    assert_eq!(probes.under_way(), 4);
    let mut came = Vec::new();
    for _ in 0..4 {
        came.push(answers.recv().await.unwrap());
    }
    let after = clock::boot_ns();
    let order: Vec<_> = came.iter().map(|answered| (answered.question, answered.answer.clone())).collect();
    let late = error("not asked: other questions took all places for 50ms");
    let slow = fail("no answer within 1s500ms");
    assert_eq!(order, [(4, Answer::Pass), (2, late), (1, slow), (3, Answer::Pass)]);
    for answered in &came {
        assert!(answered.asked_ns >= before && answered.asked_ns + answered.took_ns <= after, "{answered:?}");
    }
    // Its time begins with its place.
    let took = |question| came.iter().find(|answered| answered.question == question).unwrap().took_ns;
    assert!(took(1) >= 1400 * MILLISECOND && took(3) < took(1), "{came:?}");
    assert_eq!(probes.under_way(), 0);
}

#[tokio::test]
async fn a_newer_question_takes_the_place_of_an_older_one() {
    let (silent, server) = (Server::stalls(b"").await, Server::stalls(b"x").await);
    let (mut probes, mut answers) = Probes::new(1);
    probes.ask(question(1, Some("api"), ask(&silent, true, 600 * SECOND)));
    probes.ask(question(2, Some("api"), ask(&server, true, 20 * SECOND)));
    let older = answers.recv().await.unwrap();
    assert_eq!((older.question, older.answer), (1, error("given up: a newer question took its place")));
    let newer = answers.recv().await.unwrap();
    assert_eq!((newer.question, newer.answer), (2, Answer::Pass));
}

#[tokio::test]
async fn what_is_done_is_forgotten() {
    let server = Server::stalls(b"").await;
    let (mut probes, mut answers) = Probes::new(4);
    for id in 0..300 {
        probes.ask(question(id, Some(&format!("check-{id}")), ask(&server, false, 20 * SECOND)));
        assert_eq!(answers.recv().await.unwrap().answer, Answer::Pass);
    }
    assert!(probes.under_way.len() <= 70, "{}", probes.under_way.len());
    drop(probes);
    assert_eq!(answers.recv().await, None);
}

#[tokio::test]
async fn no_more_are_asked_at_once_than_there_are_places() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, largest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::each(move |mut stream| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&largest));
        async move {
            // Beside the next one.
            tokio::spawn(async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                stream.write_all(b"x").await.unwrap();
            });
        }
    })
    .await;
    let (mut probes, mut answers) = Probes::new(4);
    for id in 0..60 {
        probes.ask(question(id, Some(&format!("check-{id}")), ask(&server, true, 60 * SECOND)));
    }
    for _ in 0..60 {
        assert_eq!(answers.recv().await.unwrap().answer, Answer::Pass);
    }
    assert_eq!(most.load(Ordering::Relaxed), 4);
}
