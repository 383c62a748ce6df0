//! Loads the programs that are needed and attaches them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use aya::programs::{BtfTracePoint, Iter, Program, ProgramError, TracePoint};
use aya::{Btf, Ebpf, EbpfLoader};
use guard_common::config::{
    Config, FILTER_CGROUP, FILTER_CHILD_SIGNALS, FILTER_UID, FILTER_WATCHED, HAS_CGROUP_V1, HAS_GROUP_DEAD,
    HAS_PREPARE_EXEC, WATCH, WATCH_INHERIT, WATCH_LATENCY, WATCH_TOMBSTONES,
};
use guard_common::layout::Layout;
use guard_common::wire::Kind;

use super::classic::{self, Tracefs};
use super::error::kernel_release;
use super::losses::Watched;
use super::{
    Attach, Error, Options, Watch, bpf, btf, cgroups, kernel_log, latency, layout, preempt, probe, watch_set,
};

/// The kernel programs, compiled from guard-ebpf. Empty if built without a BPF toolchain.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GUARD_EBPF_OBJECT"));

/// A hook: a program, its tracepoint, and the kind of record that it makes.
pub(crate) struct Hook {
    pub(crate) program: &'static str,
    pub(crate) tracepoint: &'static str,
    kind: Kind,
}

const fn hook(program: &'static str, tracepoint: &'static str, kind: Kind) -> Hook {
    Hook { program, tracepoint, kind }
}

/// Hooks in the order of attachment. Exit comes before fork: a process that is born in between and
/// dies is then either not seen at all or seen to die, and never lives on in the table.
pub(crate) const HOOKS: [Hook; 9] = [
    hook("cgroup_made", "cgroup_mkdir", Kind::CGROUP),
    hook("cgroup_removed", "cgroup_rmdir", Kind::CGROUP),
    hook("cgroup_renamed", "cgroup_rename", Kind::CGROUP),
    hook("oom", "mark_victim", Kind::OOM),
    hook("signal", "signal_generate", Kind::SIGNAL),
    hook("listen", "inet_sock_set_state", Kind::LISTEN),
    hook("exit", "sched_process_exit", Kind::EXIT),
    hook("exec", "sched_process_exec", Kind::EXEC),
    hook("fork", "sched_process_fork", Kind::FORK),
];

/// How long watched threads wait. The switch comes first: what it misses of a thread that was woken before
/// it counts as no wait at all.
pub(crate) const SCHEDULER: [Hook; 3] = [
    hook("switch", "sched_switch", Kind::STALL),
    hook("wakeup_new", "sched_wakeup_new", Kind::STALL),
    hook("wakeup", "sched_wakeup", Kind::STALL),
];

/// Makes no records: it only notes for the exec hook what capabilities are gained. Not on every
/// kernel.
pub(crate) const PREPARE_EXEC: Hook = hook("exec_prepare", "sched_prepare_exec", Kind::EXEC);

impl Hook {
    /// Whether it can be attached as a classic tracepoint, under which names.
    const fn classic(&self) -> Option<(&'static str, &'static str)> {
        match self.kind {
            Kind::FORK => Some(("fork_classic", "sched/sched_process_fork")),
            Kind::EXEC => Some(("exec_classic", "sched/sched_process_exec")),
            Kind::EXIT => Some(("exit_classic", "sched/sched_process_exit")),
            _ => None,
        }
    }

    /// Whether the options call for it. The watch set is kept by fork and exit.
    fn is_needed(&self, options: &Options) -> bool {
        let watch = watch(options);
        match self.kind {
            Kind::STALL => options.latency.is_some(),
            Kind::FORK if watch & WATCH_INHERIT != 0 => true,
            Kind::EXIT if watch != 0 => true,
            kind => options.kinds.contains(&kind),
        }
    }
}

