//! What is to be written as one.

use guard_core::incident::Incident;
use guard_core::supervise::ActionId;

use super::frame::{self, HEADER_BYTES, Value};
use super::kept::{Files, Intent, Life};
use super::schema::{Kind, Statement};
use crate::clock::Stamp;
use crate::daemon::door::Generation;

/// Changes that belong together: all of them are there after a crash, or none.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(super) frame: Vec<u8>,
    stamp: Stamp,
    /// They begin with the end of what they replace.
    pub(super) is_anew: bool,
}

impl Changes {
    /// None yet. Incidents are written with the clock of this stamp.
    #[must_use]
    pub fn new(stamp: Stamp) -> Self {
        let mut frame = Vec::with_capacity(256);
        frame::begin(&mut frame);
        Self { frame, stamp, is_anew: false }
    }

    /// Begins with the removal of what the supervisor saved, of all lives and of intents without an outcome.
    pub(super) fn anew(stamp: Stamp) -> Self {
        let mut changes = Self::new(stamp);
        changes.is_anew = true;
        for of in [Kind::Service, Kind::Shared] {
            changes.change(Statement::DropKind, &[kind(of)]);
        }
        changes.change(Statement::DropLives, &[]).change(Statement::DropUnfinished, &[]);
        changes
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frame.len() <= HEADER_BYTES
    }

    /// Takes all of them back.
    pub fn clear(&mut self) {
        self.is_anew = false;
        frame::begin(&mut self.frame);
    }

    /// What the supervisor saves of a service; `None`: there is no such service any more.
    pub fn put_service(&mut self, name: &str, saved: Option<&str>) -> &mut Self {
        match saved {
            Some(saved) => self.fact(Kind::Service, name, "", Value::Text(saved)),
            None => self
                .change(Statement::DropFact, &[kind(Kind::Service), Value::Text(name), Value::Text("")])
                .change(Statement::DropFacts, &[kind(Kind::Sketch), Value::Text(name)]),
        }
    }

    /// What the supervisor saves of all.
    pub fn put_shared(&mut self, saved: &str) -> &mut Self {
        self.fact(Kind::Shared, "", "", Value::Text(saved))
    }

    /// An instance has this process from now on.
    pub fn put_life(&mut self, life: &Life) -> &mut Self {
        let values = [
            Value::Text(&life.service),
            Value::Int(life.instance.into()),
            Value::Text(&life.room),
            Value::Int(life.pid.into()),
            Value::unsigned(life.start_ns),
            Value::Text(&life.boot.to_string()),
        ];
        self.change(Statement::PutLife, &values)
    }

    /// An instance has none any more, and nothing is left in its room.
    pub fn end_life(&mut self, service: &str, instance: u32) -> &mut Self {
        self.change(Statement::DropLife, &[Value::Text(service), Value::Int(instance.into())])
    }

    /// Something is about to be done.
    pub fn intend(&mut self, intent: &Intent) -> &mut Self {
        let values = [
            Value::unsigned(intent.id.0),
            Value::unsigned(intent.time_ns),
            Value::Text(&intent.boot.to_string()),
            Value::Text(&intent.kind),
            Value::Text(&intent.service),
            intent.instance.map_or(Value::Null, |instance| Value::Int(instance.into())),
            Value::Text(&intent.detail),
        ];
        self.change(Statement::PutAction, &values)
    }

    /// It was done, or failed; whatever became of it, nobody need find out any more.
    pub fn outcome(&mut self, id: ActionId, time_ns: u64, failed: Option<&str>) -> &mut Self {
        let values = [Value::unsigned(id.0), Value::unsigned(time_ns), Value::text_or_null(failed)];
        self.change(Statement::PutOutcome, &values)
    }

    /// An incident, as it is now.
    pub fn put_incident(&mut self, incident: &Incident) -> &mut Self {
        // Numbers and texts only: this cannot fail.
        let Ok(body) = serde_json::to_string(incident) else { return self };
        let closed = incident.closed_ns.map(|closed_ns| self.stamp.unix_ns(closed_ns));
        let values = [
            Value::unsigned(incident.id),
            Value::Text(&incident.service),
            closed.map_or(Value::Null, Value::Int),
            Value::Text(&self.stamp.boot.to_string()),
            Value::Int(self.stamp.utc_offset_ns),
            Value::Text(&body),
        ];
        self.change(Statement::PutIncident, &values)
    }

    /// A set of policies with its files. If it is active it takes the place of the one before.
    pub fn put_generation(&mut self, generation: &Generation, files: &Files) -> &mut Self {
        // Texts only: this cannot fail.
        let (Ok(changes), Ok(files)) =
            (serde_json::to_string(&generation.changes), serde_json::to_string(files))
        else {
            return self;
        };
        let values = [
            Value::unsigned(generation.number),
            Value::Int(generation.accepted_unix_ns),
            Value::unsigned(generation.services as u64),
            Value::Text(&generation.why),
            Value::Text(&changes),
            Value::Text(&files),
        ];
        self.change(Statement::PutGeneration, &values);
        if generation.active {
            self.activate(generation.number, generation.trial_until_unix_ns);
        }
        self
    }

    /// A set of policies that is kept holds from now on, or its trial is over.
    pub fn activate(&mut self, generation: u64, trial_until_unix_ns: Option<i64>) -> &mut Self {
        const TRIAL: &str = "trial_until_unix_ns";
        self.fact(Kind::Policies, "active", "", Value::unsigned(generation));
        match trial_until_unix_ns {
            Some(until) => self.fact(Kind::Policies, TRIAL, "", Value::Int(until)),
            None => {
                self.change(Statement::DropFact, &[kind(Kind::Policies), Value::Text(TRIAL), Value::Text("")])
            }
        }
    }

    /// A flag of this host.
    pub fn put_flag(&mut self, name: &str, on: bool) -> &mut Self {
        self.fact(Kind::Flag, name, "", Value::Int(on.into()))
    }

    /// What was measured of a signal of a service.
    pub fn put_sketch(&mut self, service: &str, signal: &str, sketch: &[u8]) -> &mut Self {
        self.fact(Kind::Sketch, service, signal, Value::Blob(sketch))
    }

    /// A counter.
    pub fn put_counter(&mut self, name: &str, count: u64) -> &mut Self {
        self.fact(Kind::Counter, name, "", Value::unsigned(count))
    }

    /// Whatever is to be kept under a name: up to where the sensor was read.
    pub fn put_note(&mut self, name: &str, note: &[u8]) -> &mut Self {
        self.fact(Kind::Note, name, "", Value::Blob(note))
    }

    /// The boot and its clock.
    pub(super) fn put_stamp(&mut self, stamp: Stamp) -> &mut Self {
        self.stamp = stamp;
        self.fact(Kind::Own, "boot", "", Value::Text(&stamp.boot.to_string()));
        self.fact(Kind::Own, "utc_offset_ns", "", Value::Int(stamp.utc_offset_ns))
    }

    fn fact(&mut self, of: Kind, name: &str, part: &str, value: Value<'_>) -> &mut Self {
        self.change(Statement::PutFact, &[kind(of), Value::Text(name), Value::Text(part), value])
    }

    fn change(&mut self, statement: Statement, values: &[Value<'_>]) -> &mut Self {
        frame::change(&mut self.frame, statement as u8, values);
        self
    }
}

fn kind(kind: Kind) -> Value<'static> {
    Value::Int(kind.number())
}
