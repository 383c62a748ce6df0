//! What this kernel and these privileges allow: each answer comes from a try, not from a version.

use std::fs::File;
use std::path::Path;

use aya::maps::Array;
use aya::programs::{Lsm, ProgramError};
use aya::{Btf, Ebpf};
use guard_common::control::PROBE_ARMED;
use rustix::thread::{CapabilitySet, capabilities};

use super::attach::{self, HOOKS, Kernel, PREPARE_EXEC, RESOURCES, SCHEDULER, SNAPSHOT};
use super::classic::Tracefs;
use super::error::ErrorKind;
use super::{Error, Options, btf, cgroups, layout, losses, preempt};
use crate::sample::Sampler;

/// Capabilities that the sensor needs.
const NEEDED: [(CapabilitySet, &str); 2] =
    [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")];

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works here.
    Yes,
    /// It does not work here.
    No,
    /// It could not be tried, because something before it does not work.
    Unknown,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What: stable, for scripts.
    pub name: &'static str,
    /// Whether it works.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What follows from it.
    pub consequence: &'static str,
    /// Whether the trace needs it.
    pub required: bool,
}

/// All that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// In the order of the tries.
    pub list: Vec<Finding>,
    /// Kind of remedy for the first required thing that does not work; `None` if the trace can run.
    pub blocked: Option<ErrorKind>,
}

/// Tries everything. Nothing stays behind.
#[must_use]
pub fn run(options: &Options) -> Findings {
    let mut probe = Probe { list: Vec::new(), blocked: None };
    probe.capabilities();
    probe.files();
    probe.programs(options);
    Findings { list: probe.list, blocked: probe.blocked }
}

/// # Errors
/// If capabilities are missing.
pub fn require_privileges() -> Result<(), Error> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(Error::Privilege(missing)) }
}

/// # Errors
/// If pids are others here than on the host.
pub fn require_host_pids() -> Result<(), Error> {
    let own = std::fs::read_link("/proc/self/ns/pid");
    // Without /proc something else says what is missing.
    if own.is_ok_and(|own| own.as_os_str() != HOST_PIDS) { Err(Error::PidNamespace) } else { Ok(()) }
}

/// Before 5.11 maps are charged to the locked-memory limit. Failing is harmless after that.
pub(crate) fn lift_memory_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// The capabilities that are missing. CAP_SYS_ADMIN includes both, as the kernel has it.
fn missing_capabilities() -> Vec<&'static str> {
    let Ok(own) = capabilities(None) else { return NEEDED.iter().map(|(_, name)| *name).collect() };
    if own.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED.iter().filter(|(one, _)| !own.effective.contains(*one)).map(|(_, name)| *name).collect()
}

/// The first pid namespace: its number is fixed (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const HOST_PIDS: &str = "pid:[4026531836]";

