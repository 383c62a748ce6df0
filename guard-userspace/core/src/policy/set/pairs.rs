//! Which selectors are to be compared: only those that have a chance to take one process, so that 10,000 policies take a second and
//! not a day.
//!
//! A pair is found through the most telling key that both have. Equal values are found by their hash, prefixes by order, words of
//! command lines by one automaton for all.

use std::collections::BTreeMap;
use std::ops::Bound;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::overlap::{Claimant, Key, Verdict};
use crate::select::glob;

/// Pairs that are compared at most: up to 1 us each.
const PAIRS: u32 = 1_000_000;

/// Products of expressions that are walked through at most: 100 to 700 us each.
const WALKS: u32 = 2_000;

/// Of those, as many to find lines that are made for both.
const CONTRIVED_WALKS: u32 = 500;

/// Others that are tried for a line which is made for both.
const TRIES: usize = 4;

/// Of each claimant, by its number, the first other one that is not apart from it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// A process can be both's; such as this one.
    pub(super) both: BTreeMap<usize, (usize, String)>,
    /// Only a process that is made for both.
    pub(super) contrived: BTreeMap<usize, (usize, String)>,
    /// Nobody knows, and why.
    pub(super) unknown: BTreeMap<usize, (usize, &'static str)>,
    /// There were too many to compare them all.
    pub(super) rest: bool,
}

/// Compares all that have a chance.
pub(super) fn find(claimants: &[Claimant<'_>]) -> Found {
    let mut search = Search::new(claimants);
    search.by_value(Key::Listens, |one| one.selector.listens.map(|port| port.to_string()));
    search.by_value(Key::Container, |one| one.selector.container.as_ref()?.get(..12).map(str::to_owned));
    search.by_value(Key::Unit, |one| one.selector.unit.clone().or_else(|| one.group_unit.map(str::to_owned)));
    search.by_command();
    search.by_exe();
    search.by_cgroup();
    search.found
}

/// Claimants by what their values begin with.
type ByText = BTreeMap<Vec<u8>, Vec<usize>>;

struct Search<'a> {
    all: &'a [Claimant<'a>],
    keys: Vec<u8>,
    /// Whether it is a name, and a number for each.
    users: Vec<Option<(bool, usize)>>,
    pairs: u32,
    walks: u32,
    found: Found,
}

