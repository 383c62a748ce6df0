//! Which events are shown.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::GlobMatcher;
use guard_common::wire::Kind;
use guard_core::event::{Action, Cgroup, Event, Process};
use guard_core::ids::ProcId;
use guard_core::process::Table;

/// All conditions; an event must meet every one that is given. A gap and a resync always pass:
/// what was lost might have.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Kinds of events; empty: all.
    pub kinds: Vec<Kind>,
    /// These processes; empty: all.
    pub pids: Vec<u32>,
    /// These processes and their descendants; empty: all.
    pub trees: Vec<u32>,
    /// Real user id.
    pub uid: Option<u32>,
    /// In or below this control group.
    pub cgroup: Option<String>,
    /// Beginning of the container's id.
    pub container: Option<String>,
    /// Command name.
    pub comm: Option<GlobMatcher>,
    /// Path of the executable.
    pub exe: Option<GlobMatcher>,
}

/// The conditions, and what must be remembered to check them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Conditions,
    /// Members of the trees seen so far, the ended ones included: their children may still come.
    members: HashSet<ProcId>,
}

impl Filter {
    /// Leaves out what the kernel programs check: it holds already, and some of it (lineage from before the
    /// start, above all) only the kernel can check.
    pub fn trust_kernel(&mut self) {
        let all = std::mem::take(&mut self.conditions);
        self.conditions = Conditions { pids: Vec::new(), trees: Vec::new(), uid: None, cgroup: None, ..all };
    }

    /// Checks these conditions.
    #[must_use]
    pub fn new(conditions: Conditions) -> Self {
        Self { conditions, members: HashSet::new() }
    }

    /// Learns which processes that exist already belong to the trees: their parents are known.
    pub fn learn_existing(&mut self, table: &Table) {
        if self.conditions.trees.is_empty() {
            return;
        }
        let mut living: Vec<_> = table.living().collect();
        // Parents are older than their children.
        living.sort_unstable_by_key(|process| process.id.start_ns);
        for process in living {
            self.learn(process);
        }
    }

    /// A named process that does not exist.
    #[must_use]
    pub fn absent(&self, table: &Table) -> Option<u32> {
        let Conditions { pids, trees, .. } = &self.conditions;
        let exists = |pid: u32| table.current(pid).is_some_and(|process| table.is_alive(process.id));
        pids.iter().chain(trees).copied().find(|pid| !exists(*pid))
    }

    /// Whether the event is shown. Must be asked about every event, in order: lineage is learned
    /// from all of them.
    pub fn passes(&mut self, event: &Event) -> bool {
        let process = match &event.action {
            Action::Group(group) => return self.passes_group(&group.cgroup),
            action => match action.process() {
                Some(process) => process,
                None => return true,
            },
        };
        let related = self.conditions.trees.is_empty() || self.learn(process);
        let Conditions { kinds, pids, uid, cgroup, container, comm, exe, .. } = &self.conditions;
        let runs = |glob| process.program.as_ref().is_some_and(|program| matches(glob, &program.executable));
        related
            && (kinds.is_empty() || kinds.contains(&kind(&event.action)))
            && (pids.is_empty() || pids.contains(&process.id.pid))
            && uid.is_none_or(|uid| process.uid == uid)
            && cgroup.as_ref().is_none_or(|above| within(process.cgroup.path.as_deref(), above))
            && container.as_ref().is_none_or(|prefix| is_container(&process.cgroup, prefix))
            && comm.as_ref().is_none_or(|glob| matches(glob, process.name.as_bytes()))
            && exe.as_ref().is_none_or(runs)
    }

    /// What a control group uses is shown unless there is a condition that only a process can meet.
    fn passes_group(&self, group: &Cgroup) -> bool {
        let Conditions { kinds, pids, trees, uid, cgroup, container, comm, exe } = &self.conditions;
        let about_processes =
            !pids.is_empty() || !trees.is_empty() || uid.is_some() || comm.is_some() || exe.is_some();
        !about_processes
            && (kinds.is_empty() || kinds.contains(&Kind::RESOURCES))
            && cgroup.as_ref().is_none_or(|above| within(group.path.as_deref(), above))
            && container.as_ref().is_none_or(|prefix| is_container(group, prefix))
    }

    /// Whether the process belongs to one of the trees; remembers it if so.
    fn learn(&mut self, process: &Process) -> bool {
        let trees = &self.conditions.trees;
        let member = trees.contains(&process.id.pid)
            || trees.contains(&process.parent.pid)
            || self.members.contains(&process.id)
            || self.members.contains(&process.parent);
        if member {
            self.members.insert(process.id);
        }
        member
    }
}

/// The kind of record that an action comes from.
#[must_use]
pub const fn kind(action: &Action) -> Kind {
    match action {
        Action::Fork { .. } => Kind::FORK,
        Action::Exec { .. } => Kind::EXEC,
        Action::Exit { .. } => Kind::EXIT,
        Action::Signal { .. } => Kind::SIGNAL,
        Action::Oom { .. } => Kind::OOM,
        Action::Listen { .. } => Kind::LISTEN,
        Action::Stall { .. } => Kind::STALL,
        Action::Latency { .. } => Kind::LATENCY,
        Action::Resources { .. } | Action::Group(_) => Kind::RESOURCES,
        // These are about all kinds; they never get here through a filter.
        Action::Gap(_) | Action::Resync(_) => Kind(u32::MAX),
    }
}

fn matches(glob: &GlobMatcher, bytes: &[u8]) -> bool {
    glob.is_match(Path::new(OsStr::from_bytes(bytes)))
}

/// Whether a control group is that of the container whose id begins so.
fn is_container(group: &Cgroup, prefix: &str) -> bool {
    group.container.as_ref().is_some_and(|container| container.id.starts_with(prefix))
}

