//! How the daemon begins: everything is opened, what the one before left is taken up, and only then anything is decided.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_common::limits::RING_BYTES;
use guard_core::ids::{BootId, ProcId};
use guard_core::incident::Incidents;
use guard_core::policy::PolicySet;
use guard_core::supervise::{Before, Clock, Input, Saved, Settings as Supervising, Subject, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::alerts::{self, Alerts};
use super::answers::{ORIGIN, of_this_boot};
use super::door::{Door, Refusal, Request};
use super::endings::Endings;
use super::flags::Flags;
use super::gauges::Gauges;
use super::generations::{self, Generations};
use super::hands::exits::Exits;
use super::hands::identity::Checked;
use super::hands::{self, Hands};
use super::lives::Lives;
use super::policies::{self, Accepted, Unaccepted};
use super::probes::Probes;
use super::quick::Quick;
use super::resume::{self, Found, Main};
use super::settings::Settings;
use super::sketches;
use super::state::{Durability, Recovered, State};
use super::tally::Tally;
use super::told::Teller;
use super::turn::{Daemon, Signals, Sources};
use crate::clock::{self, Stamp};
use crate::exit::{Failure, say};
use crate::holder::{Audience, Holder, Settings as Holding};
use crate::redact::Redactor;
use crate::sensor::{self, Options, Watch};

/// Checks that are asked at once.
const PROBES: usize = 128;

/// How often the process table is compared with the kernel's own.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(60);

/// What is put down of a service: what the supervisor saved, and who its main processes are.
#[derive(Debug, Serialize)]
pub(super) struct Keeping<'a> {
    pub(super) saved: &'a Saved,
    pub(super) mains: Vec<Main>,
}

/// What a daemon before this one has put down of it.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) saved: Saved,
    pub(super) mains: Vec<Main>,
}

