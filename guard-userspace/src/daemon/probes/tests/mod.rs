//! Questions to real servers, programs and files.

mod http;
mod numbers;
mod programs;
mod tcp;
mod tls;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use guard_core::policy::model::Probe;
use guard_core::supervise::{Answer, Ask, Question, Subject};

use super::*;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn question(id: u64, check: Option<&str>, ask: Ask) -> Question {
    let subject = Subject { service: "web".into(), instance: Some(0) };
    Question { id, subject, check: check.map(Arc::from), ask }
}

/// What comes of one question.
async fn asked(ask: Ask) -> Answer {
    let (mut probes, mut answers) = Probes::new(1);
    probes.ask(question(7, Some("check"), ask));
    let answered = timeout(Duration::from_secs(60), answers.recv()).await.unwrap().unwrap();
    assert_eq!(answered.question, 7);
    answered.answer
}

async fn probed(probe: Probe) -> Answer {
    asked(Ask::Probe(Box::new(probe))).await
}

fn fail(text: impl Into<String>) -> Answer {
    Answer::Fail(text.into())
}

fn error(text: impl Into<String>) -> Answer {
    Answer::Error(text.into())
}