/// What follows if a thing works, and if it does not.
type Consequence = [&'static str; 2];

const PRIVILEGED: Consequence = ["programs can be loaded", "the trace cannot run"];
const PINS: Consequence =
    ["a pinned sensor can outlive its reader", "a sensor cannot be pinned; the trace needs no pins"];
const GROUPS: Consequence =
    ["containers and systemd units are named", "containers and systemd units stay unnamed"];
const CLASSIC: Consequence = ["fork, exec and exit can use classic tracepoints", "only tp_btf can be used"];
const TYPES: Consequence = ["the kernel's structures are known", "the trace cannot run"];
const RING: Consequence = ["records reach userspace in order", "the trace cannot run"];
const HOOK: Consequence = ["one kind of record", "the trace cannot run"];
const START: Consequence = ["processes that exist at the start are known", "the trace cannot run"];
const SAMPLES: Consequence =
    ["resources of processes can be sampled", "resources of processes are not sampled"];
const GAINS: Consequence = [
    "capabilities gained at an exec are known from the kernel",
    "capabilities gained at an exec are those not seen before",
];
const WAITS: Consequence =
    ["what watched processes wait can be followed", "no scheduler latency and no stalls; the rest runs"];
const PREEMPTED: Consequence = [
    "fork, exec and exit use tp_btf",
    "fork, exec and exit use classic tracepoints, which lose nothing here",
];
const ENFORCE: Consequence =
    ["the kernel can enforce a policy", "no enforcement in the kernel; the trace needs none"];

struct Probe {
    list: Vec<Finding>,
    blocked: Option<ErrorKind>,
}

impl Probe {
    /// Notes an answer that the trace does not depend on.
    fn optional(&mut self, name: &'static str, answer: Result<String, String>, consequence: Consequence) {
        let [if_yes, if_no] = consequence;
        let (state, detail, consequence) = match answer {
            Ok(detail) => (State::Yes, detail, if_yes),
            Err(detail) => (State::No, detail, if_no),
        };
        self.list.push(Finding { name, state, detail, consequence, required: false });
    }

    /// Notes an answer that the trace depends on. Returns what was tried, if it worked.
    fn required<T>(
        &mut self,
        name: &'static str,
        answer: Result<(T, String), Error>,
        consequence: Consequence,
    ) -> Option<T> {
        let [if_yes, if_no] = consequence;
        let (value, state, detail, consequence) = match answer {
            Ok((value, detail)) => (Some(value), State::Yes, detail, if_yes),
            Err(error) => {
                self.blocked = self.blocked.or(Some(error.kind()));
                (None, State::No, full(&error), if_no)
            }
        };
        self.list.push(Finding { name, state, detail, consequence, required: true });
        value
    }

    /// Notes what could not be tried.
    fn unknown(&mut self, name: &'static str, consequence: Consequence, required: bool) {
        let [_, consequence] = consequence;
        let detail = "not tried: something above does not work".to_owned();
        self.list.push(Finding { name, state: State::Unknown, detail, consequence, required });
    }

    fn capabilities(&mut self) {
        let answer =
            require_privileges().map(|()| ((), "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN".to_owned()));
        self.required("capabilities", answer, PRIVILEGED);
    }

    fn files(&mut self) {
        let bpffs = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = bpffs.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("bpf ").then(|| before.split(' ').nth(4).unwrap_or_default().to_owned())
        });
        let answer = mounted.ok_or_else(|| "not mounted; `mount -t bpf bpf /sys/fs/bpf`".to_owned());
        self.optional("bpffs", answer, PINS);
        let hierarchies = cgroups::hierarchies().unwrap_or_default();
        let v2 = hierarchies.iter().find(|hierarchy| hierarchy.id == 0);
        let answer = v2
            .map(|hierarchy| hierarchy.mount.display().to_string())
            .ok_or_else(|| "not mounted; `mount -t cgroup2 cgroup2 /sys/fs/cgroup`".to_owned());
        self.optional("cgroup2", answer, GROUPS);
        let tracefs = Tracefs::open().and_then(|tracefs| tracefs.id("sched/sched_process_fork"));
        let answer = tracefs.map(|_| "readable".to_owned()).map_err(|error| error.to_string());
        self.optional("tracefs", answer, CLASSIC);
    }

    fn programs(&mut self, options: &Options) {
        let types = btf::Btf::running().map_err(Error::from).and_then(|found| {
            let layout = layout::resolve(&found)
                .map_err(|fields| Error::Layout { kernel: super::error::kernel_release(), fields })?;
            Ok((layout, layout::hooks(&found)))
        });
        let types = types.map(|types| (types, btf::VMLINUX.to_owned()));
        let types = self.required("btf", types, TYPES);
        let loaded = types.filter(|_| self.blocked.is_none()).and_then(|(layout, hooks)| {
            let full_types = Btf::from_sys_fs()
                .map_err(|error| Error::system("read the kernel's type information", error))
                .map(|btf| (btf, format!("{} bytes", options.ring_bytes)));
            let ring = full_types.and_then(|(btf, detail)| {
                let kernel = Kernel { layout, hooks, btf: &btf };
                let (ebpf, _) = attach::load(&kernel, options, &[], super::possible_cpus()?)?;
                Ok(((ebpf, btf), detail))
            });
            self.required("ring_buffer", ring, RING)
        });
        let Some((mut ebpf, btf)) = loaded else {
            for hook in &HOOKS {
                self.unknown(hook.tracepoint, HOOK, true);
            }
            self.unknown("task_iterator", START, true);
            self.unknown("resources", SAMPLES, false);
            self.unknown("lsm", ENFORCE, false);
            return;
        };
        for hook in &HOOKS {
            let answer = attach::load_btf(&mut ebpf, hook.program, hook.tracepoint, &btf);
            let skipped = answer.map(|()| ((), skipped(&ebpf, hook.program)));
            self.required(hook.tracepoint, skipped, HOOK);
        }
        let iterator = attach::load_iterator(&mut ebpf, SNAPSHOT, &btf)
            .and_then(|()| attach::link_iterator(&mut ebpf, SNAPSHOT))
            .and_then(|iterator| super::processes::read(&iterator))
            .map(|found| ((), format!("{} processes", found.len())));
        self.required("task_iterator", iterator, START);
        let resources = sample(&mut ebpf, &btf).map_err(|error| full(&error));
        self.optional("resources", resources, SAMPLES);
        let prepare = attach::load_btf(&mut ebpf, PREPARE_EXEC.program, PREPARE_EXEC.tracepoint, &btf);
        let prepare = prepare.map(|()| "tp_btf".to_owned()).map_err(|error| full(&error));
        self.optional(PREPARE_EXEC.tracepoint, prepare, GAINS);
        let tried = SCHEDULER
            .iter()
            .try_for_each(|hook| attach::load_btf(&mut ebpf, hook.program, hook.tracepoint, &btf));
        let scheduler = tried.map(|()| "tp_btf".to_owned()).map_err(|error| full(&error));
        self.optional("scheduler", scheduler, WAITS);
        self.preemption(&mut ebpf, &btf);
        let lsm = lsm(&mut ebpf, &btf);
        self.optional("lsm", lsm, ENFORCE);
    }

    fn preemption(&mut self, ebpf: &mut Ebpf, btf: &Btf) {
        let tried = attach::load_btf(ebpf, "preempt_probe", "sched_process_fork", btf)
            .and_then(|()| preempt::callbacks_are_preemptible(ebpf));
        let answer = match tried {
            Ok(Some(false)) => Ok("tracepoint callbacks are not preempted".to_owned()),
            Ok(Some(true)) => Err("tracepoint callbacks are preempted".to_owned()),
            Ok(None) => {
                Err("it cannot be told: no real-time scheduling (CAP_SYS_NICE), or too busy a machine"
                    .to_owned())
            }
            Err(error) => Err(full(&error)),
        };
        self.optional("lossless_tp_btf", answer, PREEMPTED);
    }
}

