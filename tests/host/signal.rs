//! Signals, whatever becomes of them: twin of the kernel's `signal.rs`.

use anyhow::{Context, Result};
use guard_tests::tracer::Tracer;
use guard_tests::truth;

#[test]
fn signals_tell_who_what_and_what_became_of_it() -> Result<()> {
    let tracer = Tracer::start(&["--events", "fork,signal,exit"])?;
    let truth = truth::run(&["signals"])?;
    let trace = tracer.stop()?;
    let target = truth.one("target")?;
    let workload = trace.one("fork", target)?.identity("process.parent")?.to_owned();
    let all = trace.of(target)?;
    let sent: Vec<_> = all
        .iter()
        .filter(|record| record.action() == "signal")
        .filter(|record| record.identity("processguard.signal.sender").ok() == Some(&workload))
        .collect();
    let facts: Vec<_> = truth.all("signal").collect();
    assert_eq!(sent.len(), facts.len(), "{sent:?}");
    for (record, fact) in sent.iter().zip(facts) {
        for field in ["number", "code"] {
            assert_eq!(
                record.number(&format!("processguard.signal.{field}"))?,
                fact.number(field)?,
                "{fact:?}"
            );
        }
        assert_eq!(record.text("processguard.signal.result")?, fact.text("result")?, "{fact:?}");
        assert_eq!(record.text("processguard.signal.origin")?, "process");
        assert_eq!(record.number("processguard.signal.thread").ok(), fact.number("thread").ok(), "{fact:?}");
        let value = record.number("processguard.signal.value").unwrap_or(0);
        assert_eq!(value, fact.number("value")?, "{fact:?}");
        assert_eq!(record.text("processguard.signal.sender.user.id")?, "0");
        assert_eq!(record.text("processguard.signal.sender.name")?, "guard-workload");
    }
    let timer = truth.one("timer")?;
    let by_timer = |record: &&&guard_tests::record::Record| {
        record.text("processguard.signal.origin").is_ok_and(|origin| origin == "timer")
    };
    let record = all.iter().find(by_timer).context("no signal from a timer")?;
    assert_eq!(record.number("processguard.signal.number")?, timer.number("number")?);
    assert_eq!(record.number("processguard.signal.code")?, timer.number("code")?);
    assert_eq!(record.text("processguard.signal.result")?, timer.text("result")?);
    let exit = trace.one("exit", target)?;
    assert_eq!(exit.number("processguard.signal.number").ok(), target.signal()?);
    assert_eq!(exit.identity("processguard.cause.sender")?, workload);
    Ok(())
}
