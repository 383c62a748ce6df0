//! The state of one check of one subject.
//!
//! ```text
//!               good                           bad for `for`, or n in a row, or m of n
//!  Unknown ------------> Passing ------------------------------------------------------> Failing
//!     ^  ^                  |   <------------------------------------------------------    |
//!     |  |                  |    good for `keep_for`, or `pass_after` in a row             |
//!     |  +------------------+                                                              |
//!     +------------------------------------------------------------------------------------+
//!        no answer 3 times in a row, or silence for as long
//! ```
//! A look without an answer (an error, nothing measured) is no evidence: it counts neither for nor against, and the looks around
//! it go on being counted. Three in a row, or as long a silence, make the check unknown, and what was counted is forgotten. What
//! was failing before it became unknown still needs all of `keep_for` or `pass_after` to be well again.
//!
//! Between `above` and `clear_below` a value is neither good nor bad: it ends both a stretch of bad and one of good looks, so what
//! is said of a stretch holds for all of it. During the grace nothing bad counts.

use crate::health::CheckState;
use crate::limits::{FLAP_WINDOW, TIMER_NS, UNKNOWN_AFTER};
use crate::policy::model::{Bound, Check, CheckKind, Flap, Span, Threshold, Unit, about_span};
use crate::supervise::Answer;

/// A check has another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state from now on.
    pub state: CheckState,
    /// What was seen, such as `memory.rss was above 400MiB for 30s, now 431MiB`.
    pub why: String,
    /// Since when that is so, in nanoseconds since boot.
    pub since_ns: u64,
}

/// The state machine of one check of one subject. Times are nanoseconds since boot.
#[derive(Clone, Debug)]
pub struct Monitor {
    rule: Rule,
    every: Span,
    /// Without a word until then it is unknown.
    silence: Span,
    grace_until_ns: u64,
    due_ns: u64,
    state: CheckState,
    since_ns: u64,
    /// It failed and was not seen well again since.
    ill: bool,
    /// When the last answer or error came.
    word_ns: u64,
    /// Looks without an answer, in a row.
    errors: u32,
    seen: Seen,
    /// Why it was failing when another monitor knew it, for as long as it does.
    kept: Option<String>,
}

/// When looks make a state.
#[derive(Clone, Debug)]
enum Rule {
    Probe { fail: Flap, pass_after: u32 },
    Threshold(Box<Limit>),
}

/// A threshold, without what it measures.
#[derive(Clone, Debug)]
struct Limit {
    /// What is measured, for people.
    name: String,
    unit: Unit,
    bound: Bound,
    clear: f64,
    hold: Span,
    keep: Span,
    samples: Option<(u32, u32)>,
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    /// Neither: between the bounds.
    Between,
    Bad,
}

/// What the looks since it was unknown say.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The last look, and since when and how often in a row all were like it.
    stretch: Option<Stretch>,
    /// The last looks, the newest in the lowest bit; 1: bad.
    bits: u64,
    /// Since when there was a bad one among them.
    bits_since_ns: u64,
    /// The last value, of thresholds.
    value: f64,
    /// What the last bad answer said; of an unknown one, why it is that.
    said: String,
    /// How it failed, while it does.
    failed: Option<Stretch>,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    level: Level,
    since_ns: u64,
    /// The last look of it.
    until_ns: u64,
    count: u32,
}

impl Monitor {
    /// The check of a subject that is up since `now_ns`: its grace begins, and it is to be looked at at once.
    #[must_use]
    pub fn new(check: &Check, now_ns: u64) -> Self {
        let (rule, every, answer) = match &check.kind {
            CheckKind::Probe(probe) => {
                let rule = Rule::Probe { fail: probe.fail, pass_after: probe.pass_after.max(1) };
                (rule, probe.every, probe.probe.timeout())
            }
            CheckKind::Threshold(threshold) => {
                (Rule::Threshold(Box::new(Limit::of(threshold))), threshold.every, 0)
            }
        };
        Self {
            rule,
            every: every.max(TIMER_NS),
            silence: every.saturating_mul(u64::from(UNKNOWN_AFTER)).saturating_add(answer),
            grace_until_ns: now_ns.saturating_add(check.grace),
            due_ns: now_ns,
            state: CheckState::Unknown,
            since_ns: now_ns,
            ill: false,
            word_ns: now_ns,
            errors: 0,
            seen: Seen::default(),
            kept: None,
        }
    }