/// What is attached. Dropping it detaches.
pub(crate) struct Attached {
    pub(crate) ebpf: Ebpf,
    /// Programs whose skipped runs count as losses.
    pub(crate) watched: Vec<Watched>,
    /// What holds the programs to their hooks.
    pub(crate) links: Vec<Link>,
    /// The task iterator: each pass of it yields one snapshot record per process.
    pub(crate) iterator: OwnedFd,
    /// The same of what every thread uses, if it was asked for.
    pub(crate) resources: Option<OwnedFd>,
}

/// A program held to its hook as long as this lives.
pub(crate) struct Link {
    /// The program's name.
    pub(crate) program: &'static str,
    pub(crate) fd: OwnedFd,
}

/// The program of this name, if its skipped runs count as losses, and the kind of its records.
pub(crate) fn known_program(name: &str) -> Option<(&'static str, Kind)> {
    HOOKS.iter().chain(&SCHEDULER).find_map(|hook| {
        let names = [Some(hook.program), hook.classic().map(|(program, _)| program)];
        let found = names.into_iter().flatten().find(|known| *known == name);
        found.map(|name| (name, hook.kind))
    })
}

impl Attached {
    /// Attaches a loaded program to its hook. Gives the program.
    fn attach(&mut self, hook: &Hook, way: &Way) -> Result<Watched, Error> {
        let failed = |error| failed_to_attach(hook.tracepoint, error);
        let name = match *way {
            Way::Btf => hook.program,
            Way::Classic { program, .. } => program,
        };
        let program = match self.ebpf.program(name).ok_or(Error::NoObject)? {
            Program::BtfTracePoint(program) => program.fd(),
            Program::TracePoint(program) => program.fd(),
            _ => return Err(Error::NoObject),
        };
        let program = program.map_err(|error| failed_to_attach(hook.tracepoint, error))?.as_fd();
        let fd = match *way {
            Way::Btf => bpf::attach_tracing(program),
            Way::Classic { id, .. } => classic::attach(program, id),
        };
        let program = duplicate(program)?;
        self.links.push(Link { program: name, fd: fd.map_err(failed)? });
        Ok(Watched { kind: hook.kind, name, program })
    }

    /// Detaches all programs, so that no more records come; the maps stay.
    pub(crate) fn detach(&mut self) -> Result<(), Error> {
        self.links.clear();
        for (name, program) in self.ebpf.programs_mut() {
            let unloaded = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                Program::Iter(program) => program.unload(),
                _ => continue,
            };
            match unloaded {
                Ok(()) | Err(ProgramError::NotLoaded) => {}
                Err(error) => return Err(Error::system(format!("detach {name}"), error)),
            }
        }
        Ok(())
    }
}

/// The kernel's facts that loading needs.
pub(crate) struct Kernel<'a> {
    pub(crate) layout: Layout,
    /// `HAS_*` flags.
    pub(crate) hooks: u32,
    pub(crate) btf: &'a Btf,
}

/// Attaches all that the options need, and gives back the memory that this took. Also gives the mounted
/// control group hierarchies.
pub(crate) fn prepare(options: &Options) -> Result<(Attached, Vec<cgroups::Hierarchy>), Error> {
    check_ring_size(options.ring_bytes)?;
    probe::require_privileges()?;
    probe::lift_memory_limit();
    let hierarchies = cgroups::hierarchies()
        .map_err(|error| Error::system("read the mounted control group hierarchies", error))?;
    let (layout, hooks) = {
        let btf = btf::Btf::running()?;
        let layout =
            layout::resolve(&btf).map_err(|fields| Error::Layout { kernel: kernel_release(), fields })?;
        (layout, layout::hooks(&btf))
    };
    let btf =
        Btf::from_sys_fs().map_err(|error| Error::system("read the kernel's type information", error))?;
    let kernel = Kernel { layout, hooks, btf: &btf };
    let (ebpf, tracefs) = load(&kernel, options, &hierarchies, super::possible_cpus()?)?;
    watch_set::insert_named(&ebpf, &options.watch)?;
    let attached = attach(ebpf, &kernel, options, tracefs.as_ref())?;
    drop(btf);
    give_back_memory();
    Ok((attached, hierarchies))
}

