//! `checks`: what healthy means.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::probes::{self, AuthKeys, ExecKeys, HttpKeys, TcpKeys, TlsKeys};
use super::signals::{Bounding, Needs, SIGNALS, SignalKind};
use super::texts::{AbsolutePath, JsonPointer, MetricLabel, MetricName, Name, Url};
use crate::policy::model::{
    Bound, Check, CheckKind, Flap, Marker, NumberSource, ProbeCheck, Scope, Signal, Threshold, Unit,
};
use crate::policy::read::{At, Duration, Int, List, MOfN, Map, Nothing, Percent, Reader, Value, listed};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node, Scalar, Spot};
use crate::policy::{Code, Diagnostic};

/// One check: a probe, or a threshold if it has a `signal`.
#[derive(Clone, Debug)]
pub(crate) enum CheckKeys {
    Probe(Box<ProbeCheckKeys>),
    Threshold(Box<ThresholdKeys>),
}

keys! {
    /// A question that is asked again and again.
    struct ProbeCheckKeys as "probe", one ["http", "tcp", "exec", "tls", "auth"] {
        /// An HTTP request.
        http: Option<HttpKeys>,
        /// A connection.
        tcp: Option<TcpKeys>,
        /// A program.
        exec: Option<ExecKeys>,
        /// A TLS handshake and its certificate.
        tls: Option<TlsKeys>,
        /// A request without credentials, which must be refused.
        auth: Option<AuthKeys>,
        /// How often, at least 1ms. The first question comes up to a tenth of it later, by the seed, so that many checks do not ask at
        /// once.
        every: At<Duration> = "10s",
        /// Bad answers in a row until the check fails; or so many of the last so many: `3 of 5`.
        fail_after: FailAfter = "3",
        /// Good answers in a row until it passes again.
        pass_after: Int<1, 1000> = "1",
        /// `service`: one check for all instances.
        scope: At<Scope> = "instance",
        /// After an instance is ready, nothing fails for so long.
        grace: Duration = "0s",
    }
}

keys! {
    /// A number that is measured, and its bounds.
    struct ThresholdKeys as "threshold", one ["above", "below"], lone ["clear_below", "clear_above"], lone ["for", "samples"],
        lone ["exec", "json", "prometheus"] {
        /// What is measured.
        signal: At<&'static SignalKind>,
        /// Bad is what is above this.
        above: Option<Bounding>,
        /// Bad is what is below this.
        below: Option<Bounding>,
        /// Good again is what is below this. Without it: what is not above `above`.
        clear_below: Option<Bounding>,
        /// Good again is what is above this. Without it: what is not below `below`.
        clear_above: Option<Bounding>,
        /// Bad for so long before the check fails.
        hold("for"): At<Duration> = "0s",
        /// Good for so long before it passes again.
        keep_for: Duration = "0s",
        /// Instead of `for`: bad so many times of the last so many.
        samples: Option<At<MOfN>>,
        /// How often it is looked at. What holds without it depends on the signal: mostly 1s.
        every: Option<At<Duration>>,
        /// Over how long. What holds without it depends on the signal.
        window: Option<At<Duration>>,
        /// Of `response.time`: the probe whose answers are taken.
        check: Option<At<Name>>,
        /// Of `response.time`: so many of the answers took no longer. Without it: 95%.
        quantile: Option<At<Percent>>,
        /// Of `exits`: which ends count.
        causes: Option<List<Cause, 1>>,
        /// Of `progress`: what changes when it makes progress.
        progress_of: Option<MarkerKeys>,
        /// Of `number`: the first word that a program prints.
        exec: Option<ExecKeys>,
        /// Of `number`: a number in a JSON document.
        json: Option<JsonKeys>,
        /// Of `number`: a metric on a page of Prometheus's format.
        prometheus: Option<PrometheusKeys>,
        /// `service`: all instances together: sums, or the largest where a sum says nothing.
        scope: At<Scope> = "instance",
        /// After an instance is ready, nothing fails for so long.
        grace: Duration = "0s",
    }
}