    /// What is measured is called so: `{port}` and `{instance}` in it are resolved.
    #[must_use]
    pub fn called(mut self, resolve: impl FnOnce(&str) -> String) -> Self {
        if let Rule::Threshold(limit) = &mut self.rule
            && limit.name.contains('{')
        {
            limit.name = resolve(&limit.name);
        }
        self
    }

    /// The first look, and with it all others, is later by this share of the check's `every`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a span is one")]
    pub fn shifted(mut self, share: f64) -> Self {
        let shift = (self.every as f64 * share.clamp(0.0, 1.0)) as u64;
        self.due_ns = self.due_ns.saturating_add(shift);
        self
    }

    /// Its subject was up before `now_ns`, and its grace began then.
    pub const fn graced_since(&mut self, check: &Check, begun_ns: u64) {
        self.grace_until_ns = begun_ns.saturating_add(check.grace);
    }

    /// It was failing when somebody else looked last, and is until it is seen well.
    pub fn goes_on_failing(&mut self, since_ns: u64, why: String) {
        (self.state, self.since_ns, self.ill, self.kept) = (CheckState::Failing, since_ns, true, Some(why));
    }

    /// What the check says.
    #[must_use]
    pub const fn state(&self) -> CheckState {
        self.state
    }

    /// Since when what it says is so: a failing check since its first bad look.
    #[must_use]
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// When it wants [`Monitor::look`] or [`Monitor::timeout`] next.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        if self.state == CheckState::Unknown { self.due_ns } else { self.due_ns.min(self.silent_ns()) }
    }

    /// Whether it is time to ask or to measure; true once for each time, on a grid of the check's `every`.
    pub fn look(&mut self, now_ns: u64) -> bool {
        if now_ns < self.due_ns {
            return false;
        }
        let next_ns = self.due_ns.saturating_add(self.every);
        self.due_ns = if next_ns > now_ns { next_ns } else { now_ns.saturating_add(self.every) };
        true
    }

    /// Takes in what was answered to a question of this check, `took_ns` after it was asked.
    pub fn answer(&mut self, now_ns: u64, answer: &Answer, took_ns: u64) -> Option<Change> {
        match (answer, &self.rule) {
            (Answer::Number(value), Rule::Threshold(_)) => self.measure(now_ns, Some(*value)),
            (Answer::Pass, Rule::Probe { .. }) => self.seen(now_ns, Level::Good, |_| ()),
            (Answer::Fail(why), Rule::Probe { .. }) => {
                self.seen(now_ns, Level::Bad, |seen| why.clone_into(&mut seen.said))
            }
            (Answer::Error(why) | Answer::Fail(why), _) => self.unanswered(now_ns, why),
            (Answer::Number(_) | Answer::Pass, _) => {
                self.unanswered(now_ns, &format!("an answer of another kind after {}", about_span(took_ns)))
            }
        }
    }

    /// Takes in what was measured; `None`, or what is no number: nothing could be.
    pub fn measure(&mut self, now_ns: u64, value: Option<f64>) -> Option<Change> {
        match (&self.rule, value.filter(|value| !value.is_nan())) {
            (Rule::Threshold(limit), Some(value)) => {
                let level = limit.level(value);
                self.seen(now_ns, level, |seen| seen.value = value)
            }
            _ => self.unanswered(now_ns, "nothing was measured"),
        }
    }

    /// Lets time pass: who hears nothing does not know.
    pub fn timeout(&mut self, now_ns: u64) -> Option<Change> {
        if self.state == CheckState::Unknown || now_ns < self.silent_ns() {
            return None;
        }
        let silent = about_span(now_ns.saturating_sub(self.word_ns));
        Some(self.forget(now_ns, format!("nothing was heard for {silent}")))
    }

    /// Why it is in its state, as of the last look; of one that fails, for how long by now.
    #[must_use]
    pub fn why(&self) -> String {
        match self.state {
            CheckState::Unknown if self.seen.said.is_empty() => "nothing was found out yet".to_owned(),
            CheckState::Unknown => self.seen.said.clone(),
            CheckState::Failing => self.kept.clone().unwrap_or_else(|| self.why_failing()),
            CheckState::Passing => self.why_passing(),
        }
    }

    /// When it has heard nothing for too long.
    const fn silent_ns(&self) -> u64 {
        self.word_ns.saturating_add(self.silence)
    }

    /// A look without an answer.
    fn unanswered(&mut self, now_ns: u64, why: &str) -> Option<Change> {
        self.word_ns = now_ns;
        self.errors = self.errors.saturating_add(1);
        let why = match self.errors {
            1 => format!("no answer: {why}"),
            errors => format!("no answer {errors} times in a row: {why}"),
        };
        if self.errors >= UNKNOWN_AFTER && self.state != CheckState::Unknown {
            return Some(self.forget(now_ns, why));
        }
        if self.errors >= UNKNOWN_AFTER {
            self.seen = Seen::default();
        }
        if self.state == CheckState::Unknown {
            self.seen.said = why;
        }
        None
    }

    fn forget(&mut self, now_ns: u64, why: String) -> Change {
        self.seen = Seen { said: why.clone(), ..Seen::default() };
        self.change(CheckState::Unknown, now_ns, why)
    }

    /// A look that says something, which `keep` remembers.
    fn seen(&mut self, now_ns: u64, level: Level, keep: impl FnOnce(&mut Seen)) -> Option<Change> {
        if now_ns >= self.silent_ns() {
            // What was seen before says nothing of the time between.
            self.seen = Seen::default();
        }
        keep(&mut self.seen);
        self.word_ns = now_ns;
        self.errors = 0;
        if level == Level::Bad && now_ns < self.grace_until_ns {
            self.seen.stretch = None;
            return None;
        }
        self.seen.add(now_ns, level, self.rule.window());
        match self.state {
            CheckState::Failing if self.is_well() => Some(self.passes()),
            CheckState::Failing => None,
            _ if self.is_failing() => Some(self.fails()),
            CheckState::Unknown if level != Level::Bad && (!self.ill || self.is_well()) => {
                Some(self.passes())
            }
            _ => None,
        }
    }

    fn fails(&mut self) -> Change {
        self.ill = true;
        self.seen.failed = self.seen.stretch;
        let since_ns = match (self.rule.window(), self.seen.stretch) {
            (None, Some(stretch)) => stretch.since_ns,
            _ => self.seen.bits_since_ns,
        };
        let why = self.why_failing();
        self.change(CheckState::Failing, since_ns, why)
    }

    fn passes(&mut self) -> Change {
        let why = self.why_passing();
        self.ill = false;
        self.seen.failed = None;
        if matches!(self.rule, Rule::Probe { .. }) {
            // Passes in a row said enough: the bad ones before them do not count against the next.
            self.seen.bits = 0;
        }
        let since_ns = self.seen.stretch.map_or(self.word_ns, |stretch| stretch.since_ns);
        self.change(CheckState::Passing, since_ns, why)
    }

    fn change(&mut self, state: CheckState, since_ns: u64, why: String) -> Change {
        (self.state, self.since_ns, self.kept) = (state, since_ns, None);
        Change { state, why, since_ns }
    }

    /// Whether the looks so far fail it.
    fn is_failing(&self) -> bool {
        let Some(stretch) = self.seen.stretch.filter(|stretch| stretch.level == Level::Bad) else {
            return false;
        };
        match &self.rule {
            Rule::Probe { fail: Flap::Row(row), .. } => stretch.count >= *row,
            Rule::Probe { fail: Flap::Of { bad, last }, .. } => self.seen.bad_of(*last) >= *bad,
            Rule::Threshold(limit) => match limit.samples {
                Some((bad, last)) => self.seen.bad_of(last) >= bad,
                None => stretch.length() >= limit.hold,
            },
        }
    }

    /// Whether the looks so far make one that failed well again.
    fn is_well(&self) -> bool {
        let Some(stretch) = self.seen.stretch.filter(|stretch| stretch.level == Level::Good) else {
            return false;
        };
        match &self.rule {
            Rule::Probe { pass_after, .. } => stretch.count >= *pass_after,
            Rule::Threshold(limit) => {
                let few = limit.samples.is_none_or(|(bad, last)| self.seen.bad_of(last) < bad);
                few && stretch.length() >= limit.keep
            }
        }
    }

    fn why_failing(&self) -> String {
        let seen = &self.seen;
        match &self.rule {
            Rule::Probe { fail, .. } => match fail {
                Flap::Row(0 | 1) => format!("failed: {}", seen.said),
                Flap::Row(_) => format!(
                    "failed {} times in a row: {}",
                    seen.failed.map_or(0, |stretch| stretch.count),
                    seen.said
                ),
                Flap::Of { last, .. } => {
                    format!("failed {} of the last {last} times: {}", seen.bad_of(*last), seen.said)
                }
            },
            Rule::Threshold(limit) => limit.why_failing(seen),
        }
    }

    fn why_passing(&self) -> String {
        match (&self.rule, self.seen.stretch) {
            (Rule::Threshold(limit), Some(stretch)) => limit.why_passing(self.seen.value, stretch, self.ill),
            (Rule::Probe { .. }, Some(Stretch { count: 2.., .. })) if self.ill => {
                format!("passed {} times in a row", self.seen.stretch.map_or(0, |stretch| stretch.count))
            }
            _ => "passed".to_owned(),
        }
    }
}