/// Whether the kernel counts the runs of a program that it skips.
fn skipped(ebpf: &Ebpf, program: &str) -> String {
    use std::os::fd::AsFd;
    let known = ebpf.program(program).and_then(|program| {
        let aya::programs::Program::BtfTracePoint(program) = program else { return None };
        let fd = program.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
        losses::recursion_misses(&fd).ok().flatten()
    });
    match known {
        Some(_) => "tp_btf; skipped runs are counted".to_owned(),
        None => "tp_btf; this kernel does not count skipped runs".to_owned(),
    }
}

/// Loads an LSM program, attaches it and opens a file: only if the program saw that, LSM works.
fn lsm(ebpf: &mut Ebpf, btf: &Btf) -> Result<String, String> {
    let program: &mut Lsm = ebpf
        .program_mut("lsm_probe")
        .ok_or("no program")?
        .try_into()
        .map_err(|error: ProgramError| full(&error))?;
    program.load("file_open", btf).map_err(|error| match error {
        ProgramError::LoadError { io_error, .. } => format!("the program is refused: {io_error}"),
        other => full(&other),
    })?;
    program.attach().map_err(|error| full(&error))?;
    let _ = File::open(Path::new("/dev/null"));
    let times: Array<_, [u64; 2]> =
        ebpf.map("PROBE").ok_or("no map")?.try_into().map_err(|error: aya::maps::MapError| full(&error))?;
    let [fired, ended] = times.get(&0, 0).map_err(|error| full(&error))?;
    // The preemption probe writes both, this one only the first.
    if ![0, PROBE_ARMED].contains(&fired) && ended == 0 {
        Ok("a program was loaded and fired".to_owned())
    } else {
        Err("a program was loaded but did not fire; boot with `lsm=...,bpf`".to_owned())
    }
}

/// An error with all that is behind it, on one line.
/// Reads the resources of all processes once.
fn sample(ebpf: &mut Ebpf, btf: &Btf) -> Result<String, Error> {
    attach::load_iterator(ebpf, RESOURCES, btf)?;
    let mut sampler = Sampler::new(attach::link_iterator(ebpf, RESOURCES)?);
    let mut resources = Vec::new();
    sampler.sample(&mut resources)?;
    Ok(format!("{} processes", resources.len()))
}

fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries say their source's text again.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
