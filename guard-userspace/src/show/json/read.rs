//! The reader: a line back into the event that it was written from.

use std::net::SocketAddr;
use std::sync::Arc;

use guard_common::wire::Kind;
use guard_core::event::{
    Action, Cause, Cgroup, Container, Drift, Event, Exec, Exit, ExitStatus, Gap, Group, Listen, LossCause,
    Lost, Name, Oom, Origin, Process, Program, ProgramFlags, Resync, ResyncReason, Sender, Signal,
    SignalResult, Usage,
};
use guard_core::ids::{BootId, ProcId};
use guard_core::latency::{Instead, Stall, Waited};

use super::model;
use super::resources::ResourcesPart;
use super::string::to_bytes;
use super::waits;
use crate::clock::Stamp;
use crate::summary::{KindSummary, Summary};
use crate::timestamp::parse_utc;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An event, with its boot and the clocks' distance when it was written.
    Event(Stamp, Box<Event>),
    /// The end of a stream, with what was seen and lost in it.
    Summary(Summary),
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON, or its shape is not that of an event.
    #[error("{}", without_place(.0))]
    Shape(serde_json::Error),
    /// A field's value makes no sense.
    #[error("{field}: `{value}` is not {expected}")]
    Field {
        /// Name of the field, dotted.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A field is missing that events of this action have.
    #[error("{action} without {field}")]
    Missing {
        /// `event.action`.
        action: &'static str,
        /// Name of the field, dotted.
        field: &'static str,
    },
}

impl Error {
    /// The column (from 1) where the line went wrong, if it is known.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Shape(error) => Some(error.column().max(1)),
            Self::Field { .. } | Self::Missing { .. } => None,
        }
    }
}

/// serde's message without "at line 1 column 2": the caller knows the line, and tells the column.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

/// Reads one line, with or without its newline.
///
/// # Errors
/// If it is not JSON, or not an event or a summary as this program writes them.
pub fn read(line: &[u8]) -> Result<Line, Error> {
    let line: model::Line = serde_json::from_slice(line).map_err(Error::Shape)?;
    let boot = BootId::parse(&line.host.boot.id)
        .ok_or_else(|| field("host.boot.id", &line.host.boot.id, "a UUID"))?;
    let unix_ns = parse_utc(&line.timestamp).ok_or_else(|| {
        field("@timestamp", &line.timestamp, "a UTC time like 2025-11-21T22:36:49.123456789Z")
    })?;
    let time_ns = line.processguard.boottime_ns;
    let utc_offset_ns = i64::try_from(time_ns)
        .ok()
        .and_then(|time_ns| unix_ns.checked_sub(time_ns))
        .ok_or_else(|| field("processguard.boottime_ns", &time_ns.to_string(), "a time since boot"))?;
    if line.event.action == "summary" {
        let summary = line.processguard.summary;
        return summary
            .map(summary_from)
            .transpose()?
            .map(Line::Summary)
            .ok_or_else(|| missing("summary", "processguard.summary"));
    }
    let (cpu, sequence) = (line.processguard.cpu, line.event.sequence);
    let event = Event { time_ns, cpu, sequence, action: action(line, time_ns)? };
    Ok(Line::Event(Stamp { boot, utc_offset_ns }, Box::new(event)))
}

pub(super) fn field(field: &'static str, value: &str, expected: &'static str) -> Error {
    // The value is a stranger's and goes to a terminal.
    Error::Field { field, value: crate::show::escape::display(value.as_bytes()), expected }
}

const fn missing(action: &'static str, field: &'static str) -> Error {
    Error::Missing { action, field }
}