impl Rule {
    /// How many looks back it counts, if it does.
    const fn window(&self) -> Option<u32> {
        match self {
            Self::Probe { fail: Flap::Of { last, .. }, .. } => Some(*last),
            Self::Probe { fail: Flap::Row(_), .. } => None,
            Self::Threshold(limit) => match limit.samples {
                Some((_, last)) => Some(last),
                None => None,
            },
        }
    }
}

impl Stretch {
    /// From its first look to its last.
    const fn length(&self) -> Span {
        self.until_ns.saturating_sub(self.since_ns)
    }
}

impl Seen {
    /// Counts a look. `window`: how many looks back bad ones are counted.
    fn add(&mut self, now_ns: u64, level: Level, window: Option<u32>) {
        let fresh = Stretch { level, since_ns: now_ns, until_ns: now_ns, count: 0 };
        let stretch = self.stretch.filter(|stretch| stretch.level == level).unwrap_or(fresh);
        let stretch = Stretch { until_ns: now_ns, count: stretch.count.saturating_add(1), ..stretch };
        self.stretch = Some(stretch);
        if level == Level::Bad && self.failed.is_some() {
            self.failed = Some(stretch);
        }
        if let Some(last) = window {
            let before = self.bad_of(last.saturating_sub(1));
            self.bits = self.bits << 1 | u64::from(level == Level::Bad);
            if before == 0 {
                self.bits_since_ns = now_ns;
            }
        }
    }