keys! {
    /// A number in a JSON document.
    struct JsonKeys as "json" {
        /// The document. `{port}` and `{instance}` are replaced.
        url: At<Url>,
        /// Which number in it (RFC 6901), such as `/queue/depth`.
        pointer: JsonPointer,
        /// How long it may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// A metric on a page of Prometheus's format: the sum of its samples.
    struct PrometheusKeys as "prometheus" {
        /// The page. `{port}` and `{instance}` are replaced.
        url: At<Url>,
        /// The metric's name.
        metric: MetricName,
        /// Labels that a sample must have.
        labels: Map<MetricLabel, super::texts::Argument> = "{}",
        /// How long it may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// What changes when a job makes progress.
    struct MarkerKeys as "progress_of", words ["log", "cpu", "io"], one ["log", "cpu", "io", "file", "exec", "json", "prometheus"] {
        /// Bytes that it wrote to its log.
        log: Option<Nothing>,
        /// CPU time: at least 1% of a core since the last look.
        cpu: Option<Nothing>,
        /// Bytes read and written.
        io: Option<Nothing>,
        /// When this file was last changed. `{instance}` is replaced.
        file: Option<AbsolutePath>,
        /// The first word that a program prints.
        exec: Option<ExecKeys>,
        /// A number in a JSON document.
        json: Option<JsonKeys>,
        /// A metric on a page of Prometheus's format.
        prometheus: Option<PrometheusKeys>,
    }
}

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause(&'static str);

words! {
    Cause {
        /// A fault of its own, such as a segmentation fault.
        "fault" = Self("fault"),
        /// The kernel's out-of-memory killer.
        "oom" = Self("oom"),
        /// A signal that somebody sent.
        "signal" = Self("signal"),
        /// An exit code that is no success.
        "error" = Self("error"),
    }
}

/// Bad answers in a row, or so many of so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailAfter(Flap, Spot);

impl Value for FailAfter {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [Int::<1, 1000>::schema(schema), MOfN::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if matches!(&node.data, Data::Scalar(Scalar { kind: Kind::Text, .. })) {
            let MOfN((bad, last)) = MOfN::read(node, reader)?;
            return Some(Self(Flap::Of { bad, last }, node.spot));
        }
        Int::<1, 1000>::read(node, reader).map(|row| Self(Flap::Row(row.to()), node.spot))
    }
}

impl CheckKeys {
    fn is_threshold(node: &Node) -> bool {
        node.get("signal").is_some()
    }
}

impl Value for CheckKeys {
    fn schema(schema: &mut Schema) -> Json {
        json!({
            "if": { "required": ["signal"] },
            "then": threshold_schema(schema),
            "else": ProbeCheckKeys::schema(schema),
        })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if Self::is_threshold(node) {
            return ThresholdKeys::read(node, reader).map(|keys| Self::Threshold(Box::new(keys)));
        }
        if !reader.partial
            && let Some(bound) = node.get("above").or_else(|| node.get("below"))
        {
            let message = "which number? A check with a bound has a `signal`";
            let help = "add `signal: memory.rss`, or what else is measured";
            reader.say(Diagnostic::new(Code::MissingKey, bound.name.into(), message).help(help));
            return None;
        }
        ProbeCheckKeys::read(node, reader).map(|keys| Self::Probe(Box::new(keys)))
    }

    fn merge(own: &Node, default: &Node) -> Node {
        let probes = ["http", "tcp", "exec", "tls", "auth"];
        match (Self::is_threshold(own), Self::is_threshold(default)) {
            (true, true) => ThresholdKeys::merge(own, default),
            // Another signal or another probe is another check.
            (true, false) => own.clone(),
            (false, true) if probes.iter().any(|key| own.get(key).is_some()) => own.clone(),
            (false, true) => ThresholdKeys::merge(own, default),
            (false, false) => ProbeCheckKeys::merge(own, default),
        }
    }
}

/// Which keys a threshold has, and what its bounds look like, depends on its signal.
fn threshold_schema(schema: &mut Schema) -> Json {
    let shape = ThresholdKeys::schema(schema);
    let signals: Vec<Json> = SIGNALS.iter().map(|signal| signal.schema(schema)).collect();
    let signals = schema.define("signals", |_| json!({ "allOf": signals }));
    json!({ "allOf": [shape, signals] })
}

impl CheckKeys {
    /// As the model has it.
    pub(crate) fn build(&self, name: &Name, reader: &mut Reader) -> Option<Check> {
        let (scope, grace, kind) = match self {
            Self::Probe(probe) => (probe.scope.value, probe.grace, CheckKind::Probe(probe.build(reader)?)),
            Self::Threshold(threshold) => {
                (threshold.scope.value, threshold.grace, CheckKind::Threshold(threshold.build(reader)?))
            }
        };
        Some(Check { name: name.0.to_string(), scope, grace: grace.0, kind })
    }
}

impl ProbeCheckKeys {
    fn build(&self, reader: &mut Reader) -> Option<ProbeCheck> {
        let every = probes::positive(&self.every, reader);
        let probe = probes::build(
            self.http.as_ref(),
            self.tcp.as_ref(),
            self.exec.as_ref(),
            self.tls.as_ref(),
            self.auth.as_ref(),
            reader,
        );
        if let Flap::Of { bad, last } = self.fail_after.0 {
            m_of_n((bad, last), self.fail_after.1, reader)?;
        }
        let (every, probe) = (every?, probe?);
        if probe.timeout() > every {
            let place = self.timeout_spot().unwrap_or(self.every.spot);
            let message = "an answer may take longer than the time from one question to the next";
            let diagnostic = Diagnostic::new(Code::SlowProbe, place.into(), message)
                .label("this timeout")
                .related(self.every.spot.into(), "asked this often")
                .help("a shorter timeout, or a longer `every`: a hanging service is found out after the timeout");
            reader.say(diagnostic);
        }
        Some(ProbeCheck { probe, every, fail: self.fail_after.0, pass_after: self.pass_after.to() })
    }

    fn timeout_spot(&self) -> Option<Spot> {
        let http = self.http.as_ref().map(|probe| probe.timeout);
        let tcp = self.tcp.as_ref().map(|probe| probe.timeout);
        let exec = self.exec.as_ref().map(|probe| probe.timeout);
        let tls = self.tls.as_ref().map(|probe| probe.timeout);
        let auth = self.auth.as_ref().map(|probe| probe.timeout);
        http.or(tcp).or(exec).or(tls).or(auth).map(|timeout| timeout.spot)
    }
}

/// Samples of which so many must be bad: not more than there are, and no more than are kept.
fn m_of_n((bad, last): (u32, u32), spot: Spot, reader: &mut Reader) -> Option<()> {
    const MOST: u32 = crate::limits::FLAP_WINDOW;
    if bad <= last && last <= MOST {
        return Some(());
    }
    let diagnostic = if bad > last {
        let message = format!("of {last} there can never be {bad}");
        let swapped = format!("{last} of {bad}");
        Diagnostic::new(Code::Bounds, spot.into(), message)
            .help(format!("did you mean `{swapped}`?"))
            .replacement(swapped)
    } else {
        let message = format!("only the last {MOST} are kept, not {last}");
        Diagnostic::new(Code::Bounds, spot.into(), message).help("ask less often, and count fewer")
    };
    reader.say(diagnostic);
    None
}

impl ThresholdKeys {
    fn build(&self, reader: &mut Reader) -> Option<Threshold> {
        let kind = self.signal.value;
        self.own_keys(reader)?;
        let every = match &self.every {
            Some(every) => probes::positive(every, reader),
            None => Some(Duration::read(&Node::plain(kind.every, self.at), reader)?.0),
        };
        let signal = self.signal(reader);
        let bounds = self.bounds(kind.unit, reader);
        if let Some(samples) = &self.samples {
            m_of_n(samples.value.0, samples.spot, reader)?;
        }
        let (bound, clear) = bounds?;
        let (every, signal) = (every?, signal?);
        self.window_holds(every, reader)?;
        Some(Threshold {
            signal,
            every,
            bound,
            clear,
            hold: self.hold.value.0,
            keep: self.keep_for.0,
            samples: self.samples.map(|samples| samples.value.0),
        })
    }

    /// Keys that only some signals have: those that it needs, and no others.
    fn own_keys(&self, reader: &mut Reader) -> Option<()> {
        let kind = self.signal.value;
        let given: Vec<(&str, Spot)> = [
            ("window", self.window.map(|at| at.name)),
            ("check", self.check.as_ref().map(|at| at.name)),
            ("quantile", self.quantile.map(|at| at.name)),
            ("causes", self.causes.as_ref().map(|_| self.at)),
            ("progress_of", self.progress_of.as_ref().map(|keys| keys.at)),
            ("exec", self.exec.as_ref().map(|keys| keys.at)),
            ("json", self.json.as_ref().map(|keys| keys.at)),
            ("prometheus", self.prometheus.as_ref().map(|keys| keys.at)),
        ]
        .into_iter()
        .filter_map(|(key, at)| Some((key, at?)))
        .collect();
        let mut fine = Some(());
        for (key, at) in given.iter().filter(|(key, _)| kind.foreign_keys().any(|foreign| foreign == *key)) {
            let with: Vec<&str> = SIGNALS
                .iter()
                .filter(|signal| signal.own_keys().any(|own| own == *key))
                .map(|signal| signal.name)
                .collect();
            let message = format!("`{key}` says nothing of the signal `{}`", kind.name);
            let diagnostic = Diagnostic::new(Code::SignalKey, (*at).into(), message)
                .related(self.signal.spot.into(), "of this signal")
                .help(format!("it is a key of {}", listed(&with)));
            reader.say(diagnostic);
            fine = None;
        }
        let has = |key: &&str| given.iter().any(|(given, _)| given == key);
        let (missing, keys) = match kind.needs {
            Needs::Nothing => (false, [].as_slice()),
            Needs::All(keys) => (!keys.iter().all(&has), keys),
            Needs::One(keys) => (!keys.iter().any(has), keys),
        };
        if missing {
            let message = format!("the signal `{}` needs {}", kind.name, listed(keys));
            let diagnostic = Diagnostic::new(Code::SignalKey, self.signal.spot.into(), message);
            reader.say(diagnostic.help(kind.doc.trim()));
            fine = None;
        }
        fine
    }

    fn signal(&self, reader: &mut Reader) -> Option<Signal> {
        let kind = self.signal.value;
        let window = match (&self.window, kind.window) {
            (Some(window), _) => probes::positive(window, reader)?,
            (None, Some(window)) => Duration::read(&Node::plain(window, self.at), reader)?.0,
            (None, None) => 0,
        };
        Some(match kind.name {
            "cpu" => Signal::Cpu,
            "memory.rss" => Signal::MemoryRss,
            "memory.pss" => Signal::MemoryPss,
            "memory.swap" => Signal::MemorySwap,
            "memory.share" => Signal::MemoryShare,
            "memory.growth" => Signal::MemoryGrowth { window },
            "files.open" => Signal::FilesOpen,
            "files.share" => Signal::FilesShare,
            "threads" => Signal::Threads,
            "io.read" => Signal::IoRead,
            "io.write" => Signal::IoWrite,
            "response.time" => Signal::ResponseTime {
                of: self.check.as_ref()?.value.0.to_string(),
                quantile: self.quantile(reader)?,
                window,
            },
            "run_queue.p99" => Signal::RunQueueP99 { window },
            "uninterruptible.time" => Signal::Uninterruptible { window },
            "pressure.cpu" => Signal::PressureCpu,
            "pressure.memory" => Signal::PressureMemory,
            "pressure.io" => Signal::PressureIo,
            "restarts" => Signal::Restarts { window },
            "exits" => {
                let causes = self.causes.iter().flat_map(|causes| causes.0.iter());
                Signal::Exits { causes: causes.map(|cause| cause.0.to_owned()).collect(), window }
            }
            "age" => Signal::Age,
            "progress" => Signal::Progress { of: self.progress_of.as_ref()?.build(reader)? },
            _ => Signal::Number(source(
                self.exec.as_ref(),
                self.json.as_ref(),
                self.prometheus.as_ref(),
                reader,
            )?),
        })
    }

    fn quantile(&self, reader: &mut Reader) -> Option<f64> {
        let Some(quantile) = &self.quantile else { return Some(0.95) };
        let share = quantile.value.0;
        if share <= 0.0 || share > 100.0 {
            let message = format!("{share}% of the answers: that is above 0% and up to 100%");
            reader.say(Diagnostic::new(Code::Bounds, quantile.spot.into(), message));
            return None;
        }
        Some(share / 100.0)
    }

    /// Where bad begins, and where good does.
    fn bounds(&self, unit: Unit, reader: &mut Reader) -> Option<(Bound, f64)> {
        let above = self.above.is_some();
        let bound = self.above.as_ref().or(self.below.as_ref())?;
        let clear = self.clear_below.as_ref().or(self.clear_above.as_ref());
        let number = self.number(bound, unit, reader);
        let clear_number = match clear {
            Some(clear) => Some(self.number(clear, unit, reader)?),
            None => None,
        };
        let number = number?;
        self.can_be(number, bound, above, unit, reader)?;
        let (key, wrong) = if above {
            ("clear_below", self.clear_above.is_some() || clear_number.is_some_and(|clear| clear > number))
        } else {
            ("clear_above", self.clear_below.is_some() || clear_number.is_some_and(|clear| clear < number))
        };
        if let Some(clear) = clear.filter(|_| wrong) {
            let side = if above { "above" } else { "below" };
            let message = format!("good begins here on the bad side: bad is what is {side} the bound");
            let diagnostic = Diagnostic::new(Code::ClearSide, clear.0.name.into(), message)
                .related(bound.0.spot.into(), "bad begins here")
                .help(format!(
                    "with `{side}` goes `{key}`, with a value {} it",
                    if above { "below" } else { "above" }
                ));
            reader.say(diagnostic);
            return None;
        }
        let bound = if above { Bound::Above(number) } else { Bound::Below(number) };
        Some((bound, clear_number.unwrap_or(number)))
    }

    fn number(&self, bound: &Bounding, unit: Unit, reader: &mut Reader) -> Option<f64> {
        if let Some((said, wanted)) = bound.other_unit(unit) {
            let name = self.signal.value.name;
            let message = format!("`{name}` is measured as {wanted}, not as {said}");
            let diagnostic = Diagnostic::new(Code::WrongUnit, bound.0.spot.into(), message);
            reader.say(diagnostic.related(self.signal.spot.into(), "what is measured"));
            return None;
        }
        bound.number(unit, reader)
    }

    /// Whether the signal can ever be on the bad side, and on the good one.
    fn can_be(
        &self,
        number: f64,
        bound: &Bounding,
        above: bool,
        unit: Unit,
        reader: &mut Reader,
    ) -> Option<()> {
        let name = self.signal.value.name;
        let share = unit == Unit::Percent && name != "cpu";
        // What comes from outside, and growth, can be negative.
        let signed = matches!(name, "number" | "memory.growth");
        let message = match (share && above && number >= 100.0, above, signed) {
            (true, ..) => format!("`{name}` is never above 100%"),
            (false, true, false) if number < 0.0 => format!("`{name}` is always above this"),
            (false, false, false) if number <= 0.0 => format!("`{name}` is never below this"),
            (false, false, _) if share && number > 100.0 => format!("`{name}` is always below this"),
            _ => return Some(()),
        };
        reader.say(Diagnostic::new(Code::Bounds, bound.0.spot.into(), message).help("is the value right?"));
        None
    }

    /// Whether a window holds enough looks to say something.
    fn window_holds(&self, every: u64, reader: &mut Reader) -> Option<()> {
        let Some(window) = &self.window else { return Some(()) };
        // A line has two ends; a minimum of it in each half needs as many again.
        let least = if self.signal.value.name == "memory.growth" { 4 } else { 1 };
        let needed = every.saturating_mul(least);
        if window.value.0 >= needed {
            return Some(());
        }
        let message =
            format!("in this window there are fewer than {least} looks at `{}`", self.signal.value.name);
        let mut diagnostic = Diagnostic::new(Code::Bounds, window.spot.into(), message);
        if let Some(every) = &self.every {
            diagnostic = diagnostic.related(every.spot.into(), "looked at this often");
        }
        reader.say(diagnostic.help("a longer window, or a shorter `every`"));
        None
    }
}

impl MarkerKeys {
    fn build(&self, reader: &mut Reader) -> Option<Marker> {
        if self.log.is_some() {
            return Some(Marker::Log);
        }
        if self.cpu.is_some() {
            return Some(Marker::Cpu);
        }
        if self.io.is_some() {
            return Some(Marker::Io);
        }
        if let Some(file) = &self.file {
            return Some(Marker::File(PathBuf::from(&*file.0)));
        }
        source(self.exec.as_ref(), self.json.as_ref(), self.prometheus.as_ref(), reader).map(Marker::Number)
    }
}

/// Where a number comes from: the one that is there.
fn source(
    exec: Option<&ExecKeys>,
    json: Option<&JsonKeys>,
    prometheus: Option<&PrometheusKeys>,
    reader: &mut Reader,
) -> Option<NumberSource> {
    if let Some(exec) = exec {
        return exec.build(reader).map(NumberSource::Exec);
    }
    if let Some(json) = json {
        probes::warn_of_plain_http(&json.url, reader);
        let timeout = probes::positive(&json.timeout, reader)?;
        let (url, pointer) = (json.url.value.0.to_string(), json.pointer.0.to_string());
        return Some(NumberSource::Json { url, pointer, timeout });
    }
    let page = prometheus?;
    probes::warn_of_plain_http(&page.url, reader);
    Some(NumberSource::Prometheus {
        url: page.url.value.0.to_string(),
        metric: page.metric.0.to_string(),
        labels: page.labels.0.iter().map(|(name, value)| (name.0.to_string(), value.0.to_string())).collect(),
        timeout: probes::positive(&page.timeout, reader)?,
    })
}

impl ThresholdKeys {
    /// The probe whose answers are timed.
    pub(crate) const fn probe(&self) -> Option<&At<Name>> {
        self.check.as_ref()
    }
}
