//! Processes: how they are born, get ready and end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{AT_ONCE, Due, Fed, SECOND, World, event};
use crate::event::{
    Action, Cause, Cgroup, Container, Exec, Exit, ExitStatus, Listen, Name, Process, Program, Sender,
};
use crate::ids::ProcId;
use crate::names::SignalName;
use crate::policy::model::{EndStatus, Origin, Port, Readiness, Run, Selector, Service};
use crate::rehearse::scenario::{Behaviour, Delay, End, Look};
use crate::supervise::Subject;

/// Who starts processes: the daemon.
const DAEMON: ProcId = ProcId { pid: 900, start_ns: 1 };

/// A main process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) process: Arc<Process>,
    pub(super) born_ns: u64,
    pub(super) ready: bool,
    pub(super) frozen: bool,
    /// Since when it makes no progress; `None`: it does.
    pub(super) stuck_ns: Option<u64>,
    /// For how long it made progress before `moving_ns`.
    pub(super) moved_ns: u64,
    moving_ns: u64,
    /// It is ending, or has been told to.
    ending: bool,
    /// What was said of this life alone.
    pub(super) now: Behaviour,
    pub(super) used: super::samples::Used,
}

impl Life {
    /// It begins or ceases to make progress.
    pub(super) fn turned(&mut self, now_ns: u64, progress: Option<bool>) {
        match (progress, self.stuck_ns) {
            (Some(false), None) => {
                self.moved_ns += now_ns - self.moving_ns;
                self.stuck_ns = Some(now_ns);
            }
            (Some(true), Some(_)) => {
                self.moving_ns = now_ns;
                self.stuck_ns = None;
            }
            _ => {}
        }
    }

    /// How long it made progress so far, and when it last did.
    pub(super) fn progress(&self, now_ns: u64) -> (u64, u64) {
        match self.stuck_ns {
            Some(stuck_ns) => (self.moved_ns, stuck_ns),
            None => (self.moved_ns + (now_ns - self.moving_ns), now_ns),
        }
    }
}