    /// How many of the last so many looks were bad.
    const fn bad_of(&self, last: u32) -> u32 {
        let mask = if last >= FLAP_WINDOW { u64::MAX } else { (1 << last) - 1 };
        (self.bits & mask).count_ones()
    }
}

impl Limit {
    fn of(threshold: &Threshold) -> Self {
        let Threshold { signal, bound, clear, hold, keep, samples, .. } = threshold;
        Self {
            name: signal.to_string(),
            unit: signal.unit(),
            bound: *bound,
            clear: *clear,
            hold: *hold,
            keep: *keep,
            samples: *samples,
        }
    }

    fn level(&self, value: f64) -> Level {
        let (bad, good) = match self.bound {
            Bound::Above(bound) => (value > bound, value <= self.clear),
            Bound::Below(bound) => (value < bound, value >= self.clear),
        };
        match (bad, good) {
            (true, _) => Level::Bad,
            (_, true) => Level::Good,
            _ => Level::Between,
        }
    }

    fn why_failing(&self, seen: &Seen) -> String {
        let Self { name, unit, .. } = self;
        let (beyond, bound) = match self.bound {
            Bound::Above(bound) => ("above", bound),
            Bound::Below(bound) => ("below", bound),
        };
        let (now, bound) = (unit.about_beside(seen.value, bound), unit.exact(bound));
        let held = seen.failed.map_or(0, |stretch| stretch.length());
        match self.samples {
            Some((_, last)) => {
                format!("{name} was {beyond} {bound} in {} of {last} looks, now {now}", seen.bad_of(last))
            }
            None if held == 0 && self.level(seen.value) == Level::Bad => {
                format!("{name} is {now}, {beyond} {bound}")
            }
            None if held == 0 => format!("{name} was {beyond} {bound}, now {now}"),
            None => format!("{name} was {beyond} {bound} for {}, now {now}", about_span(held)),
        }
    }

    fn why_passing(&self, value: f64, stretch: Stretch, was_ill: bool) -> String {
        let Self { name, unit, clear, .. } = self;
        let side = if matches!(self.bound, Bound::Above(_)) { "above" } else { "below" };
        let now = unit.about_beside(value, *clear);
        match stretch.length() {
            held if was_ill && held > 0 => {
                format!("{name} was not {side} {} for {}, now {now}", unit.exact(*clear), about_span(held))
            }
            _ => format!("{name} is {now}"),
        }
    }
}

#[cfg(test)]
mod tests;
