//! What policies say once they are read: every value in base units, every default filled in.

mod action;
mod check;
mod run;
mod select;
mod service;
pub(crate) mod units;

pub use action::{
    Act, Alert, Approval, Breaker, Demotion, Failover, Hook, Ladder, Scaling, Severity, Signalled, Step,
};
pub use check::{
    AuthProbe, Bound, Check, CheckKind, ExecProbe, Expected, Flap, HttpProbe, Marker, NumberSource, Probe,
    ProbeCheck, Scope, Signal, StatusRange, TcpProbe, Threshold, TlsProbe, TlsVersion,
};
pub use run::{Instances, Limits, Log, LogTarget, Run};
pub use select::{Adopt, RestartVia, Selector};
pub use service::{
    Backoff, Condition, Dependency, EndStatus, Host, Impact, Kill, Mode, Origin, Port, Readiness, Ready,
    Restart, RestartOn, Service, Stop,
};
pub use units::{Budget, Span, Unit, about_span, bytes, span};
