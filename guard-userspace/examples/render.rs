//! What showing an event costs, on one thread: nanoseconds from the event to its line in memory, to its line
//! in /dev/null, and from a JSON line back to the event.
//!
//! `cargo run --release -p guard-userspace --example render`

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use guard_core::event::{Action, Event};
use guard_userspace::clock::Stamp;
use guard_userspace::filter::{Conditions, Filter};
use guard_userspace::output::{LogFile, Sink};
use guard_userspace::redact::Redactor;
use guard_userspace::show::Renderer;
use guard_userspace::show::compact::CompactWriter;
use guard_userspace::show::json::{JsonWriter, Line, read};
use guard_userspace::show::when::Timestamps;
use guard_userspace::trace::Show;

/// Events rendered in one measurement.
const EVENTS: usize = 600_000;

/// Measurements, of which the fastest counts: the others were disturbed.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/session.json");
    let text = fs::read(&path)?;
    let mut events = Vec::new();
    let mut lines = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        // A fork, an exec and an exit: what every spawn makes.
        if let Line::Event(stamp, event) = read(line)?
            && events.len() < 3
            && matches!(event.action, Action::Fork { .. } | Action::Exec { .. } | Action::Exit { .. })
        {
            events.push((stamp, *event));
            lines.push(line);
        }
    }
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    println!("a spawn is {} events, {bytes} bytes of JSON", events.len());

    let first = events.first().map(|(stamp, _)| *stamp).ok_or("no events")?;
    report("JSON, in memory", &mut in_memory(&events, Renderer::Json(JsonWriter::new(first))));
    report("JSON, to /dev/null", &mut through(&events, || Renderer::Json(JsonWriter::new(first))));
    let compact = || Renderer::Compact(CompactWriter::new(Timestamps::Time, false));
    report("compact, in memory", &mut in_memory(&events, compact()));
    report("compact, to /dev/null", &mut through(&events, compact));
    report("JSON line to event", &mut || {
        for line in lines.iter().cycle().take(EVENTS) {
            let _ = black_box(read(black_box(line)));
        }
    });
    Ok(())
}

fn report(name: &str, run: &mut dyn FnMut()) {
    let fastest = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos()
    });
    let per_event = fastest.min().unwrap_or_default() / EVENTS as u128;
    println!("{name:24}{per_event:>6} ns per event");
}

fn in_memory(events: &[(Stamp, Event)], mut renderer: Renderer) -> impl FnMut() {
    let mut out = Vec::with_capacity(1 << 20);
    move || {
        for (stamp, event) in events.iter().cycle().take(EVENTS) {
            if out.len() > 256 * 1024 {
                out.clear();
            }
            renderer.event(&mut out, stamp, black_box(event));
        }
    }
}

/// The whole way: filter, redactor (without patterns), renderer, and a write for every 256 KiB.
fn through(events: &[(Stamp, Event)], renderer: impl Fn() -> Renderer) -> impl FnMut() {
    move || {
        let Ok(null) = LogFile::open(PathBuf::from("/dev/null"), None) else { return };
        let filter = Filter::new(Conditions::default());
        let mut show = Show::new(filter, Redactor::default(), renderer(), Sink::File(null), None, true);
        for (stamp, event) in events.iter().cycle().take(EVENTS) {
            let _ = show.event(stamp, black_box(event));
        }
        let _ = show.flush();
    }
}