fn action(line: model::Line, time_ns: u64) -> Result<Action, Error> {
    let model::Line { event, process, container, server, processguard: mut extras, .. } = line;
    if event.action == "resources" && process.is_none() {
        let cgroup = Arc::new(place(container, &mut extras));
        let used = resources(extras.resources)?.group();
        return Ok(Action::Group(Box::new(Group { cgroup, used })));
    }
    let exit_code = process.as_ref().and_then(|process| process.exit_code);
    let subject = |action: &'static str, extras: &mut model::Extras| {
        let part = process.ok_or_else(|| missing(action, "process"))?;
        self::process(part, container, extras).map(Arc::new)
    };
    Ok(match event.action.as_str() {
        "fork" => Action::Fork { process: subject("fork", &mut extras)? },
        "exec" => {
            let process = subject("exec", &mut extras)?;
            let part = extras.exec.ok_or_else(|| missing("exec", "processguard.exec"))?;
            Action::Exec { process, exec: exec(&part)? }
        }
        "exit" => {
            let process = subject("exit", &mut extras)?;
            Action::Exit { process, exit: Box::new(exit(exit_code, extras)?) }
        }
        "signal" => {
            let process = subject("signal", &mut extras)?;
            let part = extras.signal.ok_or_else(|| missing("signal", "processguard.signal"))?;
            Action::Signal { process, signal: signal(part)? }
        }
        "oom" => {
            let process = subject("oom", &mut extras)?;
            let group = extras.oom.and_then(|oom| oom.memory_cgroup);
            Action::Oom { process, oom: Oom { memory_cgroup: group.map(cgroup).map(Arc::new) } }
        }
        "listen" => {
            let process = subject("listen", &mut extras)?;
            let server = server.ok_or_else(|| missing("listen", "server"))?;
            Action::Listen { process, listen: Listen { address: SocketAddr::new(server.ip, server.port) } }
        }
        "stall" => {
            let process = subject("stall", &mut extras)?;
            let part = extras.stall.ok_or_else(|| missing("stall", "processguard.stall"))?;
            Action::Stall { process, stall: stall(part)? }
        }
        "latency" => {
            let process = subject("latency", &mut extras)?;
            let part = extras.latency.ok_or_else(|| missing("latency", "processguard.latency"))?;
            Action::Latency { process, latency: Box::new(waits::from(&part)?) }
        }
        "resources" => {
            let process = subject("resources", &mut extras)?;
            let place = (process.cgroup.hierarchy, process.cgroup.id);
            let part = resources(extras.resources)?;
            let sample = Box::new(part.sample(process.id, time_ns, place));
            Action::Resources { process, sample }
        }
        "gap" => Action::Gap(Gap { lost: extras.lost.into_iter().map(lost).collect::<Result<_, _>>()? }),
        "resync" => {
            let part = extras.resync.ok_or_else(|| missing("resync", "processguard.resync"))?;
            Action::Resync(resync(part)?)
        }
        other => {
            let expected =
                "one of fork exec exit signal oom listen stall latency resources gap resync summary";
            return Err(field("event.action", other, expected));
        }
    })
}

fn resources(part: Option<ResourcesPart>) -> Result<ResourcesPart, Error> {
    part.ok_or_else(|| missing("resources", "processguard.resources"))
}

fn process(
    part: model::ProcessPart,
    container: Option<model::ContainerPart>,
    extras: &mut model::Extras,
) -> Result<Process, Error> {
    let program = part
        .executable
        .as_deref()
        .map(|executable| program(executable, &part.args, part.args_count, &part.working_directory, extras));
    // Pid 0 is nobody's parent: the writer leaves it out.
    let (parent, parent_name) = match part.parent.filter(|parent| parent.pid != 0) {
        Some(parent) => {
            let id = proc_id("process.parent.entity_id", parent.pid, parent.entity_id.as_deref())?;
            (id, Name::from_bytes(&to_bytes(&parent.name)))
        }
        None => (ProcId::NONE, Name::default()),
    };
    let group = place(container, extras);
    let caps_effective = match &extras.capabilities {
        Some(part) => mask("processguard.capabilities.effective", &part.effective)?,
        None => 0,
    };
    Ok(Process {
        id: proc_id("process.entity_id", part.pid, part.entity_id.as_deref())?,
        parent,
        parent_name,
        ns_pid: part.vpid,
        pid_namespace: extras.pid_namespace,
        uid: number("process.real_user.id", &part.real_user.id)?,
        gid: number("process.real_group.id", &part.real_group.id)?,
        euid: number("process.user.id", &part.user.id)?,
        egid: number("process.group.id", &part.group.id)?,
        caps_effective,
        exec_count: extras.exec_count,
        kernel_thread: extras.kernel_thread,
        cgroup: Arc::new(group),
        name: Name::from_bytes(&to_bytes(&part.name)),
        program: program.transpose()?.map(Arc::new),
    })
}

/// The control group that the event is about, or that its process is in.
fn place(container: Option<model::ContainerPart>, extras: &mut model::Extras) -> Cgroup {
    let Some(part) = extras.cgroup.take() else { return Cgroup::default() };
    Cgroup { unit: extras.unit.take(), container: container.map(self::container), ..cgroup(part) }
}

fn program(
    executable: &str,
    arguments: &[String],
    args_count: u32,
    working_directory: &str,
    extras: &model::Extras,
) -> Result<Program, Error> {
    let mut args = Vec::new();
    for argument in arguments {
        args.extend_from_slice(&to_bytes(argument));
        args.push(0);
    }
    if extras.args.last_cut {
        args.pop();
    }
    Ok(Program {
        executable: to_bytes(executable),
        inode: extras.executable.inode,
        device: device(&extras.executable.device)?,
        working_directory: to_bytes(working_directory),
        args,
        args_count,
        flags: ProgramFlags {
            args_truncated: extras.args.truncated,
            executable_truncated: extras.executable.truncated,
            working_directory_truncated: extras.working_directory.truncated,
            executable_deleted: extras.executable.deleted,
            working_directory_deleted: extras.working_directory.deleted,
        },
    })
}

