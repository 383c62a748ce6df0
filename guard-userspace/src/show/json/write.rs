//! The writer: an event's line straight into a buffer, without anything in between.
//!
//! A storm of short processes makes three lines for each, and the whole reader may spend 5 us of
//! CPU on them, so this is written by hand: constant text is copied, whatever stays the same from
//! line to line is kept as text.

use guard_core::event::{
    Action, Cause, Cgroup, Drift, Event, Exec, Exit, ExitStatus, Gap, Lost, Origin, Process, Program, Resync,
    Sender, Signal, SignalResult,
};
use guard_core::ids::{BootId, ProcId};
use guard_core::latency::{Stall, Waited};

use super::resources;
use super::string::{write_bytes, write_text};
use super::waits;
use crate::clock::Stamp;
use crate::names::{SignalName, capabilities};
use crate::show::{escape, hex};
use crate::summary::Summary;
use crate::timestamp::SecondText;

/// Writes lines of JSON.
#[derive(Debug)]
pub struct JsonWriter {
    /// `boot.0` as 32 digits: begins every entity id.
    boot_digits: [u8; 32],
    /// The part of a line that is the same in the whole boot.
    host: Vec<u8>,
    boot: BootId,
    stamp: Stamp,
    event_second: SecondText,
    start_second: SecondText,
    command_line: Vec<u8>,
}

impl JsonWriter {
    /// A writer; it notices a change of the boot.
    #[must_use]
    pub fn new(stamp: Stamp) -> Self {
        let mut writer = Self {
            boot_digits: [0; 32],
            host: Vec::new(),
            boot: stamp.boot,
            stamp,
            event_second: SecondText::default(),
            start_second: SecondText::default(),
            command_line: Vec::new(),
        };
        writer.set_boot(stamp.boot);
        writer
    }

    fn set_boot(&mut self, boot: BootId) {
        self.boot = boot;
        self.boot_digits = hex::<32>(boot.0);
        self.host.clear();
        self.host.extend_from_slice(br#","ecs":{"version":"8.17.0"},"host":{"boot":{"id":""#);
        for (index, digit) in self.boot_digits.iter().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                self.host.push(b'-');
            }
            self.host.push(*digit);
        }
        self.host.extend_from_slice(br#""}}"#);
    }

