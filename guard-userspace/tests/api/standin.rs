//! A stand-in for the daemon's loop: it answers from a script.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use guard_core::health::CheckState;
use guard_core::ids::ProcId;
use guard_core::incident::{Entry, Incident, Moment};
use guard_core::policy::model::Service;
use guard_core::policy::{self, Source};
use guard_core::supervise::{CheckFacts, Command, InstanceFacts, ServiceFacts, ServiceState, Used};
use guard_userspace::clock;
use guard_userspace::daemon::api::{self, Readers};
use guard_userspace::daemon::door::{
    Answer, DaemonFacts, Door, Flag, Generation, Question, Refusal, Request, Told, Unguarded,
};
use guard_userspace::daemon::metrics;
use guard_userspace::daemon::tally::Recoveries;
use tokio::sync::oneshot;

const POLICIES: &str = "\
version: processguard/v1
service: checkout
owner: payments
labels: { team: payments }
impact: critical
rto: 30s
runbook: https://runbooks.example.org/checkout
run:
  command: [/usr/bin/checkout, --port, '{port}']
  ports: { first: 8080 }
  instances: { min: 1, start: 2, max: 4 }
restart: { budget: 5/10m }
---
version: processguard/v1
service: nginx
adopt: { exe: /usr/sbin/nginx }
mode: observe
";

/// What the script says now.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) services: Vec<ServiceFacts>,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) daemon: DaemonFacts,
    pub(crate) flags: Vec<(String, bool)>,
    pub(crate) broken: bool,
    /// After so many looks at it, what is stopping is stopped.
    pub(crate) looks: u32,
    /// Questions that were asked.
    pub(crate) asked: Vec<String>,
    next_pid: u32,
}

/// The servers with their stand-in, on a thread of their own.
pub(crate) struct StandIn {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) door: Door,
    pub(crate) socket: PathBuf,
    pub(crate) metrics: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        Self::with(None, Readers::Group)
    }

    pub(crate) fn with(group: Option<u32>, readers: Readers) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        // Others must reach the socket to be turned away by it.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let socket = directory.path().join("api.sock");
        let script = Arc::new(Mutex::new(Script::new()));
        let (door, mut requests) = Door::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, started) = std::sync::mpsc::channel();
        let settings = api::Settings { path: socket.clone(), group, readers };
        let (for_api, for_metrics, answering) = (door.clone(), door.clone(), Arc::clone(&script));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let api = api::Server::bind(&settings, for_api).unwrap();
                let metrics =
                    metrics::Server::bind("127.0.0.1:0".parse().unwrap(), for_metrics).await.unwrap();
                bound.send(metrics.address().unwrap()).unwrap();
                let answer = async {
                    while let Some(Request { question, reply, .. }) = requests.recv().await {
                        let _ = reply.send(answering.lock().unwrap().answer(question));
                    }
                };
                let (end_api, api_ended) = oneshot::channel::<()>();
                let (end_metrics, metrics_ended) = oneshot::channel::<()>();
                let api = api.run(async { drop(api_ended.await) });
                let metrics = metrics.run(async { drop(metrics_ended.await) });
                let ending = async {
                    let _ = stopped.await;
                    drop((end_api, end_metrics));
                };
                tokio::select! {
                    () = answer => panic!("the door was closed"),
                    _ = async { tokio::join!(api, metrics, ending) } => {}
                }
            });
        });
        let metrics = started.recv().unwrap();
        Self { script, door, socket, metrics, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    /// Ends the servers, as the daemon's end does.
    pub(crate) fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn tell(&self, number: u64, service: &str, message: &str) {
        let json = format!(
            "{{\"@timestamp\":\"2026-11-23T02:00:00.000000000Z\",\"message\":\"{message}\",\"service\":{{\"name\":\"{service}\"}}}}"
        );
        self.door.tell(Told { number, service: Some(service.into()), json });
    }

    /// Runs a verb against it.
    pub(crate) fn verb(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_processguard"));
        command.args(arguments).arg("--socket").arg(&self.socket);
        command.env_remove("PROCESSGUARD_LOG").env_remove("NO_COLOR").env("TZ", "UTC");
        command
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the servers' thread panicked");
        }
    }
}

