//! A recorded stream held against policies: what would have been done, when and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use guard_core::event::{Action, Event, Process};
use guard_core::ids::ProcId;
use guard_core::policy::PolicySet;
use guard_core::rehearse::{Entry, Recorded, observed};
use guard_core::select::Index;
use guard_core::supervise::{Clock, Settings};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::Stamp;
use crate::exit::Failure;
use crate::show::escape;
use crate::summary::Summary;
use crate::trace::{Audience, Wanted, recorded, replay};

/// What came of it.
#[derive(Debug)]
pub struct Watched {
    /// Since when times count.
    pub clock: Clock,
    /// What would have been done.
    pub entries: Vec<Entry>,
    /// Services that were not watched, because none of their processes is in the stream.
    pub unseen: Vec<String>,
    /// A bad place in the stream; all before it was watched, and the files of a recording behind it.
    pub damage: Option<Failure>,
}

/// Holds a stream against policies. It is read twice: first to know which processes were there before it began.
///
/// # Errors
/// If it cannot be read, or holds neither an event nor the summary of a stream in which nothing happened.
pub fn watch(input: &Path, set: &PolicySet, seed: u64) -> Result<Watched, Failure> {
    if input == Path::new("-") {
        let message = "a stream is read twice, so it cannot be standard input; save it to a file first";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut set = observed(set);
    set.users = users(&set);
    let mut cast = Cast::new(&set);
    let damage = read(input, &mut cast)?;
    let Some((began_ns, stamp)) = cast.began else {
        if cast.whole && damage.is_none() {
            let unseen = cast.unseen(&mut set);
            return Ok(Watched { clock: Clock::default(), entries: Vec::new(), unseen, damage });
        }
        let name = escape::display(input.as_os_str().as_encoded_bytes());
        return Err(damage.unwrap_or_else(|| replay::Error::Empty { name }.into()));
    };
    let unseen = cast.unseen(&mut set);
    let there: Vec<Arc<Process>> =
        cast.first.into_values().filter(|process| process.id.start_ns < began_ns).collect();
    let clock = Clock { boot_ns: stamp.utc_offset_ns };
    let settings = Settings { seed, clock };
    let mut stage = Stage {
        recorded: Recorded::new(Arc::new(set), settings, began_ns, &there),
        last_ns: began_ns,
        summary: Summary::default(),
    };
    // What is wrong with it was said the first time.
    let _ = read(input, &mut stage)?;
    let last_ns = stage.last_ns;
    stage.recorded.pass(last_ns);
    Ok(Watched { clock, entries: stage.recorded.take(), unseen, damage })
}

/// Reads all that can be read; gives the bad place, if there is one.
fn read<A>(input: &Path, audience: &mut A) -> Result<Option<Failure>, Failure>
where
    for<'a> &'a mut A: Audience,
{
    let ended = match recorded::files(input)? {
        Some(files) => recorded::run(&files, audience),
        None => replay::run(input, audience),
    };
    match ended {
        Ok(()) => Ok(None),
        Err(Failure::Input(error)) if error.is_late() => Ok(Some(error.into())),
        Err(error) => Err(error),
    }
}

/// Numbers of the users that selectors name, as this host has them.
fn users(set: &PolicySet) -> BTreeMap<String, u32> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    });
    known.chain(set.users.clone()).collect()
}

/// Who is in the stream.
struct Cast {
    index: Index,
    /// When the first event was; what is said of the stream itself is none.
    began: Option<(u64, Stamp)>,
    /// Processes as they were first seen.
    first: FxHashMap<ProcId, Arc<Process>>,
    ports: FxHashMap<ProcId, Vec<u16>>,
    seen: BTreeSet<usize>,
    matched: FxHashSet<(ProcId, u64)>,
    summary: Summary,
    /// The stream tells its own end.
    whole: bool,
}

impl Cast {
    fn new(set: &PolicySet) -> Self {
        Self {
            index: Index::new(set),
            began: None,
            first: FxHashMap::default(),
            ports: FxHashMap::default(),
            seen: BTreeSet::new(),
            matched: FxHashSet::default(),
            summary: Summary::default(),
            whole: false,
        }
    }

    /// Takes those out of the set who are not in the stream, and names them.
    fn unseen(&self, set: &mut PolicySet) -> Vec<String> {
        let mut unseen = Vec::new();
        let all = std::mem::take(&mut set.services);
        for (place, service) in all.into_iter().enumerate() {
            if self.seen.contains(&place) {
                set.services.push(service);
            } else {
                unseen.push(service.name.clone());
            }
        }
        unseen
    }
}

impl Audience for &mut Cast {
    fn event(&mut self, stamp: &Stamp, event: &Event) -> Result<Wanted, Failure> {
        if !matches!(event.action, Action::Gap(_) | Action::Resync(_)) {
            self.began.get_or_insert((event.time_ns, *stamp));
        }
        let Some(process) = event.action.process() else { return Ok(Wanted::More) };
        self.first.entry(process.id).or_insert_with(|| process.clone());
        let mut again = false;
        if let Action::Listen { listen, .. } = &event.action {
            self.ports.entry(process.id).or_default().push(listen.address.port());
            again = true;
        }
        if again || self.matched.insert((process.id, process.exec_count)) {
            let none = Vec::new();
            let ports = self.ports.get(&process.id).unwrap_or(&none);
            let found = self.index.find(process, ports);
            self.seen.extend(found);
        }
        Ok(Wanted::More)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    fn is_whole(&mut self) {
        self.whole = true;
    }
}

/// The policies, watching.
struct Stage {
    recorded: Recorded,
    last_ns: u64,
    summary: Summary,
}

impl Audience for &mut Stage {
    fn event(&mut self, _stamp: &Stamp, event: &Event) -> Result<Wanted, Failure> {
        self.last_ns = self.last_ns.max(event.time_ns);
        self.recorded.event(event);
        Ok(Wanted::More)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }
}
