//! Guards: conditions in CEL, where thresholds do not suffice.
//!
//! ```text
//! when: "restarts_left > 1 && !(weekday == 1 && hour < 6)"
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cel::{Context, Program, Value};

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
            let map: std::collections::HashMap<_, _> =
                map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            context.add_variable_from_value(name, map);
        }
        context.add_variable_from_value("failing_for", self.failing_for);
        if let Some(value) = self.value {
            context.add_variable_from_value("value", value);
        }
        context
    }
}
