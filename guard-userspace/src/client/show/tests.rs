//! Documents, each beside what is shown of it: `golden/NAME.json` and `.txt`, with colours `.color`. `UPDATE_GOLDEN=1`
//! writes what is shown anew.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::*;
use crate::daemon::view;

/// The moment of all these documents: 1000 s after boot, which was at 2026-11-23 02:00:00 UTC.
const NOW_NS: u64 = 1_000_000_000_000;
const BOOT_UNIX_NS: i64 = 1_795_399_200_000_000_000;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/show/golden").join(name)
}

fn compare<T: DeserializeOwned>(name: &str, show: impl Fn(&Look, &T) -> String) {
    let json = fs::read_to_string(file(&format!("{name}.json"))).unwrap();
    let document: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (form, color) in [("txt", false), ("color", true)] {
        let now_unix_ns = BOOT_UNIX_NS + i64::try_from(NOW_NS).unwrap();
        let shown = show(&Look { color, now_ns: NOW_NS, now_unix_ns, zone_s: Some(3600) }, &document);
        let path = file(&format!("{name}.{form}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shown == expected,
            "{} is otherwise; UPDATE_GOLDEN=1 if this is right:\n{shown}",
            path.display()
        );
        assert!(shown.lines().all(|line| line.trim_end() == line), "{name}: spaces at a line's end");
    }
}

#[test]
fn documents_as_they_are_shown() {
    compare::<view::Status>("status", status);
    compare::<view::Service>("service", service);
    compare::<view::Incidents>("incidents", incidents);
    compare::<view::Incident>("incident", incident);
    compare::<view::Inventory>("inventory", inventory);
    compare::<view::Generations>("generations", generations);
    compare::<view::Flags>("flags", flags);
    compare::<view::Approvals>("approvals", approvals);
}

#[test]
fn nothing_hidden_reaches_a_terminal() {
    let names =
        ["status", "service", "incidents", "incident", "inventory", "generations", "flags", "approvals"];
    for name in names {
        let shown = fs::read_to_string(file(&format!("{name}.txt"))).unwrap();
        assert!(!shown.chars().any(|letter| letter != '\n' && escape::is_hidden(letter)), "{name}");
    }
    let json =
        "{\"@timestamp\":\"2026-11-23T02:00:00.5Z\",\"service.name\":\"a\\u001b[m\",\"message\":\"x\\ny\"}";
    let look = Look { color: false, now_ns: 0, now_unix_ns: 0, zone_s: Some(0) };
    assert_eq!(event(&look, json), "2026-11-23 02:00:00.500  a\\x1b[m           x\\ny");
    assert_eq!(event(&look, "\u{1b}no JSON"), "\\x1bno JSON");
}

#[test]
fn times_that_people_say() {
    let look = Look { color: false, now_ns: NOW_NS, now_unix_ns: 0, zone_s: Some(0) };
    let at = |boottime_ns| At { utc: String::new(), boottime_ns };
    assert_eq!(look.ago(&at(NOW_NS)), "just now");
    assert_eq!(look.ago(&at(NOW_NS - 59_900_000_000)), "59s ago");
    assert_eq!(look.ago(&at(NOW_NS - 200_000_000_000)), "3m ago");
    assert_eq!(
        look.ago(&at(NOW_NS + 5)),
        "just now",
        "clocks of two processes may differ by some nanoseconds"
    );
    assert_eq!(look.until(&at(NOW_NS + 5_000_000_000)), "in 5s");
    assert_eq!((coarse(7_200_000_000_000), coarse(172_800_000_000_000)), ("2h".to_owned(), "2d".to_owned()));
    assert_eq!(look.ago_utc("no time \u{1b}"), "no time \\x1b");
}
