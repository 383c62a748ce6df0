//! Policies held against a recorded stream: the same stream gives the same plans, and what cannot be read is said.
//!
//! `policies/recordings/shop` is what `processguard trace` saw of a real shop on one host. Its golden file is the same everywhere:
//! here, on the kernels of the matrix (`tests/host/policies.rs`), wherever these tests run. `BLESS=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use guard_core::policy::{PolicySet, load};
use guard_core::rehearse;
use guard_userspace::policy::files::{self, Wanted};
use guard_userspace::policy::recorded::watch;

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/recordings/shop")
}

fn policies() -> PolicySet {
    let found = files::find(&[shop()], Wanted::Policies).unwrap();
    let texts = files::read(found).unwrap();
    let sources: Vec<_> = texts.iter().map(files::Text::source).collect();
    load(&sources).set.unwrap()
}

/// What is decided, as text.
fn decided(stream: &Path, set: &PolicySet, seed: u64) -> String {
    let watched = watch(stream, set, seed).unwrap();
    assert!(watched.damage.is_none());
    rehearse::diary(watched.clock, &watched.entries)
}

fn processguard(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_processguard"));
    command.args(["policy", "test"]).args(arguments).current_dir(shop()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The issue's number of runs at full scale, a tenth of it otherwise.
fn runs() -> u32 {
    if std::env::var("PROCESSGUARD_SCALE").is_ok_and(|scale| scale == "full") { 1_000 } else { 100 }
}

#[test]
fn it_decides_as_its_golden_file_says() {
    let golden: &[&str] =
        &["--recording", "shop.json", "--policies", "policy.yaml", "--golden", "shop.golden"];
    let output = match std::env::var_os("BLESS") {
        Some(_) => processguard(&[golden, &["--bless"]].concat()),
        None => processguard(golden),
    };
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // All that a recording can show is in it: ends and restarts, a budget that is spent, a ladder, who is not there.
    let golden = fs::read_to_string(shop().join("shop.golden")).unwrap();
    for part in [
        "would #1 restart by /opt/shop/bin/job",
        "would #2 restart the unit shop-web.service",
        "2 restarts in 10m are spent",
        "memory.rss was above 40MiB for 2s, now 67.3MiB since 08:58:26; step 1 of 2",
        "step 2 of 2; 4 of 5 restarts left",
        "exits by signal in 1m is 3, above 2",
        "killed by SIGTERM from perl",
        "not watched, because no process of theirs is in it: absent",
    ] {
        assert!(golden.contains(part), "{part} is not in\n{golden}");
    }
}

#[test]
fn another_decision_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let golden = directory.path().join("other.golden");
    let right = fs::read_to_string(shop().join("shop.golden")).unwrap();
    fs::write(&golden, right.replace("would #2 restart the unit", "would #2 stop the unit")).unwrap();
    let golden = golden.to_str().unwrap();
    let output = processguard(&["--recording", "shop.json", "--policies", "policy.yaml", "--golden", golden]);
    assert_eq!(output.status.code(), Some(8));
    let told = text(&output.stdout);
    assert!(told.contains("    - 08:58:25.276  web       would #2 stop the unit"), "{told}");
    assert!(told.contains("    + 08:58:25.276  web       would #2 restart the unit"), "{told}");
}

#[test]
fn the_same_stream_decides_the_same_a_thousand_times() {
    let (stream, set) = (shop().join("shop.json"), policies());
    let first = decided(&stream, &set, 1);
    for _ in 1..runs() {
        assert!(decided(&stream, &set, 1) == first);
    }
    // It is the dice that would make a difference, if anything does: other ones do.
    assert!(decided(&stream, &set, 2) != first);
}

/// Hash seeds, addresses and the environment are other ones in each process.
#[test]
fn the_same_stream_decides_the_same_in_a_thousand_processes() {
    let program = env!("CARGO_BIN_EXE_processguard");
    let mut first = None;
    for run in 0..runs() {
        let mut command = Command::new(program);
        command.args(["policy", "test", "--json", "--recording", "shop.json", "--policies", "policy.yaml"]);
        command.env("TZ", ["UTC", "Asia/Kathmandu"][run as usize % 2]).env("RUN", run.to_string());
        let output = command.current_dir(shop()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let plans = first.get_or_insert_with(|| output.stdout.clone());
        assert!(*plans == output.stdout, "run {run}");
    }
    let first = text(&first.unwrap());
    assert!(first.lines().filter(|line| line.contains("policy_plan")).count() >= 10, "{first}");
}

#[test]
fn the_order_of_policies_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let policy = fs::read_to_string(shop().join("policy.yaml")).unwrap();
    let documents: Vec<&str> = policy.split("---\n").collect();
    assert_eq!(documents.len(), 4);
    let names: Vec<String> = documents
        .iter()
        .rev()
        .enumerate()
        .map(|(number, document)| {
            let path = directory.path().join(format!("{number}.yaml"));
            fs::write(&path, document).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let mut arguments = vec!["--recording", "shop.json", "--golden", "shop.golden"];
    arguments.extend(names.iter().flat_map(|name| ["--policies", name]));
    let output = processguard(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_read_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("empty.json"), "").unwrap();
    fs::write(path("foreign.json"), "{\"level\": \"info\", \"msg\": \"hello\"}\n").unwrap();
    fs::write(path("foreign.png"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    fs::write(path("foreign.pgrec"), b"PGREC, but of nobody").unwrap();
    fs::create_dir(path("nothing")).unwrap();
    fs::create_dir(path("foreign")).unwrap();
    fs::write(path("foreign/notes.txt"), "nothing").unwrap();
    let cases: [(&str, i32, &[&str]); 8] = [
        ("missing.json", 6, &["cannot open input", "missing.json", "No such file", "trace --format json"]),
        ("empty.json", 6, &["there is no event in", "empty.json", "record while"]),
        ("foreign.json", 6, &["foreign.json:1:", "missing field", "one object a line"]),
        ("foreign.png", 6, &["foreign.png:1:", "one object a line"]),
        ("foreign.pgrec", 6, &["foreign.pgrec"]),
        ("nothing", 6, &["there is no recording in", "nothing", "`processguard record` writes to"]),
        ("foreign", 6, &["there is no recording in", "foreign"]),
        ("-", 2, &["read twice", "save it to a file first"]),
    ];
    for (name, code, pieces) in cases {
        let given = if name == "-" { name.to_owned() } else { path(name) };
        let output = processguard(&["--recording", &given, "--policies", "policy.yaml"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert_eq!(text(&output.stdout), "", "{name}");
        assert!(said.starts_with("processguard: ") && said.lines().count() == 1, "{name}: {said}");
        for piece in pieces {
            assert!(said.contains(piece), "{name}: {piece:?} is not in {said}");
        }
    }
}

/// Nothing happened, and the stream says so.
#[test]
fn a_stream_without_events_that_tells_its_end_is_no_error() {
    let stream = fs::read_to_string(shop().join("shop.json")).unwrap();
    let summary = stream.lines().last().unwrap();
    assert!(summary.contains("\"summary\""), "{summary}");
    let directory = tempfile::tempdir().unwrap();
    let quiet = directory.path().join("quiet.json");
    fs::write(&quiet, format!("{summary}\n")).unwrap();
    let output = processguard(&["--recording", quiet.to_str().unwrap(), "--policies", "policy.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// A writer that was killed: all that it wrote is watched, and its end is told.
#[test]
fn a_stream_that_is_cut_short_is_watched_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fs::read(shop().join("shop.json")).unwrap();
    let file = directory.path().join("cut.json");
    fs::write(&file, &whole[..whole.len() * 2 / 3]).unwrap();
    let output = processguard(&["--recording", file.to_str().unwrap(), "--policies", "policy.yaml"]);
    assert_eq!(output.status.code(), Some(6));
    let said = text(&output.stderr);
    assert!(said.contains("cut.json:") && said.contains("the last line is cut short"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let golden = fs::read_to_string(shop().join("shop.golden")).unwrap();
    let told = text(&output.stdout);
    let told: Vec<&str> = told.lines().filter(|line| line.contains(" would ")).collect();
    let expected: Vec<&str> = golden.lines().filter(|line| line.contains(" would ")).collect();
    assert!(told.len() >= 5 && told.len() < expected.len(), "{told:#?}");
    assert_eq!(told, expected[..told.len()]);
}

/// A gap that hides how a service ended: its end is found out by the comparison that follows, and how it ended is not known.
#[test]
fn a_gap_in_a_stream_hides_what_was_lost_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fs::read_to_string(shop().join("shop.json")).unwrap();
    let is_end = |line: &&str| line.contains(r#""action":"exit""#) && line.contains("/opt/shop/bin/job");
    let hidden = whole.lines().position(|line| is_end(&line)).unwrap();
    let time = |line: &str| {
        let (_, rest) = line.split_once(r#""boottime_ns":"#).unwrap();
        rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().to_owned()
    };
    let lost = whole.lines().nth(hidden).unwrap();
    let (stamp, _) = lost.split_once(r#""event":"#).unwrap();
    let boot = lost.split_once(r#""boot":{"id":""#).unwrap().1.get(..36).unwrap();
    let gap = format!(
        r#"{stamp}"event":{{"kind":"event","category":["process"],"type":["info"],"action":"gap","sequence":1}},"ecs":{{"version":"8.17.0"}},"host":{{"boot":{{"id":"{boot}"}}}},"processguard":{{"boottime_ns":{},"cpu":0,"lost":[{{"kind":"exit","cause":"ring_full","cpu":0,"count":1}}]}}}}"#,
        time(lost)
    );
    let lines: Vec<&str> = whole
        .lines()
        .enumerate()
        .map(|(number, line)| if number == hidden { gap.as_str() } else { line })
        .collect();
    let file = directory.path().join("gap.json");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let output = processguard(&["--recording", file.to_str().unwrap(), "--policies", "policy.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let golden = fs::read_to_string(shop().join("shop.golden")).unwrap();
    let told = text(&output.stdout);
    let of = |text: &str, whose: &str| {
        // Numbers of actions and waits that dice chose are other ones if one action less is planned before.
        let lines = text.lines().filter(|line| line.contains(" would ") && line.contains(whose));
        lines.count()
    };
    assert_eq!(of(&told, "shop-web.service"), of(&golden, "shop-web.service"), "{told}");
    assert!(of(&told, "/opt/shop/bin/job") <= of(&golden, "/opt/shop/bin/job"), "{told}");
    assert!(!told.contains("08:58:24.206"), "an end that was lost was seen\n{told}");
}
