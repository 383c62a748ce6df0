//! Stories told to the model, and pictures of them.

mod keyboard;
mod pictures;
mod stories;

use std::sync::Arc;

use guard_common::wire::Kind;
use guard_core::event::{
    Action, Cause, Cgroup, Container, Event, Exec, Exit, ExitStatus, Gap, LossCause, Lost, Name, Process,
    Program, Sender, Usage,
};
use guard_core::ids::{BootId, ProcId};
use guard_core::latency::GroupLatency;
use guard_core::resources::Resources;

use super::model::Model;
use super::view::{Context, Palette};
use crate::clock::Stamp;
use crate::names::Users;

/// One second.
pub(super) const S: u64 = 1_000_000_000;

/// A process that began at a second, below another.
pub(super) fn process(
    pid: u32,
    start_s: u64,
    parent: Option<&Arc<Process>>,
    name: &[u8],
    args: &[&[u8]],
) -> Arc<Process> {
    let parent_id = parent.map_or(ProcId::NONE, |parent| parent.id);
    let mut executable = b"/usr/bin/".to_vec();
    executable.extend_from_slice(name);
    let joined = args.iter().flat_map(|arg| [*arg, b"\0"].concat()).collect();
    let program = Program {
        executable,
        working_directory: b"/srv".to_vec(),
        args: joined,
        args_count: u32::try_from(args.len()).unwrap(),
        ..Program::default()
    };
    Arc::new(Process {
        id: ProcId { pid, start_ns: start_s * S + u64::from(pid) },
        parent: parent_id,
        parent_name: parent.map_or(Name::default(), |parent| parent.name),
        name: Name::from_bytes(name),
        cgroup: unit("app.service"),
        program: Some(Arc::new(program)),
        ..Process::default()
    })
}

pub(super) fn unit(name: &str) -> Arc<Cgroup> {
    let id = name.bytes().map(u64::from).sum();
    Arc::new(Cgroup {
        id,
        hierarchy: 0,
        path: Some(format!("/system.slice/{name}").into()),
        container: None,
        unit: Some(name.into()),
    })
}

pub(super) fn container(id: &str) -> Arc<Cgroup> {
    let id = id.repeat(64 / id.len());
    Arc::new(Cgroup {
        id: 77,
        hierarchy: 0,
        path: Some(format!("/docker/{id}").into()),
        container: Some(Container { id: id.into(), runtime: Some("docker") }),
        unit: None,
    })
}

pub(super) fn within(process: &Arc<Process>, cgroup: Arc<Cgroup>) -> Arc<Process> {
    Arc::new(Process { cgroup, ..Process::clone(process) })
}

pub(super) fn event(time_ns: u64, action: Action) -> Event {
    Event { time_ns, cpu: 0, sequence: 1, action }
}

pub(super) fn fork(process: &Arc<Process>) -> Event {
    event(process.id.start_ns, Action::Fork { process: Arc::clone(process) })
}

pub(super) fn exec(process: &Arc<Process>) -> Event {
    event(
        process.id.start_ns + 1_000_000,
        Action::Exec { process: Arc::clone(process), exec: Exec::default() },
    )
}

pub(super) fn exit(process: &Arc<Process>, end_s: u64, status: ExitStatus, cause: Cause) -> Event {
    let exit = Exit {
        status,
        cause,
        lifetime_ns: (end_s * S).saturating_sub(process.id.start_ns),
        fork_to_exec_ns: None,
        exec_to_listen_ns: None,
        usage: Some(Usage { user_ns: 2_000_000, peak_rss_bytes: 3 << 20, ..Usage::default() }),
    };
    event(end_s * S, Action::Exit { process: Arc::clone(process), exit: Box::new(exit) })
}

pub(super) fn killed_by(killer: &Arc<Process>) -> (ExitStatus, Cause) {
    let sender = Sender { id: killer.id, name: killer.name, uid: 0 };
    (ExitStatus::Signal { number: 9, core: false }, Cause::Signal(sender))
}

pub(super) fn gap(kind: Kind, count: u64) -> Event {
    let lost = vec![Lost { kind, cause: LossCause::RingFull, cpu: Some(0), count }];
    event(S, Action::Gap(Gap { lost }))
}