/// Opens everything, and takes up what lives.
///
/// # Errors
/// If something that the daemon cannot do without is missing.
pub(super) async fn open(
    settings: Settings,
    door: Door,
    requests: mpsc::Receiver<Request>,
) -> Result<(Daemon, Sources), Failure> {
    let started_ns = clock::boot_ns();
    sensor::probe::require_privileges()?;
    sensor::probe::require_host_pids()?;
    let read = match policies::read(&settings.policies) {
        // Whoever is refused at the first start leaves nothing behind.
        Err(why) if !State::is_at(&settings.state) => return Err(refused(why)),
        read => read,
    };
    let boot = clock::boot_id().map_err(|source| Failure::System { action: "read the boot id", source })?;
    let stamp = Stamp { boot, utc_offset_ns: clock::utc_offset_ns() };
    let signals = Signals::listen()?;
    let (mut state, recovered) = State::open(&settings.state, stamp)?;
    let Chosen { held, wanted, troubles } = choose(&mut state, &recovered, read, stamp.unix_ns(started_ns))?;
    let takeovers = counter(&recovered, DAEMONS);
    let mut together = state.together();
    // Also on a full disk the services are kept.
    if let Err(error) = state.write(together.put_counter(DAEMONS, takeovers + 1), Durability::Crash) {
        say(&format!("processguard: {}", error.advice()));
    }
    recovered.warnings.iter().for_each(|warning| say(&format!("processguard: {warning}")));
    let recording = settings.state.join("recording");
    let (mut holder, sensor) = Holder::open(holding(&settings, recording.clone()))?;
    let gauges = Gauges::attach(settings.sample_interval)?;
    let (hands, notices) = Hands::open(hands::Settings {
        cgroup_root: settings.cgroup.clone().into(),
        runtime_dir: settings.runtime.clone(),
        ..hands::Settings::default()
    })
    .await?;
    let (probes, answers) = Probes::new(PROBES);
    let (alerts, alerted) = Alerts::new(alerts::Settings {
        exec: Some(settings.alert_exec.clone()).filter(|command| !command.is_empty()),
        webhook: settings.alert_webhook.clone(),
        // A host without either would be told of a failure with each alert.
        journal: ["/run/systemd/journal/socket", "/dev/log"].iter().any(|path| Path::new(path).exists()),
    });
    let (mains, before) = remembered(&recovered, stamp);
    let rooms = hands.rooms().all().map_err(hands::HandsError::from)?;
    let mut ends = resume::wanted(&mains, &rooms);
    holder.take_in()?;
    while let Some(event) = holder.poll_event() {
        ends.see(&event);
    }
    let found = resume::find(&holder, &recording, &mains, rooms, ends);
    let mut daemon = Daemon {
        supervisor: Supervisor::new(Supervising { seed: seed(boot), clock: wall(stamp) }),
        incidents: Incidents::new(recovered.last_incident + 1),
        generations: held,
        flags: Flags::restored(&recovered.flags),
        exits: Exits::new()
            .map_err(|source| Failure::System { action: "make an epoll descriptor", source })?,
        endings: Endings::default(),
        lives: Lives::default(),
        quick: Quick::default(),
        deeds: JoinSet::new(),
        teller: Teller::new(door, stamp),
        tally: Tally::default(),
        sketches: sketches::restored(&recovered.sketches),
        sketching: sketches::Due::default(),
        asked: HashMap::new(),
        born: HashMap::new(),
        effects: VecDeque::new(),
        outcomes: vec![],
        changed: vec![],
        last_end: HashMap::new(),
        used_up: vec![],
        to_forget: vec![],
        forgotten: vec![],
        unseen: vec![],
        spares: VecDeque::new(),
        starts: 0,
        certain: true,
        unwritten: None,
        keeper_due: (!hands.has_keeper()).then(tokio::time::Instant::now),
        idle: None,
        own_pid: std::process::id(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        started_ns,
        takeovers,
        troubles,
        settings,
        holder,
        gauges,
        hands,
        probes,
        alerts,
        state,
    };
    daemon.take_up(before, recovered, &found)?;
    if let Some((accepted, why)) = wanted
        && let Err(refusal) = daemon.adopt(accepted, why, true)
    {
        daemon.say("trouble", format!("the policies that were read do not hold: {refusal}"));
    }
    Ok((daemon, Sources { sensor, requests, answers, alerted, notices, signals }))
}

/// What holds at the start, and what is to hold right after.
struct Chosen {
    held: Generations,
    /// Read from the files, and another set than the one that held before.
    wanted: Option<(Accepted, String)>,
    troubles: Vec<String>,
}

/// Which policies hold. Those that held before are gone on with first, so that what changed meanwhile is a reload like others. Files
/// with errors keep no daemon from starting if there was a set before: services must not be left alone for a typing error.
fn choose(
    state: &mut State,
    recovered: &Recovered,
    read: Result<Accepted, Unaccepted>,
    unix_ns: i64,
) -> Result<Chosen, Failure> {
    let before = held_before(recovered);
    match (before, read) {
        (Some(held), Ok(read)) => {
            let wanted = (*read.set != **held.set()).then(|| (read, "start".to_owned()));
            Ok(Chosen { held, wanted, troubles: vec![] })
        }
        (Some(held), Err(why)) => {
            let why = match why {
                Unaccepted::Invalid(text) => text,
                why => Refusal::from(why).to_string(),
            };
            let number = held.current().number;
            say(&format!("{why}\nprocessguard: generation {number}, which held before, holds on"));
            let trouble = format!(
                "the policies' files have errors: generation {number} holds on; see `processguard reload`"
            );
            Ok(Chosen { held, wanted: None, troubles: vec![trouble] })
        }
        (None, Ok(read)) => {
            if !read.warnings.is_empty() {
                say(read.warnings.trim_end());
            }
            let first = generations::after(
                recovered.last_generation,
                &PolicySet::default(),
                &read,
                "start".to_owned(),
                unix_ns,
            );
            let mut together = state.together();
            state.write(together.put_generation(&first, &read.texts), Durability::Power)?;
            let number = first.number;
            Ok(Chosen {
                held: Generations::new(first, read.set, number, number),
                wanted: None,
                troubles: vec![],
            })
        }
        (None, Err(why)) => Err(refused(why)),
    }
}

/// There is no set, and none was before.
fn refused(why: Unaccepted) -> Failure {
    match why {
        Unaccepted::Unread(error) => Failure::Files(error),
        Unaccepted::Invalid(text) => {
            say(text.trim_end());
            Failure::Policies
        }
    }
}

/// The generation that held, if this version can still read it.
fn held_before(recovered: &Recovered) -> Option<Generations> {
    let (generation, files) = recovered.active.clone()?;
    let accepted = policies::again(&files).ok()?;
    let origin = recovered
        .counters
        .iter()
        .find(|(name, _)| name == ORIGIN)
        .map_or(generation.number, |(_, count)| *count);
    Some(Generations::new(generation, accepted.set, origin, recovered.last_generation))
}

/// The counter of daemons that used this state.
const DAEMONS: &str = "daemons";

fn counter(recovered: &Recovered, name: &str) -> u64 {
    recovered.counters.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
}

fn holding(settings: &Settings, directory: PathBuf) -> Holding {
    Holding {
        pins: settings.pins.clone(),
        socket: settings.runtime.join("sensor.sock"),
        directory,
        rotation: settings.record,
        sensor: Options {
            watch: Watch::AllFollowed,
            ring_bytes: settings.ring_bytes.unwrap_or(RING_BYTES),
            ..Options::default()
        },
        ring_size_matters: settings.ring_bytes.is_some(),
        watched: vec![std::process::id()],
        redactor: Redactor::default(),
        interval: crate::feed::INTERVAL,
        sweep: SWEEP,
        audience: Audience::Owner,
    }
}

/// Main processes and the supervisor's state, as they were put down. What cannot be read is begun anew, and that is told.
fn remembered(recovered: &Recovered, now: Stamp) -> (HashMap<Subject, Main>, Before) {
    let (mut mains, mut services) = (HashMap::new(), vec![]);
    for (name, text) in &recovered.services {
        match serde_json::from_str::<Kept>(text) {
            Ok(kept) => {
                let name: Arc<str> = name.as_str().into();
                for main in kept.mains {
                    let subject = Subject { service: Arc::clone(&name), instance: Some(main.instance) };
                    mains.insert(subject, main);
                }
                services.push((name, kept.saved));
            }
            Err(error) => tracing::error!("what was put down of {name} cannot be read: {error}"),
        }
    }
    let shared = recovered.shared.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let is_another_boot = recovered.before.is_some_and(|before| before.boot != now.boot);
    let shift_ns = is_another_boot.then(|| recovered.shift_ns(now));
    (mains, Before { services, shared, shift_ns })
}

/// Dice differ from boot to boot; within one, every daemon throws the same.
fn seed(boot: BootId) -> u64 {
    (boot.0 ^ (boot.0 >> 64)) as u64
}

/// What time it is, for guards and texts.
pub(super) fn wall(stamp: Stamp) -> Clock {
    Clock { boot_ns: stamp.utc_offset_ns }
}

impl Daemon {
    /// Goes on where the daemon before left off.
    fn take_up(&mut self, mut before: Before, recovered: Recovered, found: &Found) -> Result<(), Failure> {
        let now_ns = clock::boot_ns();
        let set = Arc::clone(self.generations.set());
        let certain = self.holder.core().is_certain();
        self.certain = certain;
        self.supervisor.handle(now_ns, Input::Certain(certain));
        self.incidents.policies(now_ns, &set);
        if before.shared.is_none() {
            // Nothing was put down: whatever lives in our rooms is found by them.
            before.services.clear();
        }
        for (subject, process) in found.living() {
            let room = found.rooms.get(&process.id).cloned();
            self.lives.begin(subject.clone(), process.id, room);
        }
        let stamp = self.teller.stamp();
        self.incidents.restore(recovered.open.into_iter().map(|kept| of_this_boot(kept, stamp)));
        for (subject, event) in found.ends() {
            self.incidents.event(&event, Some((subject.clone(), true)));
        }
        self.supervisor
            .restore(now_ns, &set, before, &|subject| found.life(subject))
            .map_err(|error| Failure::Daemon(error.to_string()))?;
        self.tell_of_the_living(now_ns);
        self.incidents.reconcile(now_ns, &self.supervisor.facts());
        for facts in self.supervisor.facts() {
            for instance in &facts.instances {
                if let Some(main) = instance.main {
                    let service = facts.policy.name.as_str().into();
                    self.follow(&Subject { service, instance: Some(instance.number) }, main);
                }
            }
        }
        for (service, instance) in self.hands.logging() {
            let subject = Subject { service: service.into(), instance: Some(instance) };
            if self.supervisor.run_of(&subject).is_none() {
                self.hands.forget(&subject);
            }
        }
        // Rooms of the past, and those that were made ahead by the daemon before.
        if let Err(error) = self.hands.rooms().tidy(&|room| self.lives.holds(room.id())) {
            tracing::warn!("empty control groups stay: {error}");
        }
        for action in recovered.unfinished {
            let whose =
                action.instance.map_or_else(|| action.service.clone(), |n| format!("{}/{n}", action.service));
            tracing::info!("{whose}: nobody knows whether action {} ({}) was done", action.id.0, action.kind);
            self.outcomes.push((action.id, Some("the daemon ended before it was known".to_owned())));
        }
        Ok(())
    }

    /// A main process is watched by a descriptor, its group by the gauges.
    pub(super) fn follow(&mut self, subject: &Subject, main: ProcId) {
        if self.exits.has(main) {
            return;
        }
        match Checked::open(main).map(Checked::into_pidfd) {
            Ok(pidfd) => {
                if let Err(error) = self.exits.add(main, pidfd) {
                    tracing::warn!("process {} is not watched by a descriptor: {error}", main.pid);
                }
            }
            // It has ended meanwhile, which its record tells; or must not be touched, but may be seen.
            Err(error) => tracing::debug!("{error}"),
        }
        self.holder.sensor().watch().join(main.pid, 1);
        let below = self.below(main);
        self.gauges.watch(clock::boot_ns(), subject, main, &below);
    }

    /// What descends from a process.
    fn below(&self, main: ProcId) -> Vec<u32> {
        let mut parents = HashSet::from([main]);
        let mut living: Vec<_> = self.holder.core().processes().living().collect();
        living.sort_unstable_by_key(|process| process.id.start_ns);
        let mut below = vec![];
        for process in living {
            if parents.contains(&process.parent) {
                parents.insert(process.id);
                below.push(process.id.pid);
            }
        }
        below
    }
}
