//! Which processes or groups are shown, in which order: the lines of the table.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use guard_core::event::Process;
use guard_core::ids::ProcId;
use rustc_hash::{FxHashMap, FxHashSet};

use super::model::{Death, Model, Row};
use super::text;

/// Columns of branches from which on a tree gets no deeper on the screen: a chain of processes may
/// be as long as somebody wants it.
const DEEPEST: usize = 40;

/// How the table is arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// Processes below their parents.
    #[default]
    Tree,
    /// Processes, one after the other.
    List,
    /// Containers, systemd units and control groups.
    Groups,
}

/// What the table is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Share of one CPU, highest first.
    Cpu,
    /// Resident memory, most first.
    Memory,
    /// 99th percentile of the wait for a CPU, longest first.
    RunQueue,
    /// Restarts, most first.
    Restarts,
    /// Age, youngest first.
    Age,
    /// Process id, lowest first.
    Pid,
}

impl Sort {
    /// In the order of the columns.
    pub(super) const ALL: [Self; 6] =
        [Self::Pid, Self::Cpu, Self::Memory, Self::RunQueue, Self::Restarts, Self::Age];

    /// As the header names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::RunQueue => "run queue",
            Self::Restarts => "restarts",
            Self::Age => "age",
            Self::Pid => "pid",
        }
    }
}

/// What a line stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Process(ProcId),
    /// A group, by its key.
    Group(Arc<str>),
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) item: Item,
    /// Branches of the tree in front of the name.
    pub(super) branch: String,
    /// Shown only because something below it passes the filter.
    pub(super) context: bool,
}

/// What is asked of the order.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) view: View,
    /// `None`: what suits the view.
    pub(super) sort: Option<Sort>,
    pub(super) reverse: bool,
    /// Lower-case text that a process's or group's words must contain.
    pub(super) filter: String,
    /// Whether kernel threads are shown.
    pub(super) kernel_threads: bool,
}

impl Wish {
    /// What is sorted by. A tree by pid stays where it is; a list is looked at for what is busy.
    pub(super) fn sort(&self) -> Sort {
        self.sort.unwrap_or(if self.view == View::Tree { Sort::Pid } else { Sort::Cpu })
    }
}

/// What a group amounts to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) cpu_percent: Option<f64>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) threads: u32,
    pub(super) restarts: u32,
    /// Start of the oldest process, in nanoseconds since boot.
    pub(super) start_ns: u64,
}

/// The lines of the table.
pub(super) fn lines(model: &Model, wish: &Wish) -> Vec<Line> {
    match wish.view {
        View::Tree => tree(model, wish),
        View::List => list(model, wish),
        View::Groups => groups(model, wish),
    }
}

/// What each group amounts to, by its key.
pub(super) fn sums(model: &Model) -> HashMap<Arc<str>, Sum> {
    let mut sums: HashMap<Arc<str>, Sum> = HashMap::new();
    let mut counted = HashSet::new();
    for row in model.rows.values() {
        let sum = sums.entry(Arc::clone(&row.group)).or_default();
        if let Some(percent) = row.cpu_percent() {
            *sum.cpu_percent.get_or_insert(0.0) += percent;
        }
        if let Some(resources) = &row.resources {
            *sum.rss_bytes.get_or_insert(0) += resources.rss_bytes;
            sum.threads += resources.threads;
        }
        // Each executable of a group has its own count, however many processes run it.
        let executable = row.process.program.as_ref().map(|program| program.executable.as_slice());
        if counted.insert((Arc::clone(&row.group), executable)) {
            sum.restarts += model.restarts(row);
        }
        let start_ns = row.process.id.start_ns;
        sum.start_ns = if sum.start_ns == 0 { start_ns } else { sum.start_ns.min(start_ns) };
    }
    sums
}

/// Whether a line's words contain the text, which is in lower case.
pub(super) fn matches(model: &Model, item: &Item, text: &str) -> bool {
    let contains = |words: &str| words.to_lowercase().contains(text);
    match item {
        Item::Process(id) => model.rows.get(id).is_some_and(|row| {
            process_matches(&row.process, text) || group_matches(model, &row.group, contains)
        }),
        Item::Group(key) => group_matches(model, key, contains),
    }
}

