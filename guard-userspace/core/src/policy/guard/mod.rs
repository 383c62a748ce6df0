//! Guards: conditions in CEL, where thresholds do not suffice.
//!
//! ```text
//! when: "restarts_left > 1 && !(weekday == 1 && hour < 6)"
//! ```
//! A guard is compiled when its policy is read, on a thread of its own, and every part of it has a known type: what it asks for
//! is known ([`VARIABLES`]), it has no loops, and its result is true or false. So its cost is bounded by its length.

mod compile;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cel::{Context, Program, Value};
use serde_json::{Value as Json, json};

pub(crate) use compile::Compiler;
pub use types::{Type, VARIABLES};

use super::read::{Reader, Text};
use super::schema::Schema;
use super::yaml::{Node, Spot};
use super::{Code, Diagnostic, Place, read};

/// Bytes of a guard at most: a screen's width, a few times.
pub const LENGTH: usize = 1024;

/// Brackets and signs inside each other at most.
pub const DEPTH: usize = 24;

/// A condition that was checked when it was loaded.
#[derive(Clone)]
pub struct Guard {
    source: Arc<str>,
    program: Arc<Program>,
}

impl Guard {
    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// It cannot be told, and why: a value that is not known, a division by zero. That counts as no.
    pub fn holds(&self, facts: &Facts) -> Result<bool, String> {
        match self.program.execute(&facts.context()) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Why a guard is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Which part of it, in bytes.
    pub(crate) part: Option<(usize, usize)>,
}

impl Fault {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, part: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl read::Value for Guard {
    fn schema(schema: &mut Schema) -> Json {
        schema.define_once("condition", || {
            let names: Vec<String> = VARIABLES.iter().map(|one| format!("`{}` ({})", one.0, one.2)).collect();
            let text = format!("A condition in CEL. It can ask for {}.", names.join(", "));
            json!({ "description": text, "type": "string", "minLength": 1, "maxLength": LENGTH })
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = Text::read(node, reader)?.0;
        match reader.guards.compile(&text) {
            Ok(guard) => Some(guard),
            Err(fault) => {
                let place =
                    fault.part.map_or_else(|| node.spot.into(), |part| part_of(node.spot, &text, part));
                let mut diagnostic = Diagnostic::new(fault.code, place, fault.message);
                diagnostic.help = fault.help;
                reader.say(diagnostic);
                None
            }
        }
    }
}

/// Where a part of a text stands, if the text stands in the file as it is.
fn part_of(spot: Spot, text: &str, (start, end): (usize, usize)) -> Place {
    let whole = Place::from(spot);
    let quotes = match (whole.range.len().checked_sub(text.len()), text.lines().count()) {
        (Some(0), 1) => 0,
        (Some(2), 1) => 1,
        _ => return whole,
    };
    let begin = whole.range.start + quotes;
    Place { range: begin + start.min(text.len())..begin + end.min(text.len()), ..whole }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

/// What a guard can ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `service`: its name.
    pub service: String,
    /// `instance`: counted from 0; `None` is -1: the service as one.
    pub instance: Option<u32>,
    /// `labels`: the service's.
    pub labels: BTreeMap<String, String>,
    /// `state`: of the service, in lower case.
    pub state: String,
    /// `check`: the name of the check whose ladder this is.
    pub check: String,
    /// `checks`: the states of all checks of the subject: `unknown`, `passing`, `failing`.
    pub checks: BTreeMap<String, String>,
    /// `value`: the last measured value of the check, in the signal's base unit. `None`: asking for it is an error.
    pub value: Option<f64>,
    /// `failing_for`: how long the check has failed, in seconds.
    pub failing_for: f64,
    /// `restarts`: in the window of the service's budget.
    pub restarts: u32,
    /// `restarts_left`: what the service's budget still gives.
    pub restarts_left: u32,
    /// `instances`: how many run.
    pub instances: u32,
    /// `ready`: how many of them are ready.
    pub ready: u32,
    /// Seconds since the epoch, from which `hour`, `minute` and `weekday` (1 is Monday) come; UTC.
    pub epoch_seconds: i64,
}

impl Facts {
    fn context(&self) -> Context<'static, 'static> {
        const DAY: i64 = 86_400;
        let mut context = Context::default();
        let seconds = self.epoch_seconds.rem_euclid(DAY);
        // 1 January 1970 was a Thursday.
        let weekday = (self.epoch_seconds.div_euclid(DAY) + 3).rem_euclid(7) + 1;
        let numbers = [
            ("instance", self.instance.map_or(-1, i64::from)),
            ("restarts", self.restarts.into()),
            ("restarts_left", self.restarts_left.into()),
            ("instances", self.instances.into()),
            ("ready", self.ready.into()),
            ("hour", seconds / 3600),
            ("minute", seconds / 60 % 60),
            ("weekday", weekday),
        ];
        for (name, number) in numbers {
            context.add_variable_from_value(name, number);
        }
        for (name, text) in [("service", &self.service), ("state", &self.state), ("check", &self.check)] {
            context.add_variable_from_value(name, text.as_str());
        }
        for (name, map) in [("labels", &self.labels), ("checks", &self.checks)] {
            let map: HashMap<_, _> = map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            context.add_variable_from_value(name, map);
        }
        context.add_variable_from_value("failing_for", self.failing_for);
        if let Some(value) = self.value {
            context.add_variable_from_value("value", value);
        }
        context
    }
}

#[cfg(test)]
mod tests;
