//! A queue with what it holds on a page of Prometheus's format, and workers that drain it.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::lives::{began, told};
use super::{Args, http};

/// How often a worker takes something, and how often the queue's length is written down.
const TAKES: Duration = Duration::from_millis(100);
const WRITTEN: Duration = Duration::from_secs(1);

/// The orders that came and went.
struct Queue {
    length: f64,
    /// A second.
    arrives: f64,
    since: Instant,
    taken: u64,
}

impl Queue {
    fn pass(&mut self) {
        self.length += self.since.elapsed().as_secs_f64() * self.arrives;
        self.since = Instant::now();
    }

    fn take(&mut self, most: u64) -> u64 {
        let taken = most.min(self.length as u64);
        self.length -= taken as f64;
        self.taken += taken;
        taken
    }
}

/// `queue --port N [--arrives R] [--length N] [--metric NAME] [--group NAME]`: `/metrics` has its length, `/take/N` gives
/// up to N orders, `/arrives/R` changes how many come each second.
pub(super) fn serve(args: &Args) -> Result<()> {
    let text = |key: &str, default: &str| {
        args.get(key).map_or_else(|| default.into(), |text| text.to_string_lossy().into_owned())
    };
    let (metric, group) = (text("metric", "queue_length"), text("group", "orders"));
    let listener = http::listen(args.number("port", 9308)?)?;
    began(args, "queue", json!({}))?;
    let queue = Arc::new(Mutex::new(Queue {
        length: args.number("length", 0.0)?,
        arrives: args.number("arrives", 100.0)?,
        since: Instant::now(),
        taken: 0,
    }));
    let served = Arc::clone(&queue);
    let handler = move |path: &str| {
        let mut queue = served.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pass();
        let (verb, number) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        Some(match (verb, number.parse::<u64>()) {
            ("/metrics", _) => {
                (200, format!("# TYPE {metric} gauge\n{metric}{{group=\"{group}\"}} {:.0}\n", queue.length))
            }
            ("take", Ok(most)) => (200, queue.take(most).to_string()),
            ("arrives", Ok(rate)) => {
                queue.arrives = rate as f64;
                (200, String::new())
            }
            _ => (404, String::new()),
        })
    };
    thread::spawn(move || http::serve(&listener, Arc::new(handler)));
    loop {
        thread::sleep(WRITTEN);
        let (length, taken) = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.pass();
            (queue.length as u64, queue.taken)
        };
        told(args, "length", json!({ "length": length, "taken": taken }))?;
    }
}

/// `queue-worker --queue PORT [--rate R]`: takes up to so many orders each second; says `READY=1` where it is asked to.
pub(super) fn work(args: &Args) -> Result<()> {
    let (port, rate): (u16, f64) = (args.number("queue", 9308)?, args.number("rate", 150.0)?);
    began(args, "queue-worker", json!({ "rate": rate }))?;
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let socket = UnixDatagram::unbound().context("socket")?;
        socket.send_to(b"READY=1\n", &path).with_context(|| path.display().to_string())?;
    }
    let (start, mut asked) = (Instant::now(), 0);
    loop {
        thread::sleep(TAKES);
        let due = (start.elapsed().as_secs_f64() * rate) as u64 - asked;
        asked += due;
        // A queue that is away is asked again.
        if let Err(error) = http::ask(port, &format!("/take/{due}")) {
            eprintln!("guard-workload: the queue: {error:#}");
        }
    }
}