/// Deaths that pass the filter, newest first; perhaps only those that were no ordinary end.
pub(super) fn deaths<'a>(model: &'a Model, wish: &Wish, failures_only: bool) -> Vec<&'a Death> {
    let mut deaths = model.deaths(failures_only);
    if !wish.filter.is_empty() {
        deaths.retain(|death| process_matches(&death.process, &wish.filter));
    }
    deaths
}

/// Whether a process's words, or those of its control group, contain the text in lower case.
fn process_matches(process: &Process, text: &str) -> bool {
    let contains = |words: &str| words.to_lowercase().contains(text);
    contains(&text::command(process))
        || contains(&text::escaped(process.name.as_bytes()))
        || process.id.pid.to_string() == text
        || process.cgroup.path.as_deref().is_some_and(contains)
}

fn group_matches(model: &Model, key: &str, contains: impl Fn(&str) -> bool) -> bool {
    model.groups.get(key).is_some_and(|group| {
        contains(&text::escaped(group.name.as_bytes())) || contains(&group.path) || contains(key)
    })
}

/// Where a line stands: lower ranks first, then lower pids.
type Rank = (f64, ProcId);

fn by_rank(wish: &Wish) -> impl Fn(&Rank, &Rank) -> Ordering {
    let reverse = wish.reverse;
    move |one, other| {
        let order = one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1));
        if reverse { order.reverse() } else { order }
    }
}

fn rank(model: &Model, row: &Row, sort: Sort) -> Rank {
    let id = row.process.id;
    let rank = match sort {
        Sort::Cpu => -row.cpu_percent().unwrap_or(-1.0),
        Sort::Memory => row.resources.map_or(1.0, |resources| -(resources.rss_bytes as f64)),
        Sort::RunQueue => {
            let group = model.group(row);
            group.and_then(|group| group.run_queue_ns(0.99)).map_or(1.0, |wait| -(wait as f64))
        }
        Sort::Restarts => -f64::from(model.restarts(row)),
        Sort::Age => -(id.start_ns as f64),
        Sort::Pid => 0.0,
    };
    (rank, id)
}

/// The processes that may be shown at all.
fn eligible<'a>(model: &'a Model, wish: &Wish) -> impl Iterator<Item = &'a Row> {
    let kernel_threads = wish.kernel_threads;
    model.rows.values().filter(move |row| kernel_threads || !row.process.kernel_thread)
}

fn passes(model: &Model, wish: &Wish, item: &Item) -> bool {
    wish.filter.is_empty() || matches(model, item, &wish.filter)
}

fn list(model: &Model, wish: &Wish) -> Vec<Line> {
    let sort = wish.sort();
    let mut ranks: Vec<_> = eligible(model, wish)
        .filter(|row| passes(model, wish, &Item::Process(row.process.id)))
        .map(|row| rank(model, row, sort))
        .collect();
    ranks.sort_unstable_by(by_rank(wish));
    let line = |(_, id): Rank| Line { item: Item::Process(id), branch: String::new(), context: false };
    ranks.into_iter().map(line).collect()
}

fn groups(model: &Model, wish: &Wish) -> Vec<Line> {
    let sums = sums(model);
    let mut lines: Vec<(f64, &Arc<str>, Line)> = Vec::new();
    for (key, group) in model.groups.iter() {
        let item = Item::Group(Arc::clone(key));
        if group.processes == 0 || !passes(model, wish, &item) {
            continue;
        }
        let sum = sums.get(key).copied().unwrap_or_default();
        let rank = match wish.sort() {
            Sort::Cpu => -sum.cpu_percent.unwrap_or(-1.0),
            Sort::Memory => sum.rss_bytes.map_or(1.0, |bytes| -(bytes as f64)),
            Sort::RunQueue => group.run_queue_ns(0.99).map_or(1.0, |wait| -(wait as f64)),
            Sort::Restarts => -f64::from(sum.restarts),
            Sort::Age => -(sum.start_ns as f64),
            Sort::Pid => 0.0,
        };
        lines.push((rank, &group.name, Line { item, branch: String::new(), context: false }));
    }
    lines.sort_by(|one, other| {
        let order = one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1));
        if wish.reverse { order.reverse() } else { order }
    });
    lines.into_iter().map(|(_, _, line)| line).collect()
}

