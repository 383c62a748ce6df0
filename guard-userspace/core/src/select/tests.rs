//! The index against trying every selector; the claims against looking at the whole family each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::matcher::{Matcher, Subject};
use super::*;
use crate::event::{Action, Cgroup, Container, Event, Exec, Listen, Name, Process, Program};
use crate::ids::ProcId;
use crate::policy::model::Selector;

const EXECUTABLES: [&str; 6] =
    ["/usr/bin/python3", "/usr/sbin/nginx", "/opt/a/bin/run", "/opt/b/bin/run", "/opt/run", "/srv/x/y/z"];
const PATTERNS: [&str; 7] =
    ["/usr/bin/python3", "/opt/*/bin/run", "/opt/**", "/srv/*/y/z", "/**/run", "/usr/*bin/*", "/srv/*"];
const COMMANDS: [&str; 5] =
    ["python3 worker-1 --fast", "python3 worker-12", "nginx: master process", "run", "x y z"];
const EXPRESSIONS: [&str; 6] = ["worker-1$", "worker-1", "(?i)NGINX", "^run", "y", "worker-(1|2) "];
const CGROUPS: [&str; 5] = ["/", "/system.slice", "/system.slice/nginx.service", "/a/b", "/a/bc"];
const ABOVE: [&str; 5] = ["/", "/system.slice", "/system.slice/", "/a/b", "/a"];
const UNITS: [&str; 2] = ["nginx.service", "cron.service"];
const PORTS: [u16; 2] = [80, 443];

fn container(number: u8) -> Box<str> {
    format!("{number:02x}").repeat(32).into_boxed_str()
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(of: &'static [T]) -> BoxedStrategy<T> {
    proptest::sample::select(of).boxed()
}

fn selector() -> impl Strategy<Value = Selector> {
    let maybe = |of: &'static [&'static str]| proptest::option::weighted(0.3, one_of(of));
    let of = proptest::option::weighted(0.1, (0_u8..3, 12_usize..64));
    let user = proptest::option::weighted(0.3, one_of(&["0", "33", "www-data", "nobody-knows"]));
    (
        (maybe(&PATTERNS), maybe(&EXPRESSIONS), user, maybe(&ABOVE), maybe(&UNITS)),
        (of, proptest::option::weighted(0.2, one_of(&PORTS))),
    )
        .prop_map(|((exe, command, user, cgroup, unit), (of, listens))| Selector {
            exe: exe.map(str::to_owned),
            command: command.map(str::to_owned),
            user: user.map(str::to_owned),
            cgroup: cgroup.map(str::to_owned),
            unit: unit.map(str::to_owned),
            container: of.map(|(number, digits)| container(number)[..digits].to_owned()),
            listens,
        })
}

fn process() -> impl Strategy<Value = Process> {
    let program = proptest::option::weighted(0.9, (one_of(&EXECUTABLES), one_of(&COMMANDS)));
    let group = (
        proptest::option::weighted(0.9, one_of(&CGROUPS)),
        proptest::option::of(one_of(&UNITS)),
        proptest::option::of(0_u8..3),
    );
    (1_u32..5, program, group, one_of(&[0_u32, 33, 1000]), proptest::bool::weighted(0.05)).prop_map(
        |(pid, program, (path, unit, number), uid, kernel_thread)| Process {
            id: ProcId { pid, start_ns: 7 },
            uid,
            kernel_thread,
            cgroup: Arc::new(Cgroup {
                path: path.map(Into::into),
                unit: unit.map(Into::into),
                container: number.map(|number| Container { id: container(number), runtime: None }),
                ..Cgroup::default()
            }),
            program: program.map(|(executable, command)| {
                Arc::new(Program {
                    executable: executable.into(),
                    args: command.replace(' ', "\0").into_bytes(),
                    ..Program::default()
                })
            }),
            ..Process::default()
        },
    )
}

fn users() -> BTreeMap<String, u32> {
    [("www-data".to_owned(), 33)].into()
}

fn index(selectors: &[Selector]) -> Index {
    Index::of(selectors.iter().enumerate(), &users())
}

/// What [`Index::find`] must say, one by one.
fn naive(selectors: &[Selector], process: &Process, ports: &[u16]) -> Vec<Place> {
    if process.kernel_thread || process.id.pid == 1 {
        return vec![];
    }
    let subject = Subject::new(process, ports);
    let matches =
        |selector: &Selector| Matcher::new(selector, &users()).is_some_and(|one| one.matches(&subject));
    (0..).zip(selectors).filter(|(_, selector)| matches(selector)).map(|(place, _)| place).collect()
}

