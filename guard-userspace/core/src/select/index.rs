//! All selectors at once.
//!
//! Each selector is found by one [`Key`]: that which fewest others share. So a process is compared with the few selectors whose
//! key it has, whatever their number: hashes of what it is, and one pass over its command line for all words.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use rustc_hash::FxHashMap;

use crate::event::Process;
use crate::policy::model::{Origin, Selector};
use crate::policy::set::PolicySet;
use crate::select::key::{CONTAINER_DIGITS, Key, base};
use crate::select::matcher::{Matcher, Subject};

/// Place of a service in [`PolicySet::services`].
pub type Place = usize;

/// Numbers of selectors in [`Index::matchers`].
type Bucket = Vec<u32>;

/// The selectors of all adopted services.
#[derive(Debug, Default)]
pub struct Index {
    matchers: Vec<(Place, Matcher)>,
    ports: FxHashMap<u16, Bucket>,
    containers: FxHashMap<Vec<u8>, Bucket>,
    units: FxHashMap<String, Bucket>,
    executables: FxHashMap<Vec<u8>, Bucket>,
    bases: FxHashMap<Vec<u8>, Bucket>,
    directories: FxHashMap<Vec<u8>, Bucket>,
    cgroups: FxHashMap<String, Bucket>,
    users: FxHashMap<u32, Bucket>,
    words: Option<Words>,
    /// Those that must be tried for every process.
    rest: Bucket,
    /// All ports that selectors name.
    wanted: Vec<u16>,
}

/// Words of command lines, found in one pass.
#[derive(Debug)]
struct Words {
    all: AhoCorasick,
    /// By the number of the word.
    buckets: Vec<Bucket>,
}

impl Index {
    /// Compiles the selectors of a set. A selector that can match nobody is left out.
    #[must_use]
    pub fn new(set: &PolicySet) -> Self {
        let adopted = set.services.iter().enumerate().filter_map(|(place, service)| match &service.origin {
            Origin::Adopt(adopt) => Some((place, &adopt.matching)),
            Origin::Run(_) => None,
        });
        Self::of(adopted, &set.users)
    }

    pub(super) fn of<'a>(
        selectors: impl Iterator<Item = (Place, &'a Selector)>,
        users: &BTreeMap<String, u32>,
    ) -> Self {
        let compile = |(place, selector)| Some((place, Matcher::new(selector, users)?));
        let matchers: Vec<_> = selectors.filter_map(compile).collect();
        let keys: Vec<Vec<Key>> = matchers.iter().map(|(_, matcher)| Key::of(matcher)).collect();
        let mut shared: FxHashMap<&Key, u32> = FxHashMap::default();
        for key in keys.iter().flatten() {
            *shared.entry(key).or_default() += 1;
        }
        let mut index = Self::default();
        let mut words: BTreeMap<Vec<u8>, Bucket> = BTreeMap::new();
        for (number, keys) in (0..).zip(&keys) {
            let best = keys.iter().min_by_key(|&key| (shared.get(key), key));
            match best {
                Some(Key::Word(word)) => words.entry(word.clone()).or_default().push(number),
                best => index.bucket(best).push(number),
            }
        }
        let ports = matchers.iter().filter_map(|(_, matcher)| matcher.selector.listens);
        index.wanted = ports.collect();
        index.wanted.sort_unstable();
        index.matchers = matchers;
        index.add_words(words);
        index
    }

    /// Whether some selector asks for a process that listens on this port.
    #[must_use]
    pub fn wants_port(&self, port: u16) -> bool {
        self.wanted.binary_search(&port).is_ok()
    }