fn check_ring_size(bytes: u32) -> Result<(), Error> {
    let fits = bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes);
    if fits { Ok(()) } else { Err(Error::RingSize(bytes)) }
}

/// The kernel's type information takes over 20 MB while it is read. Freed, it stays with the
/// allocator, unless that is told to give it back.
fn give_back_memory() {
    // SAFETY: no pointers involved; the allocator locks itself.
    unsafe { libc::malloc_trim(0) };
}

/// Loads all programs that the options need. Nothing is attached yet.
pub(crate) fn load(
    kernel: &Kernel<'_>,
    options: &Options,
    hierarchies: &[cgroups::Hierarchy],
    cpus: u32,
) -> Result<(Ebpf, Option<Tracefs>), Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let mut config = config(kernel, options, hierarchies, cpus)?;
    let tracefs = if options.attach == Attach::Btf { None } else { classic_offsets(&mut config, options)? };
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(kernel.btf))
        .map_max_entries("RING", options.ring_bytes)
        .map_max_entries("COUNTERS", cpus)
        .map_max_entries("GROUPS_BY_PID", watch_set::entries(config.watch))
        .map_max_entries("THREADS", latency::threads(options.latency))
        .map_max_entries("LATENCY", latency::entries(options.latency, cpus))
        .override_global("LAYOUT", &kernel.layout, true)
        .override_global("CONFIG", &config, true);
    kernel_log::configure(&mut loader, options.kernel_log);
    let ebpf = loader.load(OBJECT).map_err(|error| Error::system("create the sensor's maps", error))?;
    Ok((ebpf, tracefs))
}

/// Attaches: all that is needed, or nothing.
pub(crate) fn attach(
    mut ebpf: Ebpf,
    kernel: &Kernel<'_>,
    options: &Options,
    tracefs: Option<&Tracefs>,
) -> Result<Attached, Error> {
    let classic = match options.attach {
        Attach::Btf => false,
        Attach::Classic => true,
        Attach::Auto => {
            load_btf(&mut ebpf, "preempt_probe", "sched_process_fork", kernel.btf)?;
            // Where that cannot be tried, the way that loses nothing anywhere, if it can be had.
            preempt::callbacks_are_preemptible(&mut ebpf)?.unwrap_or(tracefs.is_some())
        }
    };
    // All are loaded before the first is attached: the verifier takes its time, and between the
    // first attachment and the last the stream is partial.
    let mut loaded = Vec::new();
    let prepare = kernel.hooks & HAS_PREPARE_EXEC != 0 && options.kinds.contains(&Kind::EXEC);
    if prepare {
        load_btf(&mut ebpf, PREPARE_EXEC.program, PREPARE_EXEC.tracepoint, kernel.btf)?;
    }
    for hook in HOOKS.iter().chain(&SCHEDULER).filter(|hook| hook.is_needed(options)) {
        let way = match (hook.classic().filter(|_| classic), tracefs) {
            (Some((program, tracepoint)), Some(tracefs)) => {
                load_classic(&mut ebpf, program, tracepoint)?;
                let id = tracefs.id(tracepoint);
                Way::Classic { program, id: id.map_err(|error| failed_to_attach(tracepoint, error))? }
            }
            _ => {
                load_btf(&mut ebpf, hook.program, hook.tracepoint, kernel.btf)?;
                Way::Btf
            }
        };
        loaded.push((hook, way));
    }
    load_iterator(&mut ebpf, SNAPSHOT, kernel.btf)?;
    let iterator = link_iterator(&mut ebpf, SNAPSHOT)?;
    let mut resources = None;
    if options.samples {
        load_iterator(&mut ebpf, RESOURCES, kernel.btf)?;
        resources = Some(link_iterator(&mut ebpf, RESOURCES)?);
    }
    let mut attached = Attached { ebpf, watched: Vec::new(), links: Vec::new(), iterator, resources };
    if prepare {
        attached.attach(&PREPARE_EXEC, &Way::Btf)?;
    }
    for (hook, way) in loaded {
        let watched = attached.attach(hook, &way)?;
        attached.watched.push(watched);
    }
    Ok(attached)
}