/// `8:1`, major and minor number; absent for none.
fn device(text: &str) -> Result<u32, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    let parts =
        text.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match parts {
        Some((major @ 0..=0xfff_u32, minor @ 0..=0xf_ffff_u32)) => Ok(major << 20 | minor),
        _ => Err(field("processguard.executable.device", text, "MAJOR:MINOR")),
    }
}

/// The start time is the last part of the entity id. Without one it is not known.
fn proc_id(name: &'static str, pid: u32, entity_id: Option<&str>) -> Result<ProcId, Error> {
    let Some(entity_id) = entity_id else { return Ok(ProcId { pid, start_ns: 0 }) };
    let mut parts = entity_id.rsplitn(3, '-');
    let start_ns = parts.next().and_then(|part| part.parse().ok());
    let same_pid = parts.next().and_then(|part| part.parse().ok()) == Some(pid);
    match start_ns {
        Some(start_ns) if same_pid => Ok(ProcId { pid, start_ns }),
        _ => Err(field(name, entity_id, "BOOT-PID-START with the same pid")),
    }
}

fn number(name: &'static str, text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_not_a_number| field(name, text, "a number below 2^32"))
}

fn mask(name: &'static str, text: &str) -> Result<u64, Error> {
    u64::from_str_radix(text, 16).map_err(|_not_a_mask| field(name, text, "16 hexadecimal digits"))
}

fn cgroup(part: model::CgroupPart) -> Cgroup {
    let model::CgroupPart { id, hierarchy, path, unit, container } = part;
    Cgroup { id, hierarchy, path, unit, container: container.map(self::container) }
}

fn container(part: model::ContainerPart) -> Container {
    const RUNTIMES: [&str; 4] = ["docker", "containerd", "cri-o", "podman"];
    let runtime = part.runtime.and_then(|name| RUNTIMES.into_iter().find(|known| *known == name));
    Container { id: part.id, runtime }
}

fn exec(part: &model::ExecPart) -> Result<Exec, Error> {
    let caps_gained = match &part.capabilities_gained {
        Some(gained) => mask("processguard.exec.capabilities_gained.mask", &gained.mask)?,
        None => 0,
    };
    let model::ExecPart { calling_thread, secure, since_fork_ns, .. } = *part;
    Ok(Exec { calling_thread, caps_gained, secure, since_fork_ns })
}

fn exit(exit_code: Option<u8>, extras: model::Extras) -> Result<Exit, Error> {
    let unknown = extras.exit.is_some_and(|part| part.status == "unknown");
    let status = match (exit_code, &extras.signal) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, None) if unknown => ExitStatus::Unknown,
        (None, Some(signal)) => {
            let number = u8::try_from(signal.number).map_err(|_too_large| {
                field("processguard.signal.number", &signal.number.to_string(), "a signal")
            })?;
            ExitStatus::Signal { number, core: signal.core }
        }
        (None, None) => return Err(missing("exit", "process.exit_code or processguard.signal")),
    };
    let part = extras.cause.ok_or_else(|| missing("exit", "processguard.cause"))?;
    let cause = match part.kind.as_str() {
        "own" => Cause::Own,
        "signal" => {
            let part = part.sender.ok_or_else(|| missing("exit", "processguard.cause.sender"))?;
            Cause::Signal(sender(&part)?)
        }
        "fault" => Cause::Fault,
        "oom" => Cause::Oom(part.memory_cgroup.map(cgroup).map(Arc::new)),
        "kernel" => Cause::Kernel,
        "unknown" => Cause::Unknown,
        "record_lost" => Cause::RecordLost,
        other => {
            let expected = "one of own signal fault oom kernel unknown record_lost";
            return Err(field("processguard.cause.kind", other, expected));
        }
    };
    let usage = extras.usage.map(|used| Usage {
        user_ns: used.user_ns,
        system_ns: used.system_ns,
        peak_rss_bytes: used.peak_rss_bytes,
        minor_faults: used.minor_faults,
        major_faults: used.major_faults,
        voluntary_switches: used.voluntary_switches,
        involuntary_switches: used.involuntary_switches,
        read_bytes: used.read_bytes,
        write_bytes: used.write_bytes,
    });
    Ok(Exit {
        status,
        cause,
        lifetime_ns: extras.lifetime_ns,
        fork_to_exec_ns: extras.fork_to_exec_ns,
        exec_to_listen_ns: extras.exec_to_listen_ns,
        usage,
    })
}

