//! The rules, by their stable names.

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $severity:ident $name:ident = $text:literal,)+) => {
        /// Which rule was broken. Names are stable: tools and people search for them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name, in lower case with dashes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The rule in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_start(),)+
                }
            }

            /// Whether a policy that breaks it can be used.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// A file is at most 1 MiB.
    Error FileSize = "file-size",
    /// All problems of a file are told, up to a number that can be read.
    Error More = "more",
    /// A file is text in UTF-8.
    Error NotText = "not-text",
    /// A file is YAML.
    Error Syntax = "syntax",
    /// Maps and lists lie at most 16 levels inside each other.
    Error Depth = "depth",
    /// There are no anchors: a document means what it shows.
    Error Anchor = "anchor",
    /// There are no aliases: a document means what it shows.
    Error Alias = "alias",
    /// There are no merge keys: a document means what it shows.
    Error MergeKey = "merge-key",
    /// There are no tags.
    Error Tag = "tag",
    /// A key is a word.
    Error Key = "key",
    /// A key stands only once in a map.
    Error DuplicateKey = "duplicate-key",
    /// A document is a service, defaults, or what holds for the host.
    Error Document = "document",
    /// A key is one that the language has.
    Error UnknownKey = "unknown-key",
    /// A key that is needed is there.
    Error MissingKey = "missing-key",
    /// Keys that exclude each other do not stand together.
    Error ConflictingKeys = "conflicting-keys",
    /// A value has the type that its key wants.
    Error WrongType = "wrong-type",
    /// A word is one that the key knows.
    Error UnknownWord = "unknown-word",
    /// A number lies in its range.
    Error NumberRange = "number-range",
    /// A list has as many values as it needs.
    Error TooFew = "too-few",
    /// A number with a unit has it.
    Error UnitMissing = "unit-missing",
    /// A duration is one.
    Error Duration = "duration",
    /// A size is one, and says whether its units are decimal.
    Error Size = "size",
    /// A rate is a size in a time.
    Error Rate = "rate",
    /// A percentage is one.
    Error Percent = "percent",
    /// A budget is so many in a time.
    Error Budget = "budget",
    /// So many of so many are written like that.
    Error MOfN = "m-of-n",
    /// A quantity can be counted.
    Error TooLarge = "too-large",
    /// A name has the characters that names have.
    Error Name = "name",
    /// A path begins at the root.
    Error Path = "path",
    /// A URL is one, of `http:` or `https:`.
    Error Url = "url",
    /// An address is a host and a port.
    Error Address = "address",
    /// A JSON pointer is one.
    Error Pointer = "pointer",
    /// A status code is one.
    Error Status = "status",
    /// A signal is written by its name.
    Error Signal = "signal",
    /// A capability is one that the kernel has.
    Error Capability = "capability",
    /// A regular expression compiles, and is small.
    Error Regex = "regex",
    /// A bound is written in the unit of its signal.
    Error WrongUnit = "wrong-unit",
    /// A key of a signal's own goes with that signal.
    Error SignalKey = "signal-key",
    /// Good begins on the good side of where bad does.
    Error ClearSide = "clear-side",
    /// Bounds and windows can be reached.
    Error Bounds = "bounds",
    /// A guard is a condition in CEL whose parts have types.
    Error Guard = "guard",
    /// A guard is short and flat.
    Error GuardSize = "guard-size",
    /// A guard has no loops.
    Error GuardLoop = "guard-loop",
    /// A selector tells its service from everything else.
    Error WideSelector = "wide-selector",
    /// An action and `response.time` name a check that there is.
    Error UnknownCheck = "unknown-check",
    /// A service's name is its own.
    Error DuplicateService = "duplicate-service",
    /// A service that is named is there.
    Error UnknownService = "unknown-service",
    /// A group that is named is there.
    Error UnknownGroup = "unknown-group",
    /// Services do not wait for each other in a circle.
    Error Cycle = "cycle",
    /// A standby is another service, named once.
    Error Standby = "standby",
    /// No two services can claim one process.
    Error Claim = "claim",
    /// No two services want one port.
    Error PortClaim = "port-claim",
    /// What is to be done or measured is possible.
    Error Impossible = "impossible",
    /// `{port}` and `{instance}` stand where there is one.
    Error Placeholder = "placeholder",
    /// A scenario's series is one of values in their unit.
    Error Series = "series",
    /// A scenario's time of the calendar is one.
    Error Instant = "instant",
    /// A scenario names services, instances, checks and queues that there are.
    Error UnknownName = "unknown-name",
    /// No command line can have what two services look for.
    Warning LooseClaim = "loose-claim",
    /// That no two services can claim one process can be seen from their selectors.
    Warning UnsureClaim = "unsure-claim",
    /// A probe that leaves the host or its network uses TLS.
    Warning PlainHttp = "plain-http",
    /// A probe's timeout is not longer than the time between probes.
    Warning SlowProbe = "slow-probe",
    /// What looks like `{port}` or `{instance}` is one of them.
    Warning OddPlaceholder = "odd-placeholder",
    /// What is described is used.
    Warning Unused = "unused",
    /// A spent budget does not hold a service for days.
    Warning LongBudget = "long-budget",
    /// A budget can be spent.
    Warning EndlessBudget = "endless-budget",
    /// A service has time to end.
    Warning HardStop = "hard-stop",
    /// A service of high or critical impact has a runbook.
    Warning NoRunbook = "no-runbook",
    /// A service of high or critical impact says when it is ready.
    Warning NoReadiness = "no-readiness",
}
