//! Feeds frames to a core: what happened, decided again.
//!
//! The core asks for the same things as the recorder's did. Their answers are in the stream, so what it asks
//! for here is not looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use guard_common::decode;
use guard_common::wire::{self, Kind};
use guard_core::event::{Action, Event, ExitStatus, Gap, LossCause, Lost};
use guard_core::ids::{BootId, ProcId};
use guard_core::process::Table;
use guard_core::{Core, Effect, Input};

use super::frame::{Frame, Process, Start};
use crate::clock::Stamp;
use crate::feed;

/// Processes that a host can have: the kernel's own limit (`PID_MAX_LIMIT`). A longer list is not one.
const PROCESSES: usize = 1 << 22;

/// A core that lives on frames.
#[derive(Debug)]
pub struct Player {
    core: Core,
    stamp: Stamp,
    now_ns: u64,
    /// The sensor whose records these are.
    source: Option<(BootId, u64)>,
    /// Losses told so far.
    told: HashMap<(Kind, LossCause, Option<u32>), u64>,
    table: TableState,
    /// Processes of a resync or of a table that repairs one; `None`: there is none now.
    found: Option<Vec<Process>>,
    taken_ns: u64,
    events: VecDeque<(Stamp, Event)>,
    /// Records by kind.
    seen: [u64; Kind::COUNT],
    undecodable: u64,
}

/// What becomes of a table in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableState {
    /// None was read yet: the next is taken.
    Wanted,
    /// It is being taken.
    Taking,
    /// There is one: what comes is skipped.
    Known,
    /// It is being skipped.
    Skipping,
    /// Records are missing: the next is compared with what is known.
    Doubted,
    /// It is being collected for the comparison.
    Comparing,
}

/// Records that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its records have layout {found}, this version reads layout {}; read it with processguard {writer}",
    wire::VERSION
)]
pub struct OtherLayout {
    /// Layout of the records.
    pub found: u32,
    /// Version that wrote them.
    pub writer: String,
}

impl Default for Player {
    fn default() -> Self {
        Self {
            core: Core::new(feed::LIMITS),
            stamp: Stamp { boot: BootId(0), utc_offset_ns: 0 },
            now_ns: 0,
            source: None,
            told: HashMap::new(),
            table: TableState::Wanted,
            found: None,
            taken_ns: 0,
            events: VecDeque::new(),
            seen: [0; Kind::COUNT],
            undecodable: 0,
        }
    }
}

impl Player {
    /// Takes in a frame.
    ///
    /// # Errors
    /// If records of another layout follow.
    pub fn play(&mut self, frame: Frame<'_>) -> Result<(), OtherLayout> {
        match frame {
            Frame::Start(start) => self.start(start)?,
            Frame::Clock { now_ns, utc_offset_ns } => {
                self.now_ns = now_ns;
                self.core.handle_timeout(now_ns);
                self.collect();
                self.stamp.utc_offset_ns = utc_offset_ns;
            }
            Frame::Record(bytes) => self.record(bytes),
            Frame::TableBegin => self.table_begin(),
            Frame::TableEnd => self.table_end(),
            Frame::Process(process) => self.process(*process),
            Frame::Cgroup { hierarchy, id, path } => {
                if self.table != TableState::Skipping {
                    self.handle(Input::Cgroup { hierarchy, id, path });
                }
            }
            Frame::Losses(losses) => self.losses(&losses),
            Frame::Dropped(lost) => {
                self.table = TableState::Doubted;
                self.handle(Input::Gap(Gap { lost }));
            }
            Frame::ResyncBegin { taken_ns } => {
                self.taken_ns = taken_ns;
                self.found = Some(Vec::new());
            }
            Frame::ResyncEnd => self.resync(),
            Frame::Settled => self.handle(Input::Settled),
            Frame::Program { pid, start_ns, exec_count, program } => {
                let id = ProcId { pid, start_ns };
                self.handle(Input::Program { id, exec_count, program: Arc::new(program) });
            }
            Frame::Sweep => self.handle(Input::Sweep),
            Frame::Tombstone { pid, start_ns, status, time_ns } => {
                let (id, status) = (ProcId { pid, start_ns }, ExitStatus::from_wait(status));
                self.handle(Input::Tombstone { id, status, time_ns });
            }
        }
        self.collect();
        Ok(())
    }

    /// Frames are missing before the next one: nobody counted what.
    pub fn skip(&mut self) {
        self.table = TableState::Doubted;
        self.found = None;
        self.handle(Input::Gap(Gap { lost: Vec::new() }));
        self.collect();
    }

    /// The next event, oldest first, and the clocks of its time.
    pub fn poll_event(&mut self) -> Option<(Stamp, Event)> {
        self.events.pop_front()
    }

    /// Nothing follows: what waited for more evidence waits no longer.
    pub fn finish(&mut self) {
        self.core.handle_timeout(u64::MAX);
        self.collect();
    }