impl World<'_> {
    /// A process is born: into the first place that is free, if the instance is not known.
    pub(super) fn bear(
        &mut self,
        born_ns: u64,
        service: &Service,
        instance: Option<u32>,
        run: Option<&Run>,
    ) -> Arc<Process> {
        let name: Arc<str> = service.name.as_str().into();
        let free = (0..).find(|instance| !self.lives.contains_key(&(name.clone(), *instance)));
        let subject = Subject { service: name.clone(), instance: instance.or(free) };
        let pid = self.next_pid;
        self.next_pid += 1;
        let id = ProcId { pid, start_ns: born_ns };
        let look = self.said(&subject, |said| said.process.clone()).unwrap_or_default();
        let process = Arc::new(match (run, &service.origin) {
            (Some(run), _) => self.started(id, &subject, run),
            (None, Origin::Adopt(adopt)) => self.adopted(id, &adopt.matching, &look),
            (None, Origin::Run(run)) => self.started(id, &subject, run),
        });
        let stuck = self.said(&subject, |said| said.progress) == Some(false);
        let life = Life {
            process: process.clone(),
            born_ns,
            ready: false,
            frozen: false,
            stuck_ns: stuck.then_some(born_ns),
            moved_ns: 0,
            moving_ns: born_ns,
            ending: false,
            now: Behaviour::default(),
            used: super::samples::Used::new(born_ns),
        };
        self.lives.insert((name, subject.instance.unwrap_or_default()), life);
        if let Some(Delay::After(span)) = self.said(&subject, |said| said.ready_in) {
            self.enter(born_ns.saturating_add(span), Due::Ready(id));
        }
        if let Some((span, end)) = self.said(&subject, |said| said.dies) {
            self.enter(born_ns.saturating_add(span), Due::Ends(id, end, None));
        }
        process
    }

    fn started(&self, id: ProcId, subject: &Subject, run: &Run) -> Process {
        let instance = subject.instance.unwrap_or_default();
        let path = format!("/processguard/{}/{instance}", subject.service);
        let uid = run.user.as_deref().map_or(0, |user| self.uid(user));
        process(id, uid, &run.command, run.command.first().cloned(), cgroup(id, path))
    }

    fn adopted(&self, id: ProcId, selector: &Selector, look: &Look) -> Process {
        let exe = look.exe.clone().or_else(|| selector.exe.clone());
        let exe = exe.unwrap_or_else(|| format!("/usr/bin/process-{}", id.pid));
        let command = if look.command.is_empty() { vec![exe.clone()] } else { look.command.clone() };
        let uid = look.uid.or_else(|| selector.user.as_deref().map(|user| self.uid(user)));
        let unit = look.unit.clone().or_else(|| selector.unit.clone());
        let path = look.cgroup.clone().or_else(|| selector.cgroup.clone());
        let below = unit
            .as_ref()
            .map_or_else(|| format!("/system.slice/{}", id.pid), |unit| format!("/system.slice/{unit}"));
        let mut group = cgroup(id, path.unwrap_or(below));
        group.unit = unit.map(Into::into);
        let container = look.container.as_deref().or(selector.container.as_deref());
        group.container = container.map(|short| {
            // A container is matched by the beginning of its id.
            Container { id: format!("{short:0<64}").into(), runtime: None }
        });
        process(id, uid.unwrap_or_default(), &command, Some(exe), group)
    }

    /// Its number, or the one that this world gives to its name.
    pub(crate) fn uid(&self, user: &str) -> u32 {
        user.parse().unwrap_or_else(|_| self.set.users.get(user).copied().unwrap_or(u32::MAX))
    }

    /// The place of a process that lives.
    pub(super) fn place(&self, id: ProcId) -> Option<(Arc<str>, u32)> {
        self.lives.iter().find(|(_, life)| life.process.id == id).map(|(place, _)| place.clone())
    }

    pub(super) fn lives_of(&mut self, subject: &Subject) -> impl Iterator<Item = &mut Life> {
        self.lives
            .iter_mut()
            .filter(|((service, instance), _)| {
                *service == subject.service && subject.instance.is_none_or(|wanted| wanted == *instance)
            })
            .map(|(_, life)| life)
    }

    /// What the kernel tells of a new process.
    pub(super) fn birth(&mut self, now_ns: u64, process: &Arc<Process>) {
        let fork = event(now_ns, Action::Fork { process: process.clone() });
        let exec = Exec { calling_thread: process.id.pid, since_fork_ns: Some(0), ..Exec::default() };
        let exec = event(now_ns, Action::Exec { process: process.clone(), exec });
        self.tell(now_ns, Fed::Event(Box::new(fork)));
        self.tell(now_ns, Fed::Event(Box::new(exec)));
    }

    pub(super) fn ready(&mut self, now_ns: u64, id: ProcId) -> Vec<Fed> {
        let Some(place) = self.place(id) else { return Vec::new() };
        let Some(service) = self.service(&place.0) else { return Vec::new() };
        let whole = Subject { service: place.0.clone(), instance: Some(place.1) };
        let look = self.said(&whole, |said| said.process.clone()).unwrap_or_default();
        let Some(life) = self.lives.get_mut(&place) else { return Vec::new() };
        life.ready = true;
        let process = life.process.clone();
        let subject = Some(Subject { service: place.0.clone(), instance: Some(place.1) });
        let mut fed = vec![Fed::Note { subject, text: format!("pid {} is ready", id.pid) }];
        let port = match (&service.ready.by, &service.origin) {
            (Readiness::Notify, _) => {
                fed.push(Fed::Notified(id));
                None
            }
            (Readiness::Listen(Port::Fixed(port)), _) => Some(*port),
            (Readiness::Listen(Port::Instance), Origin::Run(run)) => run.port(place.1),
            (_, Origin::Adopt(adopt)) => look.listens.or(adopt.matching.listens),
            _ => None,
        };
        if let Some(port) = port {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listen = Action::Listen { process, listen: Listen { address } };
            fed.push(Fed::Event(Box::new(event(now_ns, listen))));
        }
        fed
    }

    /// It has been told to end.
    pub(super) fn asked_to_end(&mut self, now_ns: u64, place: &(Arc<str>, u32), signal: u8) {
        let subject = Subject { service: place.0.clone(), instance: Some(place.1) };
        let how = self.said(&subject, |said| said.ends).unwrap_or(End::Signalled);
        let Some(Delay::After(span)) = self.said(&subject, |said| said.stops_in) else { return };
        let Some(life) = self.lives.get_mut(place) else { return };
        if !std::mem::replace(&mut life.ending, true) {
            let id = life.process.id;
            self.enter(now_ns.saturating_add(span), Due::Ends(id, how, Some(signal)));
        }
    }

    /// It ends now, if it still lives.
    pub(super) fn ends(&mut self, now_ns: u64, id: ProcId, end: End, signal: Option<u8>) -> Vec<Fed> {
        let Some(place) = self.place(id) else { return Vec::new() };
        let Some(life) = self.lives.remove(&place) else { return Vec::new() };
        let daemon = || Cause::Signal(Sender { id: DAEMON, name: Name::from_bytes(b"processguard"), uid: 0 });
        let killed = |number| ExitStatus::Signal { number, core: false };
        let (status, cause, text) = match (end, signal) {
            (End::Oom, _) => (killed(9), Cause::Oom(None), "was killed: out of memory".to_owned()),
            (End::Status(EndStatus::Code(code)), _) => {
                (ExitStatus::Code(code), Cause::Own, format!("ended with exit code {code}"))
            }
            (End::Status(EndStatus::Signal(number)), _) => {
                // A fault is the process's own; other signals come from somewhere.
                let fault = [4, 5, 7, 8, 11, 31].contains(&number);
                let cause = if fault { Cause::Fault } else { Cause::Unknown };
                (killed(number), cause, format!("was killed by {}", SignalName(number.into())))
            }
            (End::Signalled, signal) => {
                let number = signal.unwrap_or(15);
                (killed(number), daemon(), format!("ended by {}", SignalName(number.into())))
            }
        };
        if let (Some(service), None) = (self.service(&place.0), signal)
            && let Origin::Adopt(adopt) = &service.origin
            && adopt.restart_via.is_none()
        {
            // Somebody else looks after it.
            self.enter(now_ns + 10 * SECOND, Due::Reborn(place.0.clone()));
        }
        let exit = Exit {
            status,
            cause,
            lifetime_ns: now_ns.saturating_sub(life.born_ns),
            fork_to_exec_ns: None,
            exec_to_listen_ns: None,
            usage: None,
        };
        let action = Action::Exit { process: life.process, exit: Box::new(exit) };
        let subject = Some(Subject { service: place.0, instance: Some(place.1) });
        vec![
            Fed::Note { subject, text: format!("pid {} {text}", id.pid) },
            Fed::Event(Box::new(event(now_ns, action))),
        ]
    }

    /// Somebody else started it again.
    pub(super) fn reborn(&mut self, now_ns: u64, name: &Arc<str>) -> Vec<Fed> {
        let living = self.lives.keys().filter(|(service, _)| service == name).count();
        if let Some(service) = self.service(name)
            && (living as u64) < u64::from(self.exist(name))
        {
            let process = self.bear(now_ns, service, None, None);
            self.birth(now_ns + AT_ONCE, &process);
        }
        Vec::new()
    }
}

fn cgroup(id: ProcId, path: String) -> Cgroup {
    // Ids of control groups are inodes; of these, one each.
    Cgroup { id: 100_000 + u64::from(id.pid), path: Some(path.into()), ..Cgroup::default() }
}

fn process(id: ProcId, uid: u32, command: &[String], exe: Option<String>, cgroup: Cgroup) -> Process {
    let executable = exe.unwrap_or_default();
    let name = executable.rsplit('/').next().unwrap_or_default();
    let mut args = Vec::new();
    for argument in command {
        args.extend_from_slice(argument.as_bytes());
        args.push(0);
    }
    let program = Program {
        executable: executable.clone().into_bytes(),
        inode: 1,
        working_directory: b"/".to_vec(),
        args,
        args_count: u32::try_from(command.len()).unwrap_or(u32::MAX),
        ..Program::default()
    };
    Process {
        id,
        parent: DAEMON,
        parent_name: Name::from_bytes(b"processguard"),
        ns_pid: id.pid,
        uid,
        gid: uid,
        euid: uid,
        egid: uid,
        exec_count: 1,
        cgroup: Arc::new(cgroup),
        name: Name::from_bytes(name.as_bytes()),
        program: Some(Arc::new(program)),
        ..Process::default()
    }
}