/// How a hook's program is attached.
enum Way {
    Btf,
    /// To the classic tracepoint of this number.
    Classic {
        program: &'static str,
        id: u64,
    },
}

/// The task iterator that yields a record for every process.
pub(crate) const SNAPSHOT: &str = "snapshot";

/// The task iterator that yields a record of what it uses for every thread.
pub(crate) const RESOURCES: &str = "resources";

/// Loads a task iterator.
pub(crate) fn load_iterator(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), Error> {
    let program: &mut Iter = ebpf
        .program_mut(name)
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system("use the task iterator", error))?;
    program.load("task", btf).map_err(|error| refused(error, "iter/task"))
}

/// Links a loaded task iterator.
pub(crate) fn link_iterator(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, Error> {
    let program = ebpf.program(name).ok_or(Error::NoObject)?;
    let failed = |error| Error::system("open the task iterator", error);
    let Program::Iter(program) = program else { return Err(Error::NoObject) };
    let fd = program.fd().map_err(failed)?;
    bpf::link_iterator(fd.as_fd()).map_err(|error| Error::system("open the task iterator", error))
}

/// Loads a BTF tracepoint program. Also the probe's way to see whether a hook can be had.
pub(crate) fn load_btf(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &'static str,
    btf: &Btf,
) -> Result<(), Error> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system(format!("use the program {name}"), error))?;
    program.load(tracepoint, btf).map_err(|error| refused(error, tracepoint))
}

fn load_classic(ebpf: &mut Ebpf, name: &'static str, tracepoint: &'static str) -> Result<(), Error> {
    let program: &mut TracePoint = ebpf
        .program_mut(name)
        .ok_or(Error::NoObject)?
        .try_into()
        .map_err(|error| Error::system(format!("use the program {name}"), error))?;
    program.load().map_err(|error| refused(error, tracepoint))
}

fn failed_to_attach(tracepoint: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::system(format!("attach to {tracepoint}"), error)
}

fn duplicate(fd: impl AsFd) -> Result<OwnedFd, Error> {
    fd.as_fd().try_clone_to_owned().map_err(|error| Error::system("duplicate a descriptor", error))
}

fn refused(error: ProgramError, hook: &'static str) -> Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => Error::Verifier {
            kernel: kernel_release(),
            hook,
            log: verifier_log.to_string(),
            source: io_error,
        },
        ProgramError::Btf(_) => Error::NoHook { kernel: kernel_release(), hook },
        other => Error::system(format!("load the program for {hook}"), other),
    }
}

/// How the watch set is kept: `WATCH*` flags.
fn watch(options: &Options) -> u32 {
    let followed = if options.latency.is_some() { WATCH | WATCH_LATENCY } else { 0 };
    followed
        | match options.watch {
            Watch::Pids(_) => WATCH,
            Watch::Trees(_) => WATCH | WATCH_INHERIT,
            Watch::AllFollowed => WATCH | WATCH_INHERIT | WATCH_TOMBSTONES,
            Watch::All if options.latency.is_some() => WATCH_INHERIT,
            Watch::All => 0,
        }
}