    /// Appends the event's line, newline included.
    pub fn event(&mut self, out: &mut Vec<u8>, stamp: &Stamp, event: &Event) {
        self.begin(out, stamp, event.time_ns);
        out.extend_from_slice(match &event.action {
            Action::Fork { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["start"],"action":"fork","sequence":"#
                    .as_slice()
            }
            Action::Exec { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["change"],"action":"exec","sequence":"#
            }
            Action::Exit { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["end"],"action":"exit","sequence":"#
            }
            Action::Signal { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["info"],"action":"signal","sequence":"#
            }
            Action::Oom { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["info"],"action":"oom","sequence":"#
            }
            Action::Listen { .. } => {
                br#","event":{"kind":"event","category":["network"],"type":["info"],"action":"listen","sequence":"#
            }
            Action::Stall { .. } => {
                br#","event":{"kind":"event","category":["process"],"type":["info"],"action":"stall","sequence":"#
            }
            Action::Latency { .. } => {
                br#","event":{"kind":"metric","category":["process"],"type":["info"],"action":"latency","sequence":"#
            }
            Action::Resources { .. } => {
                br#","event":{"kind":"metric","category":["process"],"type":["info"],"action":"resources","sequence":"#
            }
            Action::Group(_) => {
                br#","event":{"kind":"metric","category":["host"],"type":["info"],"action":"resources","sequence":"#
            }
            Action::Gap(_) => {
                br#","event":{"kind":"event","category":["process"],"type":["info"],"action":"gap","sequence":"#
            }
            Action::Resync(_) => {
                br#","event":{"kind":"event","category":["process"],"type":["info"],"action":"resync","sequence":"#
            }
        });
        number(out, event.sequence);
        out.push(b'}');
        if let Some(process) = event.action.process() {
            let exit = if let Action::Exit { exit, .. } = &event.action { Some(exit.status) } else { None };
            self.process(out, event.time_ns, exit, process);
            container(out, &process.cgroup);
        }
        if let Action::Group(group) = &event.action {
            container(out, &group.cgroup);
        }
        if let Action::Listen { listen, .. } = &event.action {
            let version = if listen.address.is_ipv4() { "ipv4" } else { "ipv6" };
            text(out, r#","network":{"transport":"tcp","type":"#, version);
            text(out, r#"},"server":{"ip":"#, &listen.address.ip().to_string());
            value(out, r#","port":"#, listen.address.port());
            out.push(b'}');
        }
        out.extend_from_slice(&self.host);
        self.extras(out, event);
        out.extend_from_slice(b"}}\n");
    }

    /// Appends the line of a living process: what is known of it, without anything that happened.
    pub fn living(&mut self, out: &mut Vec<u8>, stamp: &Stamp, time_ns: u64, process: &Process) {
        self.begin(out, stamp, time_ns);
        out.extend_from_slice(
            br#","event":{"kind":"state","category":["process"],"type":["info"],"action":"living"}"#,
        );
        self.process(out, time_ns, None, process);
        container(out, &process.cgroup);
        out.extend_from_slice(&self.host);
        value(out, r#","processguard":{"boottime_ns":"#, time_ns);
        process_extras(out, process);
        out.extend_from_slice(b"}}\n");
    }

    /// Appends the summary's line.
    pub fn summary(&mut self, out: &mut Vec<u8>, stamp: &Stamp, time_ns: u64, summary: &Summary) {
        self.begin(out, stamp, time_ns);
        out.extend_from_slice(
            br#","event":{"kind":"metric","category":["process"],"type":["info"],"action":"summary"}"#,
        );
        out.extend_from_slice(&self.host);
        value(out, r#","processguard":{"boottime_ns":"#, time_ns);
        value(out, r#","summary":{"shown":"#, summary.shown());
        value(out, r#","undecodable":"#, summary.undecodable);
        if summary.resyncs > 0 {
            value(out, r#","resyncs":{"count":"#, summary.resyncs);
            drift(out, &summary.drift);
            out.push(b'}');
        }
        out.extend_from_slice(br#","kinds":["#);
        for (index, kind) in summary.kinds.iter().enumerate() {
            text(out, if index == 0 { r#"{"kind":"# } else { r#",{"kind":"# }, kind.kind.name());
            value(out, r#","seen":"#, kind.seen);
            value(out, r#","shown":"#, kind.shown);
            value(out, r#","lost":{"ring_full":"#, kind.ring_full);
            out.extend_from_slice(br#","recursion":"#);
            match kind.recursion {
                Some(count) => number(out, count),
                None => out.extend_from_slice(b"null"),
            }
            if kind.slow_reader > 0 {
                value(out, r#","slow_reader":"#, kind.slow_reader);
            }
            if kind.unreadable > 0 {
                value(out, r#","unreadable":"#, kind.unreadable);
            }
            out.extend_from_slice(b"}}");
        }
        out.extend_from_slice(b"]}}}\n");
    }

    fn begin(&mut self, out: &mut Vec<u8>, stamp: &Stamp, time_ns: u64) {
        if self.boot != stamp.boot {
            self.set_boot(stamp.boot);
        }
        self.stamp = *stamp;
        out.extend_from_slice(br#"{"@timestamp":""#);
        self.event_second.write_utc(out, stamp.unix_ns(time_ns));
        out.push(b'"');
    }

    /// The process as of a time; with `ended` it ended then.
    fn process(&mut self, out: &mut Vec<u8>, time_ns: u64, ended: Option<ExitStatus>, process: &Process) {
        value(out, r#","process":{"pid":"#, process.id.pid);
        self.entity_id(out, process.id);
        if process.id.start_ns != 0 {
            out.extend_from_slice(br#","start":""#);
            self.start_second.write_utc(out, self.stamp.unix_ns(process.id.start_ns));
            out.push(b'"');
        }
        if let Some(status) = ended {
            out.extend_from_slice(br#","end":""#);
            self.event_second.write_utc(out, self.stamp.unix_ns(time_ns));
            out.push(b'"');
            if let ExitStatus::Code(code) = status {
                value(out, r#","exit_code":"#, code);
            }
        }
        bytes(out, r#","name":"#, process.name.as_bytes());
        if let Some(program) = &process.program {
            self.program(out, program);
        }
        if process.parent.is_some() {
            value(out, r#","parent":{"pid":"#, process.parent.pid);
            self.entity_id(out, process.parent);
            let name = process.parent_name.as_bytes();
            if !name.is_empty() {
                bytes(out, r#","name":"#, name);
            }
            out.push(b'}');
        }
        id(out, r#","user":{"id":""#, process.euid);
        id(out, r#","group":{"id":""#, process.egid);
        id(out, r#","real_user":{"id":""#, process.uid);
        id(out, r#","real_group":{"id":""#, process.gid);
        value(out, r#","vpid":"#, process.ns_pid);
        out.push(b'}');
    }

    fn program(&mut self, out: &mut Vec<u8>, program: &Program) {
        bytes(out, r#","executable":"#, &program.executable);
        out.extend_from_slice(br#","args":["#);
        for (index, argument) in program.arguments().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_bytes(out, argument);
        }
        value(out, r#"],"args_count":"#, program.args_count);
        self.command_line.clear();
        escape::command_line(&mut self.command_line, program.arguments());
        // Every hidden character is escaped by now, and what was not UTF-8 too.
        text(out, r#","command_line":"#, std::str::from_utf8(&self.command_line).unwrap_or_default());
        bytes(out, r#","working_directory":"#, &program.working_directory);
    }

    fn entity_id(&self, out: &mut Vec<u8>, process: ProcId) {
        if process.start_ns == 0 {
            return;
        }
        out.extend_from_slice(br#","entity_id":""#);
        out.extend_from_slice(&self.boot_digits);
        value(out, "-", process.pid);
        value(out, "-", process.start_ns);
        out.push(b'"');
    }

    fn extras(&self, out: &mut Vec<u8>, event: &Event) {
        value(out, r#","processguard":{"boottime_ns":"#, event.time_ns);
        value(out, r#","cpu":"#, event.cpu);
        if let Some(process) = event.action.process() {
            process_extras(out, process);
        }
        match &event.action {
            Action::Fork { .. } | Action::Listen { .. } => {}
            Action::Exec { exec, .. } => exec_extras(out, exec),
            Action::Exit { exit, .. } => self.exit(out, exit),
            Action::Signal { signal, .. } => self.signal(out, signal),
            Action::Oom { oom, .. } => {
                out.extend_from_slice(br#","oom":{"#);
                if let Some(group) = &oom.memory_cgroup {
                    out.extend_from_slice(br#""memory_cgroup":"#);
                    cgroup(out, group);
                }
                out.push(b'}');
            }
            Action::Stall { stall, .. } => self.stall(out, stall),
            Action::Latency { latency, .. } => waits::latency(out, latency),
            Action::Resources { sample, .. } => resources::write_sample(out, sample),
            Action::Group(group) => {
                cgroup_extras(out, &group.cgroup);
                resources::write_group(out, group);
            }
            Action::Gap(gap) => lost(out, gap),
            Action::Resync(resync) => self::resync(out, resync),
        }
    }

    fn exit(&self, out: &mut Vec<u8>, exit: &Exit) {
        match exit.status {
            ExitStatus::Code(_) => {}
            ExitStatus::Signal { number, core } => {
                signal_name(out, number.into());
                flag(out, r#","core":"#, core);
                out.push(b'}');
            }
            ExitStatus::Unknown => out.extend_from_slice(br#","exit":{"status":"unknown"}"#),
        }
        let kind = match &exit.cause {
            Cause::Own => "own",
            Cause::Signal(_) => "signal",
            Cause::Fault => "fault",
            Cause::Oom(_) => "oom",
            Cause::Kernel => "kernel",
            Cause::Unknown => "unknown",
            Cause::RecordLost => "record_lost",
        };
        text(out, r#","cause":{"kind":"#, kind);
        match &exit.cause {
            Cause::Signal(sender) => self.sender(out, sender),
            Cause::Oom(Some(group)) => {
                out.extend_from_slice(br#","memory_cgroup":"#);
                cgroup(out, group);
            }
            Cause::Own
            | Cause::Fault
            | Cause::Oom(None)
            | Cause::Kernel
            | Cause::Unknown
            | Cause::RecordLost => {}
        }
        out.push(b'}');
        if exit.lifetime_ns != 0 {
            value(out, r#","lifetime_ns":"#, exit.lifetime_ns);
        }
        if let Some(fork_to_exec_ns) = exit.fork_to_exec_ns {
            value(out, r#","fork_to_exec_ns":"#, fork_to_exec_ns);
        }
        if let Some(exec_to_listen_ns) = exit.exec_to_listen_ns {
            value(out, r#","exec_to_listen_ns":"#, exec_to_listen_ns);
        }
        let Some(usage) = &exit.usage else { return };
        value(out, r#","usage":{"user_ns":"#, usage.user_ns);
        value(out, r#","system_ns":"#, usage.system_ns);
        value(out, r#","peak_rss_bytes":"#, usage.peak_rss_bytes);
        value(out, r#","minor_faults":"#, usage.minor_faults);
        value(out, r#","major_faults":"#, usage.major_faults);
        value(out, r#","voluntary_switches":"#, usage.voluntary_switches);
        value(out, r#","involuntary_switches":"#, usage.involuntary_switches);
        if let Some(read) = usage.read_bytes {
            value(out, r#","read_bytes":"#, read);
        }
        if let Some(written) = usage.write_bytes {
            value(out, r#","write_bytes":"#, written);
        }
        out.push(b'}');
    }

    fn signal(&self, out: &mut Vec<u8>, signal: &Signal) {
        signal_name(out, signal.number);
        out.extend_from_slice(br#","code":"#);
        out.extend_from_slice(itoa::Buffer::new().format(signal.code).as_bytes());
        text(out, r#","result":"#, result_name(signal.result));
        let origin = match &signal.origin {
            Origin::Process(_) => "process",
            Origin::Kernel => "kernel",
            Origin::Fault => "fault",
            Origin::Timer => "timer",
        };
        text(out, r#","origin":"#, origin);
        if let Some(thread) = signal.thread {
            value(out, r#","thread":"#, thread);
        }
        if signal.value != 0 {
            value(out, r#","value":"#, signal.value);
        }
        if let Origin::Process(sender) = &signal.origin {
            self.sender(out, sender);
        }
        out.push(b'}');
    }

    fn stall(&self, out: &mut Vec<u8>, stall: &Stall) {
        text(out, r#","stall":{"kind":"#, waits::kind(stall.what));
        value(out, r#","thread":"#, stall.thread);
        value(out, r#","cpu":"#, stall.cpu);
        value(out, r#","waited_ns":"#, stall.waited_ns);
        flag(out, r#","ongoing":"#, stall.ongoing);
        if let Waited::RunQueue(Some(instead)) = stall.what {
            value(out, r#","instead":{"pid":"#, instead.id.pid);
            self.entity_id(out, instead.id);
            value(out, r#","thread":"#, instead.thread);
            bytes(out, r#","name":"#, instead.name.as_bytes());
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn sender(&self, out: &mut Vec<u8>, sender: &Sender) {
        value(out, r#","sender":{"pid":"#, sender.id.pid);
        self.entity_id(out, sender.id);
        bytes(out, r#","name":"#, sender.name.as_bytes());
        id(out, r#","user":{"id":""#, sender.uid);
        out.push(b'}');
    }
}

/// The name of a signal's fate on the wire.
pub(super) const fn result_name(result: SignalResult) -> &'static str {
    match result {
        SignalResult::Delivered => "delivered",
        SignalResult::Ignored => "ignored",
        SignalResult::Pending => "pending",
        SignalResult::Overflow => "overflow",
        SignalResult::LostInfo => "lost_info",
    }
}

/// What ECS has no name for, of any process.
fn process_extras(out: &mut Vec<u8>, process: &Process) {
    value(out, r#","pid_namespace":"#, process.pid_namespace);
    if process.exec_count != 0 {
        value(out, r#","exec_count":"#, process.exec_count);
    }
    if process.kernel_thread {
        out.extend_from_slice(br#","kernel_thread":true"#);
    }
    out.extend_from_slice(br#","capabilities":{"effective":""#);
    out.extend_from_slice(&hex::<16>(process.caps_effective.into()));
    out.extend_from_slice(br#""}"#);
    cgroup_extras(out, &process.cgroup);
    if let Some(program) = &process.program {
        program_extras(out, program);
    }
}

/// The control group that an event is about; its container has a place of its own.
fn cgroup_extras(out: &mut Vec<u8>, group: &Cgroup) {
    out.extend_from_slice(br#","cgroup":"#);
    cgroup_ids(out, group);
    out.push(b'}');
    if let Some(unit) = &group.unit {
        text(out, r#","unit":"#, unit);
    }
}

fn program_extras(out: &mut Vec<u8>, program: &Program) {
    value(out, r#","executable":{"inode":"#, program.inode);
    value(out, r#","device":""#, program.device >> 20);
    value(out, ":", program.device & 0xf_ffff);
    out.push(b'"');
    let flags = program.flags;
    mark(out, r#","deleted":true"#, flags.executable_deleted);
    mark(out, r#","truncated":true"#, flags.executable_truncated);
    out.push(b'}');
    if flags.working_directory_deleted || flags.working_directory_truncated {
        out.extend_from_slice(br#","working_directory":{"#);
        mark(out, r#""deleted":true"#, flags.working_directory_deleted);
        mark(out, ",", flags.working_directory_deleted && flags.working_directory_truncated);
        mark(out, r#""truncated":true"#, flags.working_directory_truncated);
        out.push(b'}');
    }
    let cut = program.args.last().is_some_and(|&byte| byte != 0);
    if flags.args_truncated || cut {
        flag(out, r#","args":{"truncated":"#, flags.args_truncated);
        flag(out, r#","last_cut":"#, cut);
        out.push(b'}');
    }
}

fn exec_extras(out: &mut Vec<u8>, exec: &Exec) {
    value(out, r#","exec":{"calling_thread":"#, exec.calling_thread);
    flag(out, r#","secure":"#, exec.secure);
    if let Some(since_fork_ns) = exec.since_fork_ns {
        value(out, r#","since_fork_ns":"#, since_fork_ns);
    }
    if exec.caps_gained != 0 {
        out.extend_from_slice(br#","capabilities_gained":{"mask":""#);
        out.extend_from_slice(&hex::<16>(exec.caps_gained.into()));
        out.extend_from_slice(br#"","names":["#);
        for (index, name) in capabilities(exec.caps_gained).enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b"," });
            write_text(out, name);
        }
        out.extend_from_slice(b"]}");
    }
    out.push(b'}');
}

fn container(out: &mut Vec<u8>, group: &Cgroup) {
    if let Some(container) = &group.container {
        text(out, r#","container":{"id":"#, &container.id);
        if let Some(runtime) = container.runtime {
            text(out, r#","runtime":"#, runtime);
        }
        out.push(b'}');
    }
}

/// A control group with all that is known of it, where it is not the process's own.
fn cgroup(out: &mut Vec<u8>, group: &Cgroup) {
    cgroup_ids(out, group);
    if let Some(unit) = &group.unit {
        text(out, r#","unit":"#, unit);
    }
    container(out, group);
    out.push(b'}');
}

/// The object is left open.
fn cgroup_ids(out: &mut Vec<u8>, group: &Cgroup) {
    value(out, r#"{"id":"#, group.id);
    value(out, r#","hierarchy":"#, group.hierarchy);
    if let Some(path) = &group.path {
        text(out, r#","path":"#, path);
    }
}

fn lost(out: &mut Vec<u8>, gap: &Gap) {
    out.extend_from_slice(br#","lost":["#);
    for (index, Lost { kind, cause, cpu, count }) in gap.lost.iter().enumerate() {
        text(out, if index == 0 { r#"{"kind":"# } else { r#",{"kind":"# }, kind.name());
        text(out, r#","cause":"#, cause.name());
        if let Some(cpu) = cpu {
            value(out, r#","cpu":"#, *cpu);
        }
        value(out, r#","count":"#, *count);
        out.push(b'}');
    }
    out.push(b']');
}

fn resync(out: &mut Vec<u8>, resync: &Resync) {
    text(out, r#","resync":{"reason":"#, resync.reason.name());
    value(out, r#","duration_ns":"#, resync.duration_ns);
    value(out, r#","found":"#, resync.found);
    drift(out, &resync.drift);
    out.push(b'}');
}

fn drift(out: &mut Vec<u8>, drift: &Drift) {
    for (name, count) in drift.counts() {
        text(out, ",", name);
        value(out, ":", count);
    }
}

/// The object is left open.
fn signal_name(out: &mut Vec<u8>, number: u32) {
    value(out, r#","signal":{"number":"#, number);
    text(out, r#","name":"#, &SignalName(number).to_string());
}

pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn value(out: &mut Vec<u8>, key: &str, value: impl Into<u64>) {
    out.extend_from_slice(key.as_bytes());
    number(out, value.into());
}

fn text(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(key.as_bytes());
    write_text(out, text);
}

fn bytes(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    write_bytes(out, bytes);
}

/// ECS ids are keywords: strings.
fn id(out: &mut Vec<u8>, key: &str, id: u32) {
    value(out, key, id);
    out.extend_from_slice(br#""}"#);
}

fn flag(out: &mut Vec<u8>, key: &str, flag: bool) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(if flag { b"true" } else { b"false" });
}

fn mark(out: &mut Vec<u8>, mark: &str, set: bool) {
    if set {
        out.extend_from_slice(mark.as_bytes());
    }
}