/// Paths of patterns as their documentation says it, by trying everything.
fn naive_glob(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([b'*', b'*', rest @ ..], _) => (0..=path.len()).any(|taken| naive_glob(rest, &path[taken..])),
        ([b'*', rest @ ..], _) => {
            let segment = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
            (0..=segment).any(|taken| naive_glob(rest, &path[taken..]))
        }
        ([one, rest @ ..], [other, path @ ..]) if one == other => naive_glob(rest, path),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_trying_all_finds(
        selectors in proptest::collection::vec(selector(), 0..12),
        processes in proptest::collection::vec(process(), 1..4),
        ports in proptest::collection::vec(one_of(&PORTS), 0..2),
    ) {
        let index = index(&selectors);
        for process in &processes {
            prop_assert_eq!(index.find(process, &ports), naive(&selectors, process, &ports));
        }
    }

    #[test]
    fn globs_match_what_trying_all_matches(pattern in "[ab/*]{0,9}", path in "[ab/]{0,9}") {
        let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
        prop_assert_eq!(glob::matches(pattern, path), naive_glob(pattern, path));
    }

    #[test]
    fn what_fits_two_globs_is_found(one in "[ab/*]{0,6}", other in "[ab/*]{0,6}", path in "[ab/]{0,6}") {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let both = |path: &[u8]| naive_glob(one, path) && naive_glob(other, path);
        match glob::meet(one, other).unwrap() {
            Some(shared) => prop_assert!(both(&shared), "{}", String::from_utf8_lossy(&shared)),
            None => prop_assert!(!both(path.as_bytes())),
        }
        // What fits one of them is found if the other is that.
        let same = glob::meet(path.as_bytes(), one).unwrap();
        prop_assert_eq!(same.is_some(), naive_glob(one, path.as_bytes()) || path.contains('*'));
    }
}

/// What happens to a small family.
#[derive(Clone, Debug)]
enum Turn {
    Fork { parent: u32, child: u32 },
    Exec { pid: u32, executable: &'static str },
    Listen { pid: u32, port: u16 },
    Exit { pid: u32 },
}

fn turn() -> impl Strategy<Value = Turn> {
    let pid = || 2_u32..9;
    prop_oneof![
        3 => (pid(), pid()).prop_map(|(parent, child)| Turn::Fork { parent, child }),
        3 => (pid(), one_of(&EXECUTABLES)).prop_map(|(pid, executable)| Turn::Exec { pid, executable }),
        1 => (pid(), one_of(&PORTS)).prop_map(|(pid, port)| Turn::Listen { pid, port }),
        2 => pid().prop_map(|pid| Turn::Exit { pid }),
    ]
}

/// A process of the model: what it runs, where it listens, what it counts as.
#[derive(Clone, Debug)]
struct Relative {
    process: Process,
    ports: Vec<u16>,
    service: Option<Place>,
}

#[derive(Default)]
struct Family {
    living: BTreeMap<u32, Relative>,
    claims: Claims,
    known: BTreeMap<u32, (Place, Standing)>,
}

impl Family {
    fn tell(&mut self, action: Action) {
        let mut shifts = vec![];
        self.claims.event(&Event { time_ns: 1, cpu: 0, sequence: 0, action }, &mut shifts);
        for Shift { id, service, to } in shifts {
            match to {
                Standing::Nothing => assert_eq!(self.known.remove(&id.pid).map(|(of, _)| of), Some(service)),
                to => {
                    let before = self.known.insert(id.pid, (service, to));
                    assert_ne!(before, Some((service, to)), "nothing changed");
                    assert!(before.is_none_or(|(of, _)| of == service), "it left the other first");
                }
            }
        }
    }

