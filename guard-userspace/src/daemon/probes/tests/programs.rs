//! Programs.

use std::fs;

use guard_core::policy::model::{ExecProbe, NumberSource, Probe};
use procfs::process::Process;

use super::*;

fn exec(command: &[&str]) -> ExecProbe {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    ExecProbe { command, user: None, success: vec![0], timeout: 20 * SECOND }
}

fn sh(script: &str) -> ExecProbe {
    exec(&["/bin/sh", "-c", script])
}

async fn seen(probe: ExecProbe) -> Answer {
    probed(Probe::Exec(probe)).await
}

#[tokio::test]
async fn the_exit_code_is_the_answer() {
    assert_eq!(seen(exec(&["/bin/true"])).await, Answer::Pass);
    assert_eq!(seen(exec(&["/bin/false"])).await, fail("exit code 1"));
    assert_eq!(seen(ExecProbe { success: vec![1, 2], ..exec(&["/bin/false"]) }).await, Answer::Pass);
    let text = "exit code 3: lag is \\x1b[31m90s";
    assert_eq!(seen(sh("echo; echo 'lag is \x1b[31m90s'; echo more; exit 3")).await, fail(text));
    let text = "exit code 3: no route";
    assert_eq!(seen(sh("echo all well; echo no route >&2; exit 3")).await, fail(text));
    assert_eq!(seen(sh("kill -SEGV $$")).await, fail("killed by SIGSEGV"));
    let text = "cannot run `/nonexistent/check`: No such file or directory (os error 2)";
    assert_eq!(seen(exec(&["/nonexistent/check"])).await, error(text));
    assert_eq!(seen(exec(&[])).await, error("the command is empty"));
}

#[tokio::test]
async fn it_is_run_by_the_user() {
    let nobody =
        ExecProbe { user: Some("nobody".into()), ..sh("id -un; id -G; echo $HOME $USER; exit 1 >&2") };
    assert_eq!(seen(nobody).await, fail("exit code 1: nobody"));
    let script =
        r#"[ "$(id -un) $(id -G) $HOME $USER $NOTIFY_SOCKET" = "nobody $(id -g) /nonexistent nobody " ]"#;
    assert_eq!(seen(ExecProbe { user: Some("nobody".into()), ..sh(script) }).await, Answer::Pass);
    let unknown = ExecProbe { user: Some("no-such-user".into()), ..exec(&["/bin/true"]) };
    assert_eq!(seen(unknown).await, error("there is no user `no-such-user` in /etc/passwd"));
}

/// The processes that a script of ours wrote the pids of, with their start times.
fn started(file: &std::path::Path) -> Vec<Process> {
    let pids = fs::read_to_string(file).unwrap_or_default();
    pids.split_whitespace().filter_map(|pid| Process::new(pid.parse().ok()?).ok()).collect()
}

/// Killed is not yet gone: whoever adopts it may be slow to take it away.
fn is_gone(process: &Process) -> bool {
    process.stat().map_or(true, |stat| matches!(stat.state, 'Z' | 'X'))
}