/// 584 years are for ever.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn config(
    kernel: &Kernel<'_>,
    options: &Options,
    hierarchies: &[cgroups::Hierarchy],
    cpus: u32,
) -> Result<Config, Error> {
    let mut config = Config {
        cpus,
        kinds: options.kinds.iter().fold(0, |kinds, kind| kinds | 1 << kind.0),
        kernel: kernel.hooks,
        probe_tid: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(),
        ..Config::default()
    };
    if cgroups::first_version() {
        config.kernel |= HAS_CGROUP_V1;
    }
    if !options.child_signals {
        config.filter |= FILTER_CHILD_SIGNALS;
    }
    config.watch = watch(options);
    if matches!(options.watch, Watch::Pids(_) | Watch::Trees(_)) {
        config.filter |= FILTER_WATCHED;
    }
    if let Some(latency) = options.latency {
        config.stall_run_queue_ns = nanoseconds(latency.run_queue_stall);
        config.stall_uninterruptible_ns = nanoseconds(latency.uninterruptible_stall);
    }
    if let Some(uid) = options.uid {
        config.filter |= FILTER_UID;
        config.uid = uid;
    }
    if let Some(path) = &options.cgroup {
        let place = cgroups::find(hierarchies, path).ok_or_else(|| Error::NoCgroup {
            path: path.clone(),
            root: hierarchies.first().map_or_else(
                || "/sys/fs/cgroup, where none is mounted".to_owned(),
                |hierarchy| hierarchy.mount.display().to_string(),
            ),
        })?;
        config.filter |= FILTER_CGROUP;
        config.cgroup_id = place.id;
        config.cgroup_hierarchy = place.hierarchy;
        config.cgroup_level = place.level;
    }
    Ok(config)
}

/// Reads the classic records' formats. Without tracefs only BTF tracepoints can be used: an error
/// if the others were asked for.
fn classic_offsets(config: &mut Config, options: &Options) -> Result<Option<Tracefs>, Error> {
    let read = |config: &mut Config| {
        let tracefs = Tracefs::open()?;
        let field = |tracepoint, name| {
            tracefs.field(tracepoint, name)?.ok_or_else(|| {
                std::io::Error::other(format!("the tracepoint {tracepoint} has no field {name}"))
            })
        };
        config.fork_child_pid = field("sched/sched_process_fork", "child_pid")?;
        config.exec_old_pid = field("sched/sched_process_exec", "old_pid")?;
        if config.kernel & HAS_GROUP_DEAD != 0 {
            config.exit_group_dead = field("sched/sched_process_exit", "group_dead")?;
        }
        Ok::<_, std::io::Error>(tracefs)
    };
    match read(config) {
        Ok(tracefs) => Ok(Some(tracefs)),
        Err(error) if options.attach == Attach::Classic => {
            Err(Error::system("read the classic tracepoints' formats from tracefs", error))
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::{btf, layout};

    /// A layout that puts a field where none begins: the verifier knows better.
    #[test]
    fn a_refused_program_names_hook_kernel_and_the_verifiers_last_words() {
        assert!(rustix::process::geteuid().is_root(), "needs root: run `cargo xtask test`");
        let types = btf::Btf::running().unwrap();
        let mut layout = layout::resolve(&types).unwrap();
        layout.task_group_leader += 1;
        let btf = Btf::from_sys_fs().unwrap();
        let kernel = Kernel { layout, hooks: layout::hooks(&types), btf: &btf };
        let options = Options {
            kinds: vec![Kind::FORK],
            watch: Watch::All,
            uid: None,
            cgroup: None,
            child_signals: false,
            samples: false,
            ring_bytes: 4096,
            attach: Attach::Btf,
            kernel_log: false,
            latency: None,
        };
        let (ebpf, tracefs) = load(&kernel, &options, &[], 1).unwrap();
        let Err(error) = attach(ebpf, &kernel, &options, tracefs.as_ref()) else {
            panic!("the verifier accepted a misplaced field")
        };
        let text = error.to_string();
        assert!(text.contains("sched_process_fork"), "{text}");
        assert!(text.contains(&kernel_release()), "{text}");
        assert!(text.contains("processed"), "{text}");
    }
}