fn sender(part: &model::SenderPart) -> Result<Sender, Error> {
    Ok(Sender {
        id: proc_id("processguard sender.entity_id", part.pid, part.entity_id.as_deref())?,
        name: Name::from_bytes(&to_bytes(&part.name)),
        uid: number("processguard sender.user.id", &part.user.id)?,
    })
}

fn signal(part: model::SignalPart) -> Result<Signal, Error> {
    let result = match part.result.as_deref() {
        Some("delivered") => SignalResult::Delivered,
        Some("ignored") => SignalResult::Ignored,
        Some("pending") => SignalResult::Pending,
        Some("overflow") => SignalResult::Overflow,
        Some("lost_info") => SignalResult::LostInfo,
        other => {
            let expected = "one of delivered ignored pending overflow lost_info";
            return Err(field("processguard.signal.result", other.unwrap_or_default(), expected));
        }
    };
    let origin = match part.origin.as_deref() {
        Some("process") => {
            let part = part.sender.ok_or_else(|| missing("signal", "processguard.signal.sender"))?;
            Origin::Process(sender(&part)?)
        }
        Some("kernel") => Origin::Kernel,
        Some("fault") => Origin::Fault,
        Some("timer") => Origin::Timer,
        other => {
            let expected = "one of process kernel fault timer";
            return Err(field("processguard.signal.origin", other.unwrap_or_default(), expected));
        }
    };
    let model::SignalPart { number, code, thread, value, .. } = part;
    Ok(Signal { number, code, origin, result, thread, value })
}

fn stall(part: model::StallPart) -> Result<Stall, Error> {
    let instead = part.instead.map(|part| {
        let id = proc_id("processguard.stall.instead.entity_id", part.pid, part.entity_id.as_deref())?;
        Ok(Instead { id, thread: part.thread, name: Name::from_bytes(&to_bytes(&part.name)) })
    });
    let known = [Waited::RunQueue(instead.transpose()?), Waited::Uninterruptible];
    let what = known.into_iter().find(|what| waits::kind(*what) == part.kind);
    let what =
        what.ok_or_else(|| field("processguard.stall.kind", &part.kind, "one of run_queue uninterruptible"))?;
    let model::StallPart { thread, cpu, waited_ns, ongoing, .. } = part;
    Ok(Stall { what, thread, cpu, waited_ns, ongoing })
}

fn lost(part: model::LostPart) -> Result<Lost, Error> {
    let cause = LossCause::ALL.into_iter().find(|cause| cause.name() == part.cause);
    let cause = cause.ok_or_else(|| {
        field("processguard.lost.cause", &part.cause, "ring_full, recursion, slow_reader or unreadable")
    })?;
    Ok(Lost { kind: kind("processguard.lost.kind", &part.kind)?, cause, cpu: part.cpu, count: part.count })
}

fn resync(part: model::ResyncPart) -> Result<Resync, Error> {
    let reason =
        [ResyncReason::Gap, ResyncReason::Sweep].into_iter().find(|known| known.name() == part.reason);
    let reason = reason.ok_or_else(|| field("processguard.resync.reason", &part.reason, "gap or sweep"))?;
    let model::ResyncPart { duration_ns, found, drift, .. } = part;
    Ok(Resync { reason, duration_ns, found, drift: self::drift(&drift) })
}

const fn drift(part: &model::DriftPart) -> Drift {
    let model::DriftPart { inserted, ended, programs, parents, users, capabilities, names, cgroups } = *part;
    Drift { inserted, ended, programs, parents, users, capabilities, names, cgroups }
}

fn kind(name: &'static str, text: &str) -> Result<Kind, Error> {
    let known =
        Kind::ALL.into_iter().chain([Kind::LATENCY, Kind::RESOURCES]).find(|kind| kind.name() == text);
    known.ok_or_else(|| {
        field(name, text, "one of fork exec exit signal oom listen cgroup stall latency resources")
    })
}

fn summary_from(part: model::SummaryPart) -> Result<Summary, Error> {
    let mut summary = Summary {
        kinds: Vec::new(),
        undecodable: part.undecodable,
        resyncs: part.resyncs.count,
        drift: drift(&part.resyncs.drift),
    };
    for entry in part.kinds {
        let kind = kind("processguard.summary.kinds.kind", &entry.kind)?;
        let model::LostByCause { ring_full, recursion, slow_reader, unreadable } = entry.lost;
        *summary.kind(kind) = KindSummary {
            seen: entry.seen,
            shown: entry.shown,
            ring_full,
            recursion,
            slow_reader,
            unreadable,
            ..KindSummary::new(kind)
        };
    }
    Ok(summary)
}