pub(super) fn used(process: &Process, time_s: u64, cpu_ms: u64, rss_mib: u64) -> Resources {
    Resources {
        id: process.id,
        time_ns: time_s * S,
        cpu_ns: cpu_ms * 1_000_000,
        rss_bytes: rss_mib << 20,
        threads: 2,
        open_files: 12,
        open_files_limit: Some(1024),
        ..Resources::default()
    }
}

/// What a kernel counted that made every thread of a group wait so long.
pub(super) fn waits(bucket: usize) -> GroupLatency {
    let mut latency = GroupLatency::default();
    if let Some(waits) = latency.run_queue.buckets.get_mut(bucket) {
        *waits = 100;
    }
    latency
}

/// A host that is as large as a screen, at second 1000: the sensor was attached at second 900.
pub(super) fn host() -> Model {
    let mut model = Model::new(Vec::new());
    let init = within(&process(1, 1, None, b"systemd", &[b"/sbin/init"]), unit("init.scope"));
    let kthread = Arc::new(Process {
        kernel_thread: true,
        program: None,
        ..Process::clone(&process(2, 1, None, b"kthreadd", &[]))
    });
    let master = within(
        &process(500, 20, Some(&init), b"nginx", &[b"nginx: master process /usr/sbin/nginx"]),
        unit("nginx.service"),
    );
    let worker = within(
        &process(501, 21, Some(&master), b"nginx", &[b"nginx: worker process"]),
        unit("nginx.service"),
    );
    let shell = process(812, 30, Some(&init), b"bash", &[b"-bash"]);
    let java = within(
        &process(
            700,
            25,
            Some(&init),
            b"java",
            &[b"/opt/jdk/bin/java", b"-Xmx512m", b"-jar", b"/srv/shop.jar"],
        ),
        container("0123456789abcdef"),
    );
    let living = [&init, &kthread, &master, &worker, &shell, &java];
    model.reconcile(living.into_iter());
    model.tick(900 * S);
    model.waited(&|_| GroupLatency::default());
    for process in living {
        model.sample(used(process, 900, 0, 10));
    }
    let hostile = process(
        950,
        940,
        Some(&shell),
        b"\x1b[2J\x07",
        &[b"./x", b"\x1b]0;pwned\x07", "\u{202e}evil".as_bytes(), b"\xff"],
    );
    model.event(&fork(&hostile));
    model.event(&exec(&hostile));
    let (status, cause) = killed_by(&shell);
    let dead = within(
        &process(502, 22, Some(&master), b"nginx", &[b"nginx: worker process"]),
        unit("nginx.service"),
    );
    model.event(&exit(&dead, 950, status, cause));
    let again = within(
        &process(951, 951, Some(&master), b"nginx", &[b"nginx: worker process"]),
        unit("nginx.service"),
    );
    model.event(&fork(&again));
    let done = process(960, 960, Some(&shell), b"ls", &[b"ls", b"-la"]);
    model.event(&fork(&done));
    model.event(&exec(&done));
    model.event(&exit(&done, 961, ExitStatus::Code(2), Cause::Own));
    let fine = process(970, 970, Some(&shell), b"\x1b[31mred", &[b"red"]);
    model.event(&fork(&fine));
    model.event(&exec(&fine));
    model.event(&exit(&fine, 971, ExitStatus::Code(0), Cause::Own));
    model.tick(1000 * S);
    model.waited(&|group| waits(usize::from(group) + 2));
    model.sample(used(&java, 1000, 85_000, 612));
    model.sample(used(&master, 1000, 100, 12));
    model.sample(used(&hostile, 1000, 1_500, 1));
    model
}

/// The same for every test: UTC, no colour.
pub(super) fn context() -> Context {
    Context {
        host: "build-7".to_owned(),
        users: Users::parse("root:x:0:0:::\nwww-data:x:33:33:::\n"),
        stamp: Stamp { boot: BootId(7), utc_offset_ns: 1_763_764_600_000_000_000 },
        zone_s: 0,
        palette: Palette { color: false },
    }
}