/// A subtree stands where its best process would: what is busy comes up with its ancestors.
fn tree(model: &Model, wish: &Wish) -> Vec<Line> {
    let mut forest = Forest::new(model, wish);
    let roots = forest.children.remove(&ProcId::NONE).unwrap_or_default();
    let mut lines = Vec::new();
    // A stack of its own: the depth of a process tree is what processes make it.
    let mut open: Vec<(ProcId, String, bool, bool)> = Vec::new();
    let push = |open: &mut Vec<_>, ids: Vec<ProcId>, indent: &str, root: bool| {
        let last = ids.len();
        let entries = ids.into_iter().enumerate();
        let entries = entries.map(|(index, id)| (id, indent.to_owned(), index + 1 == last, root));
        open.extend(entries.rev());
    };
    push(&mut open, roots, "", true);
    while let Some((id, indent, last, root)) = open.pop() {
        let (mark, below) = match (root, last) {
            (true, _) => ("", ""),
            (false, true) => ("└ ", "  "),
            (false, false) => ("├ ", "│ "),
        };
        let context = !forest.passing.contains(&id);
        lines.push(Line { item: Item::Process(id), branch: format!("{indent}{mark}"), context });
        if let Some(children) = forest.children.remove(&id) {
            let below = if indent.chars().count() < DEEPEST { below } else { "" };
            push(&mut open, children, &format!("{indent}{below}"), false);
        }
    }
    lines
}

/// Processes with their children in order.
struct Forest {
    /// Children by parent; those without a living parent are the children of none.
    children: FxHashMap<ProcId, Vec<ProcId>>,
    /// Those that pass the filter themselves.
    passing: FxHashSet<ProcId>,
}

impl Forest {
    fn new(model: &Model, wish: &Wish) -> Self {
        let sort = wish.sort();
        let order = by_rank(wish);
        let rows: FxHashMap<ProcId, &Row> = eligible(model, wish).map(|row| (row.process.id, row)).collect();
        let parent = |row: &Row| {
            // A parent is older than its child; anything else would be a circle.
            let parent = row.process.parent;
            let known = rows.contains_key(&parent) && parent.start_ns <= row.process.id.start_ns;
            if known && parent != row.process.id { parent } else { ProcId::NONE }
        };
        // Children before parents, so that one pass carries everything up to the roots.
        let mut youngest_first: Vec<_> = rows.values().copied().collect();
        youngest_first.sort_unstable_by_key(|row| std::cmp::Reverse(row.process.id));
        youngest_first.sort_by_key(|row| std::cmp::Reverse(row.process.id.start_ns));
        let mut passing = FxHashSet::default();
        let mut best: FxHashMap<ProcId, Rank> = FxHashMap::default();
        let mut shown: FxHashSet<ProcId> = FxHashSet::default();
        let mut children: FxHashMap<ProcId, Vec<ProcId>> = FxHashMap::default();
        for row in youngest_first {
            let id = row.process.id;
            if passes(model, wish, &Item::Process(id)) {
                passing.insert(id);
            } else if !shown.contains(&id) {
                continue;
            }
            let own = rank(model, row, sort);
            let rank = match best.get(&id) {
                // By pid and by age a process stands for itself.
                Some(below) if !matches!(sort, Sort::Pid | Sort::Age) && order(below, &own).is_lt() => {
                    (below.0, id)
                }
                _ => own,
            };
            best.insert(id, rank);
            let above = parent(row);
            children.entry(above).or_default().push(id);
            shown.insert(above);
            let better = best.get(&above).is_none_or(|known| order(&rank, known).is_lt());
            if better {
                best.insert(above, rank);
            }
        }
        let rank_of = |id: &ProcId| best.get(id).copied().unwrap_or((0.0, *id));
        for siblings in children.values_mut() {
            siblings.sort_by(|one, other| order(&rank_of(one), &rank_of(other)));
        }
        Self { children, passing }
    }
}