    /// The services that a process belongs to, by what it runs and who it is; in order of name. `ports`: where it is known to
    /// listen. Kernel threads and the host's first process belong to none.
    #[must_use]
    pub fn find(&self, process: &Process, ports: &[u16]) -> Vec<Place> {
        let mut found = vec![];
        if self.matchers.is_empty() || process.kernel_thread || process.id.pid == INIT {
            return found;
        }
        let subject = Subject::new(process, ports);
        self.candidates(&subject, &mut |number| {
            let matcher = usize::try_from(number).ok().and_then(|number| self.matchers.get(number));
            if let Some((place, _)) = matcher.filter(|(_, matcher)| matcher.matches(&subject)) {
                found.push(*place);
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Gives every selector whose key a process has, some twice.
    fn candidates(&self, subject: &Subject<'_>, give: &mut impl FnMut(u32)) {
        let Process { uid, cgroup, .. } = subject.process;
        let mut all = |bucket: Option<&Bucket>| {
            bucket.into_iter().flatten().for_each(|&number| give(number));
        };
        all(Some(&self.rest));
        if !self.ports.is_empty() {
            subject.ports.iter().for_each(|port| all(self.ports.get(port)));
        }
        if !self.users.is_empty() {
            all(self.users.get(uid));
        }
        if let (false, Some(unit)) = (self.units.is_empty(), &cgroup.unit) {
            all(self.units.get(&**unit));
        }
        if let (false, Some(container)) = (self.containers.is_empty(), &cgroup.container) {
            all(container.id.as_bytes().get(..CONTAINER_DIGITS).and_then(|id| self.containers.get(id)));
        }
        if let (false, Some(path)) = (self.cgroups.is_empty(), cgroup.path.as_deref()) {
            let ends =
                path.bytes().enumerate().filter(|&(at, byte)| byte == b'/' && at > 0).map(|(at, _)| at);
            let above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
            above.filter(|above| *above != "/").for_each(|above| all(self.cgroups.get(above)));
            all(self.cgroups.get(""));
        }
        if let Some(path) = subject.executable() {
            self.by_executable(path, &mut all);
        }
        if let Some(words) = &self.words {
            let found = words.all.find_overlapping_iter(subject.command());
            found.for_each(|found| all(words.buckets.get(found.pattern().as_usize())));
        }
    }

    fn by_executable(&self, path: &[u8], all: &mut impl FnMut(Option<&Bucket>)) {
        all(self.executables.get(path));
        if !self.bases.is_empty() {
            all(self.bases.get(base(path)));
        }
        if !self.directories.is_empty() {
            let ends = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at + 1);
            let above = [0].into_iter().chain(ends).filter_map(|end| path.get(..end));
            above.for_each(|above| all(self.directories.get(above)));
        }
    }

    fn bucket(&mut self, key: Option<&Key>) -> &mut Bucket {
        match key.cloned() {
            Some(Key::Port(port)) => self.ports.entry(port).or_default(),
            Some(Key::Container(digits)) => self.containers.entry(digits).or_default(),
            Some(Key::Unit(unit)) => self.units.entry(unit).or_default(),
            Some(Key::Executable(path)) => self.executables.entry(path).or_default(),
            Some(Key::Base(name)) => self.bases.entry(name).or_default(),
            Some(Key::Cgroup(path)) => self.cgroups.entry(path).or_default(),
            Some(Key::Directory(path)) => self.directories.entry(path).or_default(),
            Some(Key::User(uid)) => self.users.entry(uid).or_default(),
            Some(Key::Word(_)) | None => &mut self.rest,
        }
    }

    /// An automaton that cannot be made, because it would be too large, costs time: then all of these are tried.
    fn add_words(&mut self, words: BTreeMap<Vec<u8>, Bucket>) {
        if words.is_empty() {
            return;
        }
        let bytes: usize = words.keys().map(Vec::len).sum();
        let kind = if bytes <= TABLE_BYTES { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        // Without its own search for first bytes, which pays for few words alone: few cost what many cost.
        match AhoCorasick::builder().kind(Some(kind)).prefilter(false).build(words.keys()) {
            Ok(all) => self.words = Some(Words { all, buckets: words.into_values().collect() }),
            Err(_) => self.rest.extend(words.into_values().flatten()),
        }
    }
}

/// Bytes of words up to which each has a row of a table (at most 512 bytes, so 16 MiB in all; 10,000 policies of which each fourth
/// has a word: 4 MiB): a byte of a command line then costs 1 ns. Beyond that, about three.
const TABLE_BYTES: usize = 32 * 1024;

/// The host's first process.
const INIT: u32 = 1;