    fn take(&mut self, turn: &Turn, selectors: &[Selector]) {
        let process = |pid, parent| Process {
            id: ProcId { pid, start_ns: 7 },
            parent: ProcId { pid: parent, start_ns: 7 },
            parent_name: Name::from_bytes(b"parent"),
            ..Process::default()
        };
        match *turn {
            Turn::Fork { parent, child } => {
                if self.living.contains_key(&child) || parent == child {
                    return;
                }
                let above = self.living.get(&parent).cloned();
                let program = above.as_ref().and_then(|above| above.process.program.clone());
                let mut process = process(child, parent);
                process.program = program;
                let service = above.and_then(|above| above.service);
                self.living.insert(child, Relative { process: process.clone(), ports: vec![], service });
                self.tell(Action::Fork { process: Arc::new(process) });
            }
            Turn::Exec { pid, executable } => {
                let Some(relative) = self.living.get_mut(&pid) else { return };
                let program = Program { executable: executable.into(), ..Program::default() };
                relative.process.program = Some(Arc::new(program));
                relative.service = naive(selectors, &relative.process, &relative.ports).first().copied();
                let process = Arc::new(relative.process.clone());
                self.tell(Action::Exec { process, exec: Exec::default() });
            }
            Turn::Listen { pid, port } => {
                let Some(relative) = self.living.get_mut(&pid) else { return };
                if !relative.ports.contains(&port) {
                    relative.ports.push(port);
                }
                if selectors.iter().any(|selector| selector.listens == Some(port)) {
                    relative.service = naive(selectors, &relative.process, &relative.ports).first().copied();
                }
                let (process, address) = (Arc::new(relative.process.clone()), ([0, 0, 0, 0], port).into());
                self.tell(Action::Listen { process, listen: Listen { address } });
            }
            Turn::Exit { pid } => {
                let Some(relative) = self.living.remove(&pid) else { return };
                let exit = crate::event::Exit {
                    status: crate::event::ExitStatus::Code(0),
                    cause: crate::event::Cause::Own,
                    lifetime_ns: 0,
                    fork_to_exec_ns: None,
                    exec_to_listen_ns: None,
                    usage: None,
                };
                self.tell(Action::Exit { process: Arc::new(relative.process), exit: Box::new(exit) });
                for child in self.living.values_mut().filter(|child| child.process.parent.pid == pid) {
                    child.process.parent = ProcId::NONE;
                }
            }
        }
    }

    fn check(&self) {
        let service = |pid: u32| self.living.get(&pid).and_then(|relative| relative.service);
        let expected: BTreeMap<u32, (Place, Standing)> = (self.living.iter())
            .filter_map(|(&pid, relative)| {
                let of = relative.service?;
                let below = service(relative.process.parent.pid) == Some(of);
                Some((pid, (of, if below { Standing::Below } else { Standing::Main })))
            })
            .collect();
        assert_eq!(self.known, expected);
        for (id, claim) in self.claims.iter() {
            let standing = if claim.main { Standing::Main } else { Standing::Below };
            assert_eq!(self.known.get(&id.pid), Some(&(claim.service, standing)));
        }
        assert_eq!(self.claims.iter().count(), expected.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn claims_are_what_the_whole_family_says(turns in proptest::collection::vec(turn(), 0..60)) {
        let exe = |exe: &str| Selector { exe: Some(exe.to_owned()), ..Selector::default() };
        let web = Selector { listens: Some(80), ..exe("/usr/sbin/nginx") };
        let selectors = [exe("/opt/*/bin/run"), exe("/usr/bin/python3"), web, exe("/opt/b/bin/run")];
        let mut family = Family { claims: Claims::new(index(&selectors)), ..Family::default() };
        for turn in &turns {
            family.take(turn, &selectors);
            family.check();
        }
        for pid in 2..9 {
            family.take(&Turn::Exit { pid }, &selectors);
            family.check();
        }
        let Claims { of, below, ports, .. } = &family.claims;
        prop_assert!(of.is_empty() && below.is_empty() && ports.is_empty(), "nothing is kept of the dead");
    }
}

#[test]
fn a_daemon_that_forks_hands_its_place_over() {
    let selectors = [Selector { exe: Some("/usr/sbin/nginx".into()), ..Selector::default() }];
    let mut family = Family { claims: Claims::new(index(&selectors)), ..Family::default() };
    for turn in [
        Turn::Fork { parent: 99, child: 2 },
        Turn::Exec { pid: 2, executable: "/usr/sbin/nginx" },
        Turn::Fork { parent: 2, child: 3 },
        Turn::Fork { parent: 3, child: 4 },
    ] {
        family.take(&turn, &selectors);
    }
    assert_eq!(family.known[&2].1, Standing::Main);
    assert_eq!((family.known[&3].1, family.known[&4].1), (Standing::Below, Standing::Below));
    family.take(&Turn::Exit { pid: 2 }, &selectors);
    assert_eq!((family.known[&3].1, family.known[&4].1), (Standing::Main, Standing::Below));
    family.take(&Turn::Exec { pid: 3, executable: "/srv/x/y/z" }, &selectors);
    assert_eq!((family.known.get(&3), family.known[&4].1), (None, Standing::Main));
}

#[test]
fn selectors_that_ask_for_nothing_or_nobody_match_nobody() {
    let process = Process { id: ProcId { pid: 5, start_ns: 1 }, ..Process::default() };
    let user = |user: &str| Selector { user: Some(user.to_owned()), ..Selector::default() };
    let broken = Selector { command: Some("(".to_owned()), ..Selector::default() };
    let selectors = [Selector::default(), user("nobody-knows"), broken, user("0")];
    assert_eq!(index(&selectors).find(&process, &[]), [3]);
    let first = Process { id: ProcId { pid: 1, start_ns: 1 }, ..process };
    assert_eq!(index(&selectors).find(&first, &[]), Vec::<Place>::new());
}
