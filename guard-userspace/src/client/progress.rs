//! A line for people, where something takes more than a second.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::show::compact::short_duration;
use crate::show::escape;

/// How long people wait without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line moves.
const TURN: Duration = Duration::from_millis(100);

/// What the line begins with, in turn.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// What is being done, as the line says it.
#[derive(Debug)]
pub struct Progress {
    text: RefCell<String>,
    terminal: bool,
}

impl Progress {
    /// Shown if standard error is a terminal, and nothing else is wanted.
    #[must_use]
    pub fn new(text: &str, quiet: bool) -> Self {
        let terminal = !quiet && rustix::termios::isatty(std::io::stderr());
        Self { text: RefCell::new(text.to_owned()), terminal }
    }

    /// It says this from now on.
    pub fn say(&self, text: String) {
        self.text.replace(text);
    }

    /// Waits for something, with the line if it takes long.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.terminal {
            return work.await;
        }
        let began = Instant::now();
        let mut turns = interval_at(began + PATIENCE, TURN);
        let mut spinner = SPINNER.into_iter().cycle();
        let mut work = std::pin::pin!(work);
        let mut painted = false;
        loop {
            tokio::select! {
                done = &mut work => {
                    if painted {
                        paint("");
                    }
                    return done;
                }
                _ = turns.tick() => {
                    painted = true;
                    let text = escape::message(&self.text.borrow());
                    let took = short_duration(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    paint(&format!("{} {text} ({took})", spinner.next().unwrap_or(' ')));
                }
            }
        }
    }
}

/// The line, instead of what was there.
fn paint(line: &str) {
    // A narrow terminal would break it into lines that stay.
    let columns = match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        // A terminal that does not know how wide it is.
        _ => 80,
    };
    let line: String = line.chars().take(columns - 1).collect();
    // If standard error is closed, nobody wants to know.
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
}