pub(crate) fn policies() -> Vec<Arc<Service>> {
    let loaded = policy::load(&[Source { name: "test", bytes: POLICIES.as_bytes() }]);
    loaded.set.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)).services.into_iter().collect()
}

/// So long ago, in nanoseconds since boot; half a second more, so that a slow test reads the same.
fn ago(seconds: u64) -> u64 {
    clock::boot_ns().saturating_sub(seconds * 1_000_000_000 + 500_000_000)
}

impl Script {
    fn new() -> Self {
        let mut services: Vec<ServiceFacts> = policies().into_iter().map(service).collect();
        services[1].instances[0].checks = vec![CheckFacts {
            name: "api".into(),
            state: CheckState::Failing,
            why: "status 503, not 200".into(),
        }];
        services[1].state = ServiceState::Degraded;
        services[1].waiting = vec![(41, "failover".to_owned())];
        Self {
            services,
            incidents: vec![incident(2, None), incident(1, Some(3_000_000))],
            daemon: daemon(),
            flags: vec![("act".to_owned(), true), ("restart".to_owned(), true)],
            broken: false,
            looks: 3,
            asked: Vec::new(),
            next_pid: 500,
        }
    }

    fn answer(&mut self, question: Question) -> Result<Answer, Refusal> {
        self.asked.push(format!("{question:?}"));
        Ok(match question {
            Question::Services => {
                self.look();
                Answer::Services(self.services.clone())
            }
            Question::Incidents { service, open, limit } => {
                let wanted = |incident: &&Incident| {
                    service.as_ref().is_none_or(|service| incident.service == *service)
                        && (!open || incident.closed_ns.is_none())
                };
                Answer::Incidents(self.incidents.iter().filter(wanted).take(limit).cloned().collect())
            }
            Question::Incident(id) => Answer::Incidents(
                self.incidents.iter().filter(|incident| incident.id == id).cloned().collect(),
            ),
            Question::Daemon => Answer::Daemon(Box::new(self.daemon.clone())),
            Question::Unguarded => Answer::Unguarded(vec![Unguarded {
                pid: 812,
                exe: "/usr/bin/redis-server".to_owned(),
                command: "redis-server *:6379\u{1b}[2J".to_owned(),
                ports: vec![6379],
                unit: Some("redis.service".to_owned()),
            }]),
            Question::Draft(812) => Answer::Text("version: processguard/v1\nservice: redis\n".to_owned()),
            Question::Draft(pid) => return Err(Refusal::Unknown(format!("process {pid} does not live"))),
            Question::Suggest(name) => Answer::Text(format!("--- a/{name}.yaml\n+++ b/{name}.yaml\n")),
            Question::Command(command) => self.command(command)?,
            Question::Reload | Question::Rollback if self.broken => {
                return Err(Refusal::Policies("error: unknown key `impct`\n --> web.yaml:3:1\n".to_owned()));
            }
            Question::Reload => Answer::Generation(generation(5, "reload")),
            Question::Rollback => Answer::Generation(generation(4, "rollback to 3")),
            Question::Generations => {
                let before =
                    Generation { active: false, trial_until_unix_ns: None, ..generation(4, "start") };
                Answer::Generations(vec![generation(5, "reload"), before])
            }
            Question::Flags => Answer::Flags(self.flags()),
            Question::SetFlag(name, on) => {
                let Some(flag) = self.flags.iter_mut().find(|(known, _)| *known == name) else {
                    return Err(Refusal::Unknown(format!("no flag is named `{name}`")));
                };
                flag.1 = on;
                Answer::Flags(self.flags())
            }
        })
    }

