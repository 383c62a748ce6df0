//! Words for what is one of a few things. The documents' own: what the core calls them may change.

use guard_core::health;
use guard_core::policy::model;
use guard_core::supervise::ServiceState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares words, each with its meaning, and how they come from the core's.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident from $from:path { $($(#[doc = $about:literal])+ $word:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[doc = $about])+ $word,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// As documents have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl From<$from> for $name {
            fn from(from: $from) -> Self {
                match from { $(<$from>::$word => Self::$word,)+ }
            }
        }
    };
}

words! {
    /// How a service, or one of its instances, is.
    State from ServiceState {
        /// Not wanted.
        Stopped = "stopped",
        /// Wanted; what it depends on is not far enough.
        Waiting = "waiting",
        /// Started, not ready yet.
        Starting = "starting",
        /// Ready, and no check fails.
        Healthy = "healthy",
        /// Ready, and a check fails.
        Degraded = "degraded",
        /// Ended; the next start waits for its time.
        BackingOff = "backing_off",
        /// Being ended.
        Stopping = "stopping",
        /// Wanted, and not started any more: its budget is spent, or something else forbids it.
        Held = "held",
    }
}

words! {
    /// What a check says.
    CheckState from health::CheckState {
        /// Nothing was found out yet, or not any more.
        Unknown = "unknown",
        /// All is as it should be.
        Passing = "passing",
        /// Something is not, for long enough.
        Failing = "failing",
    }
}

words! {
    /// How bad it is when a service is down, the least first.
    Impact from model::Impact {
        /// Nobody notices.
        Low = "low",
        /// Somebody notices.
        Medium = "medium",
        /// Many notice.
        High = "high",
        /// Everything waits for it.
        Critical = "critical",
    }
}

words! {
    /// Whether decisions are carried out.
    Mode from model::Mode {
        /// Decided and recorded; nothing is touched.
        Observe = "observe",
        /// Carried out.
        Act = "act",
    }
}

words! {
    /// What can happen in an incident.
    Kind from guard_core::incident::Moment {
        /// A signal was sent.
        Signal = "signal",
        /// A process ended.
        Death = "death",
        /// A check was answered, and not well.
        BadAnswer = "bad_answer",
        /// It was decided what to do.
        Decision = "decision",
        /// The next try waits for its time.
        Wait = "wait",
        /// A process began.
        Fork = "fork",
        /// It became the program that it is to be.
        Exec = "exec",
        /// It listens.
        Listen = "listen",
        /// It is ready.
        Ready = "ready",
        /// A check was answered well.
        GoodAnswer = "good_answer",
        /// Somebody was told.
        Alert = "alert",
        /// Something was not done, and why.
        Withheld = "withheld",
        /// It is not started any more.
        Held = "held",
        /// Something else.
        Other = "other",
    }
}

/// Where a service's processes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The daemon starts them.
    Run,
    /// Somebody else does.
    Adopt,
}

impl From<&model::Origin> for Origin {
    fn from(origin: &model::Origin) -> Self {
        match origin {
            model::Origin::Run(_) => Self::Run,
            model::Origin::Adopt(_) => Self::Adopt,
        }
    }
}