async fn gone(process: &Process) {
    for _ in 0..1000 {
        if is_gone(process) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {} lives", process.pid);
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! > {}; echo waiting for the lock; wait", file.display());
    let late = ExecProbe { timeout: 500 * MILLISECOND, ..sh(&script) };
    let (mut probes, mut answers) = Probes::new(1);
    probes.ask(question(1, None, Ask::Probe(Box::new(Probe::Exec(late)))));
    let mut family = Vec::new();
    let answered = loop {
        tokio::select! {
            answered = answers.recv() => break answered.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(5)), if family.len() < 2 => family = started(&file),
        }
    };
    assert_eq!(
        answered.answer,
        fail("`/bin/sh` did not end within 500ms and was killed: waiting for the lock")
    );
    assert_eq!(family.len(), 2);
    for process in &family {
        gone(process).await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_is_killed_and_its_pipe_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let script = format!("sleep 1000 & echo $! > {}; echo left one; exit 4", file.display());
    assert_eq!(seen(sh(&script)).await, fail("exit code 4: left one"));
    for process in started(&file) {
        gone(&process).await;
    }
}

#[tokio::test]
async fn one_that_closes_its_output_is_waited_for() {
    let script = "echo first; exec >&- 2>&-; sleep 0.05; exit 5";
    assert_eq!(seen(sh(script)).await, fail("exit code 5: first"));
    // More than is kept, and more than a pipe holds.
    let script = "head -c 300000 /dev/zero; exit 6";
    let Answer::Fail(text) = seen(sh(script)).await else { panic!() };
    assert!(text.starts_with("exit code 6: \\x00\\x00"), "{text:.40}");
}

#[tokio::test]
async fn numbers_of_programs() {
    let number = |probe| asked(Ask::Number(Box::new(NumberSource::Exec(probe))));
    assert_eq!(number(sh("echo '  12.5 jobs'")).await, Answer::Number(12.5));
    assert_eq!(number(sh("echo -3e2")).await, Answer::Number(-300.0));
    assert_eq!(number(sh("echo many")).await, error("the program printed `many`, which is no number"));
    assert_eq!(number(sh("echo NaN")).await, error("the program printed `NaN`, which is no number"));
    assert_eq!(number(sh("")).await, error("the program printed nothing, and no number"));
    assert_eq!(number(sh("echo 5; exit 1")).await, error("exit code 1: 5"));
}

#[tokio::test]
async fn in_a_control_group_nothing_escapes() {
    let hierarchies = crate::sample::cgroup::Groups::mounted().unwrap();
    let parent = hierarchies.v2.unwrap().join(format!("processguard-test-probes-{}", std::process::id()));
    fs::create_dir(&parent).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    // The first one leaves its process group; the second one ends by itself.
    let script = format!("setsid sleep 1000 & echo $! > {}; exit 4", file.display());
    for (script, timeout, text) in [
        (
            script.replace("exit 4", "wait"),
            500 * MILLISECOND,
            "`/bin/sh` did not end within 500ms and was killed",
        ),
        (script, 20 * SECOND, "exit code 4"),
    ] {
        let (mut probes, mut answers) = Probes::new(1);
        probes.put_programs_below(parent.clone());
        let probe = Probe::Exec(ExecProbe { timeout, ..sh(&format!("sleep 0.05; {script}")) });
        probes.ask(question(1, Some("check"), Ask::Probe(Box::new(probe))));
        assert_eq!(answers.recv().await.unwrap().answer, fail(text));
        for process in started(&file) {
            gone(&process).await;
        }
    }
    // Some end before they can be put anywhere.
    let (mut probes, mut answers) = Probes::new(1);
    probes.put_programs_below(parent.clone());
    for id in 0..30 {
        probes.ask(question(id, Some("check"), Ask::Probe(Box::new(Probe::Exec(exec(&["/bin/true"]))))));
        assert_eq!(answers.recv().await.unwrap().answer, Answer::Pass);
    }
    // That says also that nothing is left in it, and no group below.
    fs::remove_dir(&parent).unwrap();
}

#[tokio::test]
async fn whoever_is_not_waited_for_any_more_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    let ask = |script: &str| Ask::Probe(Box::new(Probe::Exec(sh(script))));
    let (mut probes, mut answers) = Probes::new(1);
    probes.ask(question(
        1,
        Some("check"),
        ask(&format!("sleep 1000 & echo $$ $! > {}; wait", file.display())),
    ));
    let mut family = Vec::new();
    while family.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        family = started(&file);
    }
    probes.ask(question(2, Some("check"), ask("exit 0")));
    assert_eq!(answers.recv().await.unwrap().answer, error("given up: a newer question took its place"));
    assert_eq!(answers.recv().await.unwrap().answer, Answer::Pass);
    for process in &family {
        gone(process).await;
    }
}