    fn look(&mut self) {
        let stopping = self.services.iter_mut().find(|facts| facts.state == ServiceState::Stopping);
        if let Some(facts) = stopping {
            self.looks = self.looks.saturating_sub(1);
            if self.looks == 0 {
                set(facts, ServiceState::Stopped, "an operator stopped it");
            }
        }
    }

    fn flags(&self) -> Vec<Flag> {
        let flag = |(name, on): &(String, bool)| Flag {
            name: name.clone(),
            meaning: "carry out decisions",
            on: *on,
        };
        self.flags.iter().map(flag).collect()
    }

    pub(crate) fn service(&mut self, name: &str) -> Option<&mut ServiceFacts> {
        self.services.iter_mut().find(|facts| facts.policy.name == name)
    }

    fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        let name = match &command {
            Command::Start(name) | Command::Stop(name) | Command::Scale { service: name, .. } => name.clone(),
            Command::Restart(subject) => subject.service.to_string(),
            Command::Approve(id) | Command::Deny(id) => {
                let waits =
                    self.services.iter_mut().find(|facts| facts.waiting.iter().any(|one| one.0 == id.0));
                let facts = waits.ok_or_else(|| Refusal::Unknown(format!("nothing waits as {}", id.0)))?;
                facts.waiting.clear();
                return Ok(Answer::Done);
            }
            Command::Shutdown => {
                self.services
                    .iter_mut()
                    .for_each(|facts| set(facts, ServiceState::Stopped, "everything is being stopped"));
                return Ok(Answer::Done);
            }
        };
        let pid = self.next_pid;
        self.next_pid += 10;
        let Some(facts) = self.service(&name) else {
            return Err(Refusal::Unknown(format!("no service is named `{name}`")));
        };
        match command {
            Command::Start(_) => set(facts, ServiceState::Healthy, "ready"),
            Command::Stop(_) => set(facts, ServiceState::Stopping, "an operator stopped it"),
            Command::Restart(subject) => {
                if facts.policy.name == "nginx" {
                    return Err(Refusal::Conflict("records were lost: who lives is not certain".to_owned()));
                }
                for (index, instance) in facts.instances.iter_mut().enumerate() {
                    if subject.instance.is_none_or(|number| number == instance.number) {
                        instance.main = Some(ProcId { pid: pid + index as u32, start_ns: clock::boot_ns() });
                    }
                }
            }
            Command::Scale { instances, .. } => {
                facts.target = instances.min(4);
                facts.ready = facts.target;
                facts.instances = (0..facts.target).map(instance).collect();
            }
            _ => {}
        }
        Ok(Answer::Done)
    }
}

/// A service is in another state, with all its instances.
pub(crate) fn set(facts: &mut ServiceFacts, state: ServiceState, why: &str) {
    let wanted = !matches!(state, ServiceState::Stopped | ServiceState::Stopping);
    let ready =
        if matches!(state, ServiceState::Healthy | ServiceState::Degraded) { facts.target } else { 0 };
    (facts.state, facts.why, facts.wanted, facts.ready) = (state, why.to_owned(), wanted, ready);
    for instance in &mut facts.instances {
        (instance.state, instance.why) = (state, why.to_owned());
    }
}

fn service(policy: Arc<Service>) -> ServiceFacts {
    ServiceFacts {
        state: ServiceState::Healthy,
        why: "ready".to_owned(),
        since_ns: ago(200),
        wanted: true,
        target: 2,
        ready: 2,
        budget: (3, 5),
        down_since_ns: None,
        role: None,
        instances: (0..2).map(instance).collect(),
        checks: Vec::new(),
        waiting: Vec::new(),
        policy,
    }
}

