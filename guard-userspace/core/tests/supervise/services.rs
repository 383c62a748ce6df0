//! Policies to supervise.

use std::collections::BTreeMap;

use guard_core::policy::model::{
    Act, Adopt, Alert, Backoff, Bound, Breaker, Budget, Check, CheckKind, EndStatus, Flap, Hook, Impact,
    Instances, Kill, Ladder, Limits, Log, LogTarget, Mode, NumberSource, Origin, Probe, ProbeCheck,
    Readiness, Ready, Restart, RestartOn, RestartVia, Run, Scaling, Scope, Selector, Service, Severity,
    Signal, Step, Stop, TcpProbe, Threshold,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

/// A service of one instance that is ready at once.
pub(crate) fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        owner: None,
        impact: Impact::Medium,
        rto: None,
        runbook: None,
        group: None,
        origin: Origin::Run(Run {
            command: vec![format!("/usr/bin/{name}"), "{port}".to_owned()],
            user: None,
            group: None,
            environment: BTreeMap::new(),
            directory: "/".into(),
            first_port: Some(8_000),
            instances: Instances { min: 1, start: 1, max: 4 },
            limits: Limits::default(),
            capabilities: None,
            log: Log { target: LogTarget::Null },
        }),
        ready: Ready { by: Readiness::Started, within: 10 * SECOND },
        depends_on: vec![],
        restart: Restart {
            on: RestartOn::Always,
            budget: Budget { count: 5, within: 10 * MINUTE },
            backoff: Backoff {
                initial: SECOND / 10,
                factor: 2.0,
                max: MINUTE,
                jitter: 0.25,
                reset_after: 10 * MINUTE,
            },
            success: vec![EndStatus::Code(0)],
            never: vec![],
            slow_retry: 5 * MINUTE,
        },
        stop: Stop { signal: 15, timeout: 10 * SECOND, kill: Kill::Cgroup },
        checks: vec![],
        actions: BTreeMap::new(),
        failover: None,
        mode: Mode::Act,
    }
}

/// The same, found by its executable and restarted by systemd.
pub(crate) fn adopted(name: &str) -> Service {
    let matching = Selector { exe: Some(format!("/usr/sbin/{name}")), ..Selector::default() };
    let restart_via = Some(RestartVia::Unit(format!("{name}.service")));
    let adopt = Adopt { matching, restart_via, timeout: 30 * SECOND, min: 1 };
    Service { origin: Origin::Adopt(adopt), ..service(name) }
}

/// What a service runs.
pub(crate) fn run(service: &mut Service) -> &mut Run {
    match &mut service.origin {
        Origin::Run(run) => run,
        Origin::Adopt(_) => unreachable!("it is run"),
    }
}

/// A probe, every 10 s, that fails after two failures.
pub(crate) fn probe(name: &str) -> Check {
    let address = "127.0.0.1:{port}".to_owned();
    let probe = Probe::Tcp(TcpProbe { address, send: None, expect: None, timeout: SECOND });
    let kind = CheckKind::Probe(ProbeCheck { probe, every: 10 * SECOND, fail: Flap::Row(2), pass_after: 1 });
    Check { name: name.to_owned(), scope: Scope::Instance, grace: 0, kind }
}

/// A number from outside, of the service as one, every 15 s.
pub(crate) fn number(name: &str, bound: Bound) -> Check {
    let source = NumberSource::Prometheus {
        url: "http://127.0.0.1/metrics".to_owned(),
        metric: "queue".to_owned(),
        labels: BTreeMap::new(),
        timeout: SECOND,
    };
    let (Bound::Above(clear) | Bound::Below(clear)) = bound;
    let kind = CheckKind::Threshold(Threshold {
        signal: Signal::Number(source),
        every: 15 * SECOND,
        bound,
        clear,
        hold: 10 * SECOND,
        keep: 0,
        samples: None,
    });
    Check { name: name.to_owned(), scope: Scope::Service, grace: 0, kind }
}

/// Steps, with a breaker of two tries of two minutes.
pub(crate) fn ladder(steps: Vec<Step>) -> Ladder {
    Ladder { steps, breaker: Breaker { tries: 2, within: 2 * MINUTE, fallback: None } }
}

/// A step that is taken at once.
pub(crate) fn step(act: Act) -> Step {
    Step { act, after: 0, if_still: None, approval: None, when: None }
}

pub(crate) fn alert() -> Act {
    Act::Alert(Alert { severity: Severity::Warning, message: None })
}

pub(crate) fn scale(by: i32) -> Act {
    Act::Scale(Scaling { by, cooldown: MINUTE })
}

pub(crate) fn hook(program: &str) -> Hook {
    Hook { command: vec![format!("/usr/bin/{program}")], timeout: 10 * SECOND }
}
