//! What can be measured: names, units, and the keys that each has.

use serde_json::{Value as Json, json};

use crate::policy::model::Unit;
use crate::policy::read::{
    Duration, Number, Percent, Quantity as _, Rate, Reader, Size, Value, Word, read_word,
};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node, Scalar};

/// A signal: a number that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalKind {
    /// As policies write it.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) unit: Unit,
    /// How often it is looked at, if nothing is said.
    pub(crate) every: &'static str,
    /// Over how long, if nothing is said; `None`: it has no window.
    pub(crate) window: Option<&'static str>,
    /// Keys of its own that must be there: all of them, or one of them.
    pub(crate) needs: Needs,
    /// Keys of its own that can be there.
    pub(crate) takes: &'static [&'static str],
}

/// Keys that a signal needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    Nothing,
    All(&'static [&'static str]),
    One(&'static [&'static str]),
}

impl Needs {
    pub(crate) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::All(keys) | Self::One(keys) => keys,
        }
    }
}

/// Keys that only some signals have.
pub(crate) const OWN_KEYS: [&str; 8] =
    ["window", "check", "quantile", "causes", "progress_of", "exec", "json", "prometheus"];

macro_rules! signals {
    ($($(#[doc = $doc:literal])+ $name:literal: $unit:ident, every $every:literal
        $(, window $window:literal)? $(, needs $needs:ident $keys:tt)? $(, takes $takes:tt)?;)+) => {
        /// All of them.
        pub(crate) const SIGNALS: &[SignalKind] = &[$(SignalKind {
            name: $name,
            doc: concat!($($doc),+),
            unit: Unit::$unit,
            every: $every,
            window: signals!(@window $($window)?),
            needs: signals!(@needs $($needs $keys)?),
            takes: signals!(@takes $($takes)?),
        }),+];
    };
    (@window) => { None };
    (@window $window:literal) => { Some($window) };
    (@needs) => { Needs::Nothing };
    (@needs $needs:ident $keys:tt) => { Needs::$needs(&$keys) };
    (@takes) => { &[] };
    (@takes $takes:tt) => { &$takes };
}

signals! {
    /// CPU time, in percent of one core.
    "cpu": Percent, every "1s";
    /// Resident memory.
    "memory.rss": Bytes, every "1s";
    /// Memory in proportion: what is shared counts in part. Dear to measure.
    "memory.pss": Bytes, every "30s";
    /// Memory that was swapped out.
    "memory.swap": Bytes, every "1s";
    /// Share of the control group's memory limit.
    "memory.share": Percent, every "1s";
    /// How fast the memory grows that stays after each fall.
    "memory.growth": BytesPerTime, every "1s", window "5m";
    /// Open files of the process with most.
    "files.open": Number, every "1s";
    /// Share of the limit on open files.
    "files.share": Percent, every "1s";
    /// Threads.
    "threads": Number, every "1s";
    /// Bytes read.
    "io.read": BytesPerTime, every "1s";
    /// Bytes written.
    "io.write": BytesPerTime, every "1s";
    /// How long the answers of the probe `check` took.
    "response.time": Time, every "1s", window "1m", needs All ["check"], takes ["quantile"];
    /// How long threads waited for a CPU once they could run: 99 of 100 no longer.
    "run_queue.p99": Time, every "1s", window "1m";
    /// The longest uninterruptible sleep.
    "uninterruptible.time": Time, every "1s", window "1m";
    /// Share of time in which something waited for a CPU.
    "pressure.cpu": Percent, every "2s";
    /// Share of time in which something waited for memory.
    "pressure.memory": Percent, every "2s";
    /// Share of time in which something waited for input or output.
    "pressure.io": Percent, every "2s";
    /// Restarts, whatever their cause.
    "restarts": Number, every "1s", window "10m";
    /// Ends of main processes with one of these `causes`; without them: all but successes.
    "exits": Number, every "1s", window "10m", takes ["causes"];
    /// Time since the start.
    "age": Time, every "1s";
    /// Time since `progress_of` last changed.
    "progress": Time, every "5s", needs All ["progress_of"];
    /// A number from outside: what a program prints, or a page holds.
    "number": Number, every "10s", needs One ["exec", "json", "prometheus"];
}

impl SignalKind {
    /// Keys of its own.
    pub(crate) fn own_keys(&self) -> impl Iterator<Item = &'static str> {
        let window = self.window.map(|_| "window");
        window.into_iter().chain(self.needs.keys().iter().copied()).chain(self.takes.iter().copied())
    }

    /// Keys of other signals.
    pub(crate) fn foreign_keys(&self) -> impl Iterator<Item = &'static str> {
        OWN_KEYS.into_iter().filter(|key| !self.own_keys().any(|own| own == *key))
    }

    /// What holds for its other keys, as JSON Schema.
    pub(crate) fn schema(&self, schema: &mut Schema) -> Json {
        let bound = match self.unit {
            Unit::Percent => Percent::schema(schema),
            Unit::Bytes => Size::schema(schema),
            Unit::BytesPerTime => Rate::schema(schema),
            Unit::Time => Duration::schema(schema),
            Unit::Number => Number::schema(schema),
        };
        let mut properties = serde_json::Map::new();
        for key in ["above", "below", "clear_above", "clear_below"] {
            properties.insert(key.to_owned(), bound.clone());
        }
        for key in self.foreign_keys() {
            properties.insert(key.to_owned(), json!(false));
        }
        let mut then = json!({ "properties": properties });
        if let Json::Object(then) = &mut then
            && !schema.is_partial()
        {
            match self.needs {
                Needs::Nothing => {}
                Needs::All(keys) => {
                    then.insert("required".to_owned(), json!(keys));
                }
                Needs::One(keys) => {
                    let each: Vec<Json> = keys.iter().map(|key| json!({ "required": [key] })).collect();
                    then.insert("oneOf".to_owned(), json!(each));
                }
            }
        }
        json!({
            "if": { "properties": { "signal": { "const": self.name } }, "required": ["signal"] },
            "then": then,
        })
    }
}