fn instance(number: u32) -> InstanceFacts {
    InstanceFacts {
        number,
        state: ServiceState::Healthy,
        why: "ready".to_owned(),
        since_ns: ago(200),
        main: Some(ProcId { pid: 300 + number, start_ns: ago(201) }),
        ready_ns: Some(ago(200)),
        next_ns: None,
        port: Some(8080 + u16::try_from(number).unwrap()),
        checks: vec![CheckFacts { name: "api".into(), state: CheckState::Passing, why: "status 200".into() }],
        used: Some(Used { cpu_percent: 1.25, rss_bytes: 12 << 20, open_files: 14, threads: 3 }),
    }
}

fn generation(number: u64, why: &str) -> Generation {
    let now_ns = i64::try_from(clock::boot_ns()).unwrap() + clock::utc_offset_ns();
    Generation {
        number,
        accepted_unix_ns: now_ns - 7_200_500_000_000,
        services: 2,
        why: why.to_owned(),
        active: true,
        trial_until_unix_ns: Some(now_ns + 300_500_000_000),
        changes: vec!["checkout changed".to_owned()],
    }
}

/// A death and a recovery; open without a length.
pub(crate) fn incident(id: u64, lasted_ns: Option<u64>) -> Incident {
    let opened_ns = ago(120);
    let main = ProcId { pid: 300, start_ns: 1 };
    let entry = |after_ns: u64, kind, text: &str, process| Entry {
        time_ns: opened_ns + after_ns,
        kind,
        text: text.to_owned(),
        process,
    };
    let next = ProcId { pid: 301, start_ns: 2 };
    let mut timeline = vec![
        entry(0, Moment::Death, "killed by SIGKILL from bash[6937]", Some(main)),
        entry(190_000, Moment::Decision, "restart; 3 of 5 restarts left", None),
        entry(450_000, Moment::Fork, "", Some(next)),
        entry(900_000, Moment::Exec, "/usr/bin/checkout --port 8080", Some(next)),
        entry(2_100_000, Moment::Listen, "0.0.0.0:8080", Some(next)),
        entry(3_000_000, Moment::GoodAnswer, "status 200 \u{1b}]0;x", Some(next)),
    ];
    if lasted_ns.is_none() {
        timeline.truncate(2);
    }
    Incident {
        id,
        service: "checkout".to_owned(),
        instance: Some(0),
        cause: "killed by SIGKILL from bash[6937]".to_owned(),
        opened_ns,
        closed_ns: lasted_ns.map(|lasted_ns| opened_ns + lasted_ns),
        outcome: lasted_ns.map(|_| "recovered".to_owned()),
        timeline,
        rto_ns: Some(30_000_000_000),
        recovery: lasted_ns.map(|lasted_ns| (opened_ns + 2_000_000, opened_ns + lasted_ns)),
        gap: false,
        restarts: 1,
        ..Incident::default()
    }
}

fn recoveries(seconds: &[f64]) -> Recoveries {
    let mut recoveries = Recoveries::default();
    seconds.iter().for_each(|seconds| recoveries.add(*seconds));
    recoveries
}

fn daemon() -> DaemonFacts {
    DaemonFacts {
        version: "0.1.0".to_owned(),
        pid: 77,
        started_ns: ago(0),
        takeovers: 2,
        generation: 5,
        certain: true,
        records: vec![("fork", 1000), ("exit", 990)],
        losses: vec![("fork", "ring_full", 0), ("exit", "recursion", 3)],
        ring: (4096, 4 << 20),
        actions: vec![("start", "done", 3), ("signal", "failed", 1)],
        restarts: vec![("checkout".to_owned(), "signal", 2), ("nginx".to_owned(), "oom", 1)],
        recoveries: vec![("checkout".to_owned(), recoveries(&[0.003, 45.0, 1e6]))],
        downtime: vec![("checkout".to_owned(), 45.003)],
        answers: vec![("checkout".to_owned(), "a\"b\\c\nd".to_owned(), "pass", 17)],
        run_queue: vec![("checkout".to_owned(), vec![5, 3, 0, 1])],
        used: (1.5, 9 << 20, 40),
        troubles: vec!["the disk of /var/lib/processguard is full".to_owned()],
    }
}