impl<'a> Search<'a> {
    fn new(all: &'a [Claimant<'a>]) -> Self {
        let keys = all.iter().map(Claimant::keys).collect();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let user = |one: &Claimant<'a>| {
            // Root has a number everywhere.
            let user = one.selector.user.as_deref().map(|user| if user == "root" { "0" } else { user })?;
            let next = known.len();
            Some((user.parse::<u32>().is_err(), *known.entry(user).or_insert(next)))
        };
        let users = all.iter().map(user).collect();
        Self { all, keys, users, pairs: PAIRS, walks: WALKS, found: Found::default() }
    }

    /// Compares two, if this is the key that they are found by. Whether nothing more is to be found out of the later one.
    fn compare(&mut self, one: usize, other: usize, by: Key, plain: bool) -> bool {
        let (first, second) = (one.min(other), one.max(other));
        if first == second || self.found.both.contains_key(&second) {
            return true;
        }
        let shared = |number: usize| self.keys.get(number).copied().unwrap_or_default();
        let shared = shared(first) & shared(second);
        let Some((left, right)) = self.all.get(first).zip(self.all.get(second)) else { return true };
        if shared & ((1 << by as u8) - 1) != 0 || self.is_apart_by_user(first, second) {
            return false;
        }
        if self.pairs == 0 {
            self.found.rest = true;
            return true;
        }
        self.pairs -= 1;
        let plain = plain || self.found.contrived.contains_key(&second);
        match left.compare(right, plain, &mut self.walks) {
            Verdict::Apart => false,
            Verdict::Both(what) => self.found.both.insert(second, (first, what)).is_none(),
            Verdict::Contrived(what) => {
                self.found.contrived.entry(second).or_insert((first, what));
                false
            }
            Verdict::Unknown(why) => {
                self.found.unknown.entry(second).or_insert((first, why));
                false
            }
        }
    }

    /// The cheapest comparison: thousands may run one program, each as a user of its own.
    fn is_apart_by_user(&self, one: usize, other: usize) -> bool {
        let user = |number: usize| self.users.get(number).copied().flatten();
        user(one).zip(user(other)).is_some_and(|(one, other)| one.0 == other.0 && one.1 != other.1)
    }

    /// Those that have the same value.
    fn by_value(&mut self, key: Key, value: impl Fn(&Claimant<'_>) -> Option<String>) {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, one) in self.all.iter().enumerate() {
            if let Some(value) = value(one) {
                groups.entry(value).or_default().push(number);
            }
        }
        groups.values().for_each(|group| self.within(group, key));
    }

    /// Each with all before it.
    fn within(&mut self, group: &[usize], key: Key) {
        for (at, &later) in group.iter().enumerate() {
            let earlier = group.get(..at).unwrap_or_default();
            if earlier.iter().any(|&one| self.compare(one, later, key, false)) && self.pairs == 0 {
                return;
            }
        }
    }

    /// Those whose texts begin alike: one's text is the beginning of the other's.
    fn by_prefix(&mut self, texts: &ByText, key: Key) {
        for (text, group) in texts {
            self.within(group, key);
            let longer = texts.range::<[u8], _>((Bound::Excluded(text.as_slice()), Bound::Unbounded));
            for (_, others) in longer.take_while(|(longer, _)| longer.starts_with(text)) {
                for &one in group {
                    for &other in others {
                        self.compare(one, other, key, false);
                    }
                }
            }
        }
    }

    fn by_command(&mut self) {
        let mut fronts: ByText = BTreeMap::new();
        let mut both: ByText = BTreeMap::new();
        let mut ends: ByText = BTreeMap::new();
        for (number, one) in self.all.iter().enumerate() {
            let Some(command) = &one.command else { continue };
            if let Some(front) = &command.front {
                // Those that are bound to both ends find each other by the second one, which says more.
                let fronts = if command.end.is_some() { &mut both } else { &mut fronts };
                fronts.entry(front.clone()).or_default().push(number);
            }
            if let Some(end) = &command.end {
                ends.entry(end.iter().rev().copied().collect()).or_default().push(number);
            }
        }
        self.by_prefix(&ends, Key::Command);
        self.by_prefix(&fronts, Key::Command);
        self.across(&fronts, &both, Key::Command);
        self.by_word();
        self.side_by_side();
    }

    /// Expressions that share no end of the line: one's word must stand in what the other looks for.
    fn by_word(&mut self) {
        let mut shared: BTreeMap<&[u8], usize> = BTreeMap::new();
        for word in self.all.iter().filter_map(|one| one.command.as_ref()).flat_map(|command| &command.words)
        {
            *shared.entry(word).or_default() += 1;
        }
        let mut words: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        let mut wordless = vec![];
        for (number, one) in self.all.iter().enumerate() {
            let Some(command) = &one.command else { continue };
            // The one that fewest others have says most.
            match command.words.iter().min_by_key(|word| shared.get(word.as_slice())) {
                None => wordless.push(number),
                Some(word) => words.entry(word).or_default().push(number),
            }
        }
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let Ok(automaton) = AhoCorasick::builder().kind(kind).build(words.keys()) else { return };
        let groups: Vec<&Vec<usize>> = words.values().collect();
        for (number, one) in self.all.iter().enumerate() {
            let Some(command) = &one.command else { continue };
            let mut others = wordless.clone();
            match &command.texts {
                Some(texts) => {
                    let found = texts.iter().flat_map(|text| automaton.find_overlapping_iter(text));
                    others.extend(
                        found
                            .filter_map(|found| groups.get(found.pattern().as_usize()))
                            .flat_map(|group| group.iter()),
                    );
                }
                // Words can stand anywhere in what has no end of texts.
                None => others.extend(groups.iter().flat_map(|group| group.iter())),
            }
            for other in others {
                self.compare_loose(number, other, true);
            }
        }
    }

    /// Expressions that share no end of the line, and of which a line can be made.
    fn side_by_side(&mut self) {
        self.walks = self.walks.min(CONTRIVED_WALKS);
        let commands: Vec<usize> = self
            .all
            .iter()
            .enumerate()
            .filter(|(_, one)| one.command.is_some())
            .map(|(number, _)| number)
            .collect();
        for (at, &later) in commands.iter().enumerate() {
            for &earlier in commands.get(at.saturating_sub(TRIES)..at).unwrap_or_default() {
                if self.walks > 0 && !self.found.contrived.contains_key(&later) {
                    self.compare_loose(earlier, later, false);
                }
            }
        }
    }

    fn compare_loose(&mut self, one: usize, other: usize, plain: bool) {
        let command = |number: usize| self.all.get(number)?.command.as_ref();
        if command(one).zip(command(other)).is_some_and(|(one, other)| !one.shares_end(other)) {
            self.compare(one, other, Key::Command, plain);
        }
    }

    fn by_exe(&mut self) {
        let mut literals: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        let mut bases: BTreeMap<Option<&[u8]>, ByText> = BTreeMap::new();
        let mut globs = vec![];
        for (number, one) in self.all.iter().enumerate() {
            let path = one.selector.exe.as_ref().or(one.program.as_ref()).map(String::as_bytes);
            let Some(path) = path else { continue };
            if !path.contains(&b'*') {
                literals.entry(path).or_default().push(number);
                continue;
            }
            let front = path.split(|&byte| byte == b'*').next().unwrap_or_default();
            let base = path.rsplit(|&byte| byte == b'/').next().filter(|base| !base.contains(&b'*'));
            bases.entry(base).or_default().entry(front.to_vec()).or_default().push(number);
            globs.push((number, path, front));
        }
        literals.values().for_each(|group| self.within(group, Key::Exe));
        for &(number, pattern, front) in &globs {
            let below = literals.range::<[u8], _>((Bound::Included(front), Bound::Unbounded));
            for (path, group) in below.take_while(|(path, _)| path.starts_with(front)) {
                if glob::matches(pattern, path) {
                    for &other in group {
                        self.compare(number, other, Key::Exe, false);
                    }
                }
            }
        }
        // Two patterns whose last names are texts have the same one; any other can meet all.
        let open = bases.remove(&None).unwrap_or_default();
        bases.values().for_each(|group| self.by_prefix(group, Key::Exe));
        for group in bases.into_values() {
            self.across(&open, &group, Key::Exe);
        }
        self.by_prefix(&open, Key::Exe);
    }

    /// Those of two groups whose texts begin alike.
    fn across(&mut self, ones: &ByText, others: &ByText, key: Key) {
        for (front, group) in ones {
            for (other_front, other_group) in others {
                if front.starts_with(other_front) || other_front.starts_with(front) {
                    for &one in group {
                        for &other in other_group {
                            self.compare(one, other, key, false);
                        }
                    }
                }
            }
        }
    }

    fn by_cgroup(&mut self) {
        let mut groups: ByText = BTreeMap::new();
        for (number, one) in self.all.iter().enumerate() {
            if let Some(path) = &one.selector.cgroup {
                // With a slash at its end it begins only what is below.
                groups
                    .entry(format!("{}/", path.trim_end_matches('/')).into_bytes())
                    .or_default()
                    .push(number);
            }
        }
        self.by_prefix(&groups, Key::Cgroup);
    }
}

#[cfg(test)]
mod tests;