    /// Whether the stream's first process table is complete.
    #[must_use]
    pub fn knows_table(&self) -> bool {
        !matches!(self.table, TableState::Wanted | TableState::Taking)
    }

    /// The process table as of the last frame.
    #[must_use]
    pub fn processes(&self) -> &Table {
        self.core.processes()
    }

    /// The clocks as of the last frame, and the time since boot.
    #[must_use]
    pub const fn now(&self) -> (Stamp, u64) {
        (self.stamp, self.now_ns)
    }

    /// Records so far, by kind, in the order of [`Kind::ALL`].
    #[must_use]
    pub const fn seen(&self) -> &[u64; Kind::COUNT] {
        &self.seen
    }

    /// Records that were none.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    fn handle(&mut self, input: Input<'_>) {
        self.core.handle(self.now_ns, input);
    }

    /// Puts the core's events aside, with the clocks of now.
    fn collect(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            if let Effect::Emit(event) = effect {
                self.events.push_back((self.stamp, event));
            }
        }
    }

    fn start(&mut self, start: Start) -> Result<(), OtherLayout> {
        if start.wire != wire::VERSION {
            return Err(OtherLayout { found: start.wire, writer: start.processguard });
        }
        let source = (start.boot, start.instance);
        if self.source == Some(source) {
            return Ok(());
        }
        let before = self.source.replace(source);
        if start.continues.is_some_and(|instance| before == Some((start.boot, instance))) {
            // The new sensor counts from its own beginning.
            self.told.clear();
            return Ok(());
        }
        let earlier = before.is_some();
        if earlier {
            self.finish();
            // Between the two sensors nobody looked.
            self.core = Core::new(feed::LIMITS);
            self.told.clear();
            self.table = TableState::Wanted;
        }
        self.stamp.boot = start.boot;
        if earlier {
            let action = Action::Gap(Gap { lost: Vec::new() });
            let event = Event { time_ns: start.instance, cpu: 0, sequence: 0, action };
            self.events.push_back((self.stamp, event));
        }
        Ok(())
    }

    fn record(&mut self, bytes: &[u8]) {
        match decode::decode(bytes) {
            Ok(record) => {
                if let Some(seen) = self.seen.get_mut(record.kind().0 as usize) {
                    *seen += 1;
                }
                self.core.handle(self.now_ns, Input::Kernel(record));
            }
            Err(_) => self.undecodable += 1,
        }
    }

    fn table_begin(&mut self) {
        self.table = match self.table {
            TableState::Wanted => TableState::Taking,
            TableState::Doubted => TableState::Comparing,
            _ => TableState::Skipping,
        };
        self.taken_ns = self.now_ns;
        self.found = (self.table == TableState::Comparing).then(Vec::new);
    }

    fn table_end(&mut self) {
        if self.table == TableState::Comparing {
            self.compare();
        }
        self.table = TableState::Known;
    }

    fn process(&mut self, process: Process) {
        match self.table {
            TableState::Taking => {
                let program = process.program.map(Arc::new);
                self.handle(Input::Snapshot { task: process.snapshot.task, program });
            }
            TableState::Skipping => {}
            _ => {
                if let Some(found) = self.found.as_mut().filter(|found| found.len() < PROCESSES) {
                    found.push(process);
                }
            }
        }
    }

    fn resync(&mut self) {
        // Without its beginning it is not known whom it lacks.
        let Some(found) = self.found.take() else { return };
        let found = found.into_iter().map(|process| process.snapshot).collect();
        self.handle(Input::Resync { taken_ns: self.taken_ns, found });
    }

    /// The table that followed dropped records stands for the kernel's own list: it stands at this very
    /// place in the stream.
    fn compare(&mut self) {
        let programs: Vec<_> = self
            .found
            .iter()
            .flatten()
            .filter_map(|process| {
                let task = &process.snapshot.task;
                Some((ProcId::from(task.key), task.exec_count, Arc::new(process.program.clone()?)))
            })
            .collect();
        self.resync();
        self.handle(Input::Settled);
        for (id, exec_count, program) in programs {
            self.handle(Input::Program { id, exec_count, program });
        }
    }

    fn losses(&mut self, losses: &[Lost]) {
        let first = self.table == TableState::Wanted;
        let mut lost = Vec::new();
        // All of them are told each time: those of the last time are all that is kept.
        let before = std::mem::take(&mut self.told);
        for now in losses {
            let key = (now.kind, now.cause, now.cpu);
            let told = self.told.insert(key, now.count).or_else(|| before.get(&key).copied()).unwrap_or(0);
            let count = now.count.saturating_sub(told);
            if count > 0 {
                lost.push(Lost { count, ..*now });
            }
        }
        // What was lost before the table was made does not concern it.
        if !first && !lost.is_empty() {
            self.handle(Input::Gap(Gap { lost }));
        }
    }
}