impl Value for &'static SignalKind {
    fn schema(schema: &mut Schema) -> Json {
        schema.define_once("signal-kind", || {
            let words = SIGNALS.iter().map(|signal| Word { word: signal.name, doc: signal.doc });
            Word::schema(&words.collect::<Vec<_>>())
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let words: Vec<&'static str> = SIGNALS.iter().map(|signal| signal.name).collect();
        let word = read_word(node, &words, reader)?;
        SIGNALS.iter().find(|signal| signal.name == word)
    }
}

/// A bound: what it is written in depends on the signal.
#[derive(Clone, Debug)]
pub(crate) struct Bounding(pub(crate) Node);

impl Value for Bounding {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": ["string", "number"] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let fits = |scalar: &Scalar| matches!(scalar.kind, Kind::Text | Kind::Int(_) | Kind::Float);
        if !matches!(&node.data, Data::Scalar(scalar) if fits(scalar)) {
            reader.wrong_type(node, "a bound in the signal's unit");
            return None;
        }
        Some(Self(node.clone()))
    }
}

impl Bounding {
    /// In the signal's base unit.
    #[expect(clippy::cast_precision_loss, reason = "a bound for what is measured: 53 bits are plenty")]
    pub(crate) fn number(&self, unit: Unit, reader: &mut Reader) -> Option<f64> {
        match unit {
            Unit::Percent => Percent::read(&self.0, reader).map(|percent| percent.0),
            Unit::Bytes => Size::read(&self.0, reader).map(|size| size.0 as f64),
            Unit::BytesPerTime => Rate::read(&self.0, reader).map(|rate| rate.0),
            Unit::Time => Duration::read(&self.0, reader).map(|span| span.0 as f64),
            Unit::Number => Number::read(&self.0, reader).map(|number| number.0),
        }
    }

    /// What its signal wants, if it has another unit than the signal: `30s` for a size.
    pub(crate) fn other_unit(&self, unit: Unit) -> Option<(&'static str, &'static str)> {
        let Data::Scalar(scalar) = &self.0.data else { return None };
        let is = |pattern: Option<&regex::Regex>| {
            !scalar.text.is_empty() && pattern.is_some_and(|regex| regex.is_match(&scalar.text))
        };
        let kinds = [
            (Unit::Percent, is(Percent::regex()), "a percentage", "a percentage such as `80%`"),
            (Unit::Bytes, is(Size::regex()), "a size", "a size such as `400MiB`"),
            (Unit::BytesPerTime, is(Rate::regex()), "a rate", "a rate such as `10MiB/m`"),
            (Unit::Time, is(Duration::regex()), "a duration", "a duration such as `30s`"),
        ];
        let said = kinds.iter().find(|kind| kind.1 && kind.0 != unit)?;
        // A size lacks only its time: the rate's own hint says more.
        if (said.0, unit) == (Unit::Bytes, Unit::BytesPerTime) {
            return None;
        }
        let said = said.2;
        let wanted = kinds.iter().find(|kind| kind.0 == unit).map_or("a plain number", |kind| kind.3);
        Some((said, wanted))
    }
}
