//! `processguard top`: the processes of this host, live.
//!
//! ```text
//!  kernel -> feed -> Source -> Model (rows, groups, deaths, losses)     pure
//!  keys   -> Input -> State (view, order, filter, selection)            pure
//!                     order::lines(Model, State) -> view::draw -> Screen
//! ```
//! One thread, one loop. The screen is painted once an interval and after each key; while it is
//! paused only keys paint it, from a copy of the model that stands still.

mod deaths;
mod details;
mod groups;
mod header;
mod help;
mod input;
mod keys;
mod model;
mod once;
mod order;
mod restarts;
mod source;
mod state;
mod table;
mod terminal;
mod text;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::clock::{self, Stamp};
use crate::exit::Failure;
use crate::names::Users;
use crate::sensor;
use crate::show::when;
use crate::stop::{self, Stop};
pub use help::KEYS;
use input::Input;
use keys::Key;
use model::Model;
pub use order::{Sort, View};
use source::{Live, Source};
use state::{Ask, State};
use terminal::Screen;
use view::{Context, Palette};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the sensor observes.
    pub sensor: sensor::Options,
    /// How often everything is sampled and painted.
    pub interval: Duration,
    /// Processes whose descendants alone are shown; empty: all.
    pub trees: Vec<u32>,
    /// How the table is arranged at first.
    pub view: View,
    /// What it is sorted by at first; `None`: what suits the view.
    pub sort: Option<Sort>,
    /// What lines must contain at first.
    pub filter: String,
    /// Whether colours may be used.
    pub color: bool,
}

/// A picture instead of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Shows the processes until `q` or a request to stop.
///
/// # Errors
/// If there is no terminal, or the sensor cannot be attached or read.
pub fn run(options: Options) -> Result<(), Failure> {
    let terminals = [rustix::termios::isatty(io::stdin()), rustix::termios::isatty(io::stdout())];
    if terminals.contains(&false) || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        let text = "top needs a terminal that can place text, for its keys and its screen; --once prints one picture without";
        return Err(Failure::Usage(text.to_owned()));
    }
    runtime()?.block_on(interactive(options))
}

/// Prints one picture: what was used and what happened during one interval.
///
/// # Errors
/// If the sensor cannot be attached or read, or standard output be written.
pub fn run_once(options: Options, form: Once) -> Result<(), Failure> {
    runtime()?.block_on(once::print(options, form))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Failure::System { action: "start the event loop", source })
}

/// Model and state as the options want them, and what pictures need beside.
fn begin(options: &Options) -> Result<(Model, State, Context), Failure> {
    let boot = clock::boot_id().map_err(|source| Failure::System { action: "read the boot id", source })?;
    let mut state = State::default();
    state.wish.view = options.view;
    state.wish.sort = options.sort;
    state.wish.filter = options.filter.to_lowercase();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let context = Context {
        host,
        users: Users::read(),
        stamp: Stamp { boot, utc_offset_ns: clock::utc_offset_ns() },
        zone_s: 0,
        palette: Palette { color: options.color },
    };
    Ok((Model::new(options.trees.clone()), state, context))
}

async fn interactive(options: Options) -> Result<(), Failure> {
    let (mut model, state, context) = begin(&options)?;
    let stop = Stop::listen().map_err(|source| Failure::System { action: "handle signals", source })?;
    // The sensor first: what it has to complain about belongs on the screen that stays.
    let source = Live::attach(&options.sensor, &mut model)?;
    let signals = Signals::listen().map_err(|source| Failure::System { action: "handle signals", source })?;
    let (input, output) = (io::stdin().as_raw_fd(), io::stdout().as_raw_fd());
    let taken = Screen::take(input, output).and_then(|screen| Ok((screen, Input::new(input)?)));
    let (screen, input) =
        taken.map_err(|source| Failure::System { action: "take over the terminal", source })?;
    let mut top = Top { source, model, still: None, state, context, screen };
    match top.until_stopped(input, signals, &stop, options.interval).await {
        // The terminal has gone, or takes nothing any more: nobody is there to be told.
        Err(Ended::Terminal(error)) if has_gone(&error) => Ok(()),
        Err(Ended::Terminal(source)) => Err(Failure::System { action: "use the terminal", source }),
        Err(Ended::Failed(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

fn has_gone(error: &io::Error) -> bool {
    let gone = [libc::EIO, libc::ENXIO, libc::ENODEV, libc::EPIPE];
    stop::requested()
        || error.kind() == io::ErrorKind::UnexpectedEof
        || error.raw_os_error().is_some_and(|number| gone.contains(&number))
}

/// Why the loop ended early.
enum Ended {
    Terminal(io::Error),
    Failed(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Signals that are no requests to stop.
struct Signals {
    resized: Signal,
    suspend: Signal,
    continued: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            continued: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }
}

/// Everything that the loop owns. The screen comes first when it is dropped: who quit has a usable
/// terminal before the programs are detached.
struct Top<S> {
    screen: Screen,
    source: S,
    model: Model,
    /// The model as it was when the screen was paused.
    still: Option<Box<Model>>,
    state: State,
    context: Context,
}

impl<S: Source> Top<S> {
    async fn until_stopped(
        &mut self,
        mut input: Input,
        mut signals: Signals,
        stop: &tokio::io::unix::AsyncFd<Stop>,
        interval: Duration,
    ) -> Result<(), Ended> {
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Keys and the clock before events: a storm must not hold up the person at the screen.
            tokio::select! {
                biased;
                _ = stop.readable() => return Ok(()),
                keys = input.keys() => {
                    for key in keys? {
                        if self.key(key)? {
                            return Ok(());
                        }
                    }
                    self.paint()?;
                }
                _ = signals.resized.recv() => {
                    self.screen.repaint()?;
                    self.paint()?;
                }
                _ = signals.suspend.recv() => {
                    self.screen.suspend()?;
                    self.paint()?;
                }
                _ = signals.continued.recv() => {
                    self.screen.resume()?;
                    self.paint()?;
                }
                _ = tick.tick() => {
                    let looked_at = self.state.looked_at(&self.model);
                    self.source.sample(&mut self.model, looked_at.as_deref())?;
                    if self.still.is_none() {
                        self.paint()?;
                    }
                }
                ready = self.source.ready() => {
                    ready?;
                    self.source.events(&mut self.model);
                }
            }
        }
    }

    /// Takes in a key; true if it is the last one.
    fn key(&mut self, key: Key) -> Result<bool, Ended> {
        let shown = self.still.as_deref().unwrap_or(&self.model);
        match self.state.key(shown, key) {
            Some(Ask::Quit) => return Ok(true),
            Some(Ask::Suspend) => self.screen.suspend()?,
            Some(Ask::Repaint) => self.screen.repaint()?,
            None => {}
        }
        match (self.state.paused, self.still.is_some()) {
            (true, false) => self.still = Some(Box::new(self.model.clone())),
            (false, true) => self.still = None,
            _ => {}
        }
        Ok(false)
    }

    fn paint(&mut self) -> io::Result<()> {
        let Self { screen, model, still, state, context, .. } = self;
        context.set_clock();
        let model = still.as_deref().unwrap_or(model);
        screen.draw(|buffer| view::draw(buffer, model, state, context))
    }
}

impl Context {
    /// Reads how far time of day is from time since boot: both may be set while we run.
    fn set_clock(&mut self) {
        self.stamp.utc_offset_ns = clock::utc_offset_ns();
        let unix_ns = self.stamp.unix_ns(clock::boot_ns());
        self.zone_s = when::offset_s(unix_ns.div_euclid(1_000_000_000));
    }
}