/// Whether a control group's path is `above` or below it.
fn within(path: Option<&str>, above: &str) -> bool {
    let above = below_mount(above).trim_end_matches('/');
    path.and_then(|path| path.strip_prefix(above))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A control group's path within its hierarchy: without the mount point, if it was given with it.
fn below_mount(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/sys/fs/cgroup") else { return path };
    // On a hybrid system the hierarchies are mounted one level deeper.
    const DEEPER: [&str; 6] = ["/unified", "/memory", "/systemd", "/pids", "/cpu,cpuacct", "/freezer"];
    let deeper = DEEPER.into_iter().find_map(|mount| rest.strip_prefix(mount));
    deeper.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guard_core::event::{Container, Gap, Group, Name, Program};

    use super::*;

    fn process(pid: u32, parent: u32) -> Process {
        let id = |pid: u32| ProcId { pid, start_ns: u64::from(pid) * 10 };
        Process { id: id(pid), parent: id(parent), ..Process::default() }
    }

    fn fork(process: Process) -> Event {
        Event { time_ns: 1, cpu: 0, sequence: 1, action: Action::Fork { process: Arc::new(process) } }
    }

    fn glob(text: &str) -> Option<GlobMatcher> {
        Some(globset::Glob::new(text).unwrap().compile_matcher())
    }

    #[test]
    fn a_tree_grows_with_its_forks() {
        let mut filter = Filter::new(Conditions { trees: vec![10], ..Conditions::default() });
        let passed: Vec<bool> = [(10, 1), (11, 10), (12, 11), (20, 1), (13, 12), (21, 20)]
            .map(|(pid, parent)| filter.passes(&fork(process(pid, parent))))
            .into();
        assert_eq!(passed, [true, true, true, false, true, false]);
        // A member stays one when its parent has gone and init took it in.
        assert!(filter.passes(&fork(process(13, 1))));
    }

    #[test]
    fn what_a_group_uses_passes_conditions_on_groups_only() {
        let cgroup = Arc::new(Cgroup { path: Some("/a/b".into()), ..Cgroup::default() });
        let action = Action::Group(Box::new(Group { cgroup, ..Group::default() }));
        let event = Event { time_ns: 1, cpu: 0, sequence: 0, action };
        let passes = |conditions| Filter::new(conditions).passes(&event);
        let none = Conditions::default;
        assert!(passes(none()));
        assert!(passes(Conditions { kinds: vec![Kind::RESOURCES], cgroup: Some("/a".into()), ..none() }));
        assert!(!passes(Conditions { kinds: vec![Kind::EXIT], ..none() }));
        assert!(!passes(Conditions { cgroup: Some("/a/c".into()), ..none() }));
        assert!(!passes(Conditions { container: Some("0123456789ab".into()), ..none() }));
        assert!(!passes(Conditions { uid: Some(0), ..none() }));
        assert!(!passes(Conditions { pids: vec![1], ..none() }));
    }

    #[test]
    fn a_tree_is_learned_from_events_that_are_not_shown() {
        let mut filter =
            Filter::new(Conditions { trees: vec![10], kinds: vec![Kind::EXIT], ..Conditions::default() });
        assert!(!filter.passes(&fork(process(11, 10))));
        filter.conditions.kinds.clear();
        assert!(filter.passes(&fork(process(12, 11))));
    }

    #[test]
    fn names_and_paths_are_bytes() {
        let program = Program { executable: b"/usr/bin/caf\xe9".to_vec(), ..Program::default() };
        let subject =
            Process { name: Name::from_bytes(b"caf\xe9"), program: Some(Arc::new(program)), ..process(2, 1) };
        let cases =
            [("caf*", "*", true), ("caf?", "/usr/*", true), ("tea", "*", false), ("*", "/bin/*", false)];
        for (comm, exe, expected) in cases {
            let mut filter =
                Filter::new(Conditions { comm: glob(comm), exe: glob(exe), ..Conditions::default() });
            assert_eq!(filter.passes(&fork(subject.clone())), expected, "{comm} {exe}");
        }
    }

    #[test]
    fn control_groups_and_containers() {
        let id = "0123456789abcdef".repeat(4);
        let cgroup = Cgroup {
            path: Some("/system.slice/nginx.service".into()),
            container: Some(Container { id: id.as_str().into(), runtime: None }),
            ..Cgroup::default()
        };
        let subject = Process { cgroup: Arc::new(cgroup), ..process(2, 1) };
        let cases = [
            ("/system.slice", true),
            ("/system.slice/", true),
            ("/sys/fs/cgroup/system.slice", true),
            ("/sys/fs/cgroup/unified/system.slice/nginx.service", true),
            ("/", true),
            ("/sys/fs/cgroup", true),
            ("/system.slice/nginx", false),
            ("/user.slice", false),
        ];
        for (path, expected) in cases {
            let mut filter =
                Filter::new(Conditions { cgroup: Some(path.to_owned()), ..Conditions::default() });
            assert_eq!(filter.passes(&fork(subject.clone())), expected, "{path}");
        }
        let mut filter =
            Filter::new(Conditions { container: Some("0123456789ab".to_owned()), ..Conditions::default() });
        assert!(filter.passes(&fork(subject)));
        assert!(!filter.passes(&fork(process(3, 1))));
    }

    #[test]
    fn a_gap_always_passes() {
        let gap = Event { time_ns: 0, cpu: 0, sequence: 0, action: Action::Gap(Gap::default()) };
        let mut filter = Filter::new(Conditions {
            kinds: vec![Kind::EXEC],
            pids: vec![1],
            uid: Some(1),
            ..Conditions::default()
        });
        assert!(filter.passes(&gap));
    }
}
