//! Whether two regular expressions can match one command line.
//!
//! Two expressions that look anywhere in a line can always both find something: `worker-a` and `worker-b` in `worker-a worker-b`. So
//! two answers are told apart. What one looks for *plainly* has the other in it (`worker` and `worker-a`, `app-[0-9]+` and
//! `app-7`): the gaps of an expression, such as `.*`, are left empty, and nothing stands around it. Or only a line that is made
//! for both has both. Each is a walk through the product of two automata, which finds the shortest such line.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};
use rustc_hash::{FxHashMap, FxHashSet};

use super::key::collect;
use crate::limits::PATTERN_BYTES;

/// States of a product that are looked at. Expressions that people write have some hundred.
const STATES: usize = 20_000;

/// Bytes that the states of one automaton may take. With 64 bytes for each of some hundred states it is far from that.
const CACHE_BYTES: usize = 1 << 20;

/// Parts inside each other; what is deeper is refused when it is read.
const DEPTH: u32 = 50;

/// An expression, taken apart.
#[derive(Debug)]
pub(crate) struct Expression {
    hir: Hir,
    /// Without its gaps, and with nothing around it.
    tight: Hir,
    /// If a match begins where the line does: what all of them begin with.
    pub(crate) front: Option<Vec<u8>>,
    /// If a match ends where the line does: what all of them end with.
    pub(crate) end: Option<Vec<u8>>,
    /// Words that must occur.
    pub(crate) words: Vec<Vec<u8>>,
    /// All that it plainly looks for, if these are a few texts.
    pub(crate) texts: Option<Vec<Vec<u8>>>,
    wide: OnceCell<Option<DFA>>,
    narrow: OnceCell<Option<DFA>>,
}

/// What two expressions have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Common {
    /// No line matches both.
    Nothing,
    /// What one looks for has what the other looks for in it, such as here.
    Plain(Vec<u8>),
    /// A line can have both, such as this.
    Possible(Vec<u8>),
    /// The automata are too large to say.
    Unknown,
}

/// An automaton is larger than it may be.
#[derive(Clone, Copy, Debug)]
struct TooLarge;

impl Expression {
    /// `None`: it does not parse.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        let hir =
            regex_syntax::ParserBuilder::new().utf8(false).nest_limit(DEPTH).build().parse(pattern).ok()?;
        let tight = Hir::concat(vec![Hir::look(Look::Start), tight(&hir), Hir::look(Look::End)]);
        let extract = |kind: ExtractKind| Extractor::new().kind(kind).extract(&hir);
        let properties = hir.properties();
        let front = properties.look_set_prefix().contains(Look::Start).then(|| {
            extract(ExtractKind::Prefix).longest_common_prefix().map(<[u8]>::to_vec).unwrap_or_default()
        });
        let end = properties.look_set_suffix().contains(Look::End).then(|| {
            extract(ExtractKind::Suffix).longest_common_suffix().map(<[u8]>::to_vec).unwrap_or_default()
        });
        let mut words = vec![];
        collect(&hir, &mut words);
        let texts = texts(&tight);
        Some(Self { hir, tight, front, end, words, texts, wide: OnceCell::new(), narrow: OnceCell::new() })
    }

    /// Whether both are bound to the same end of the line.
    pub(crate) const fn shares_end(&self, other: &Self) -> bool {
        self.front.is_some() && other.front.is_some() || self.end.is_some() && other.end.is_some()
    }

    /// What both can match. `plain`: nothing else is of interest. `walks`: how many products may be walked through.
    pub(crate) fn common(&self, other: &Self, plain: bool, walks: &mut u32) -> Common {
        if self.is_apart(other) {
            return Common::Nothing;
        }
        self.try_common(other, plain, walks).unwrap_or(Common::Unknown)
    }

    /// Whether a word that must occur is in none of the texts that another one plainly looks for.
    fn is_beside(&self, other: &Self) -> bool {
        other.texts.as_ref().is_some_and(|texts| {
            let in_text = |word: &Vec<u8>, text: &Vec<u8>| text.windows(word.len()).any(|part| part == word);
            self.words.iter().any(|word| !texts.iter().any(|text| in_text(word, text)))
        })
    }

    /// Whether their beginnings or ends exclude each other.
    fn is_apart(&self, other: &Self) -> bool {
        let fronts = self.front.as_ref().zip(other.front.as_ref());
        let ends = self.end.as_ref().zip(other.end.as_ref());
        fronts.is_some_and(|(one, other)| !one.starts_with(other) && !other.starts_with(one))
            || ends.is_some_and(|(one, other)| !one.ends_with(other) && !other.ends_with(one))
    }

    fn try_common(&self, other: &Self, plain: bool, walks: &mut u32) -> Result<Common, TooLarge> {
        let mut walk = || {
            *walks = walks.checked_sub(1).ok_or(TooLarge)?;
            Ok(())
        };
        for (inner, outer) in [(self, other), (other, self)] {
            if outer.is_beside(inner) {
                continue;
            }
            walk()?;
            if let Some(line) = meet(inner.narrow()?, outer.wide()?)? {
                return Ok(Common::Plain(line));
            }
        }
        if plain {
            return Ok(Common::Nothing);
        }
        walk()?;
        Ok(meet(self.wide()?, other.wide()?)?.map_or(Common::Nothing, Common::Possible))
    }

    fn wide(&self) -> Result<&DFA, TooLarge> {
        self.wide.get_or_init(|| automaton(&self.hir)).as_ref().ok_or(TooLarge)
    }

    fn narrow(&self) -> Result<&DFA, TooLarge> {
        self.narrow.get_or_init(|| automaton(&self.tight)).as_ref().ok_or(TooLarge)
    }
}

/// All that an expression matches, if these are a few texts.
fn texts(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let found = Extractor::new().kind(ExtractKind::Prefix).limit_literal_len(1_000).extract(hir);
    let exact = found.is_exact().then(|| found.literals())??;
    Some(exact.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

/// An expression whose gaps are as short as they can be.
fn tight(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Repetition(repeated) => {
            let max = if is_gap(repeated) { Some(repeated.min) } else { repeated.max };
            let sub = Box::new(tight(&repeated.sub));
            Hir::repetition(Repetition { min: repeated.min, max, greedy: repeated.greedy, sub })
        }
        HirKind::Capture(group) => tight(&group.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(tight).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(tight).collect()),
        _ => hir.clone(),
    }
}

/// Whether it leaves room for arguments of all kinds.
fn is_gap(repeated: &Repetition) -> bool {
    let has = |class: &Class, wanted: u8| match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(wanted)))
        }
        Class::Bytes(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&wanted))
        }
    };
    let HirKind::Class(class) = repeated.sub.kind() else { return false };
    repeated.max.is_none() && has(class, b' ') && has(class, b'a')
}

/// Says for each line whether the expression matches it. `None`: it would be too large.
fn automaton(hir: &Hir) -> Option<DFA> {
    let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(PATTERN_BYTES));
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
    let config = DFA::config()
        .match_kind(MatchKind::All)
        .unicode_word_boundary(true)
        .cache_capacity(CACHE_BYTES)
        .skip_cache_capacity_check(true)
        // Full once, it is too large: the names of states must not change.
        .minimum_cache_clear_count(Some(0));
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// One automaton during a walk.
struct Side<'a> {
    dfa: &'a DFA,
    cache: Cache,
}

/// Where an automaton is: `None` once it has matched.
type At = Option<LazyStateID>;

/// Where two are.
type Both = (At, At);

impl<'a> Side<'a> {
    fn new(dfa: &'a DFA) -> Self {
        Self { dfa, cache: dfa.create_cache() }
    }

    fn start(&mut self) -> Result<At, TooLarge> {
        let start = self.dfa.start_state_forward(&mut self.cache, &Input::new(b""));
        start.map(Some).map_err(|_| TooLarge)
    }

    /// Whether the line can end here.
    fn matches(&mut self, at: At) -> Result<bool, TooLarge> {
        let Some(at) = at else { return Ok(true) };
        Ok(self.dfa.next_eoi_state(&mut self.cache, at).map_err(|_| TooLarge)?.is_match())
    }

    /// `None`: nothing that begins like this matches.
    fn step(&mut self, at: At, byte: u8) -> Result<Option<At>, TooLarge> {
        let Some(at) = at else { return Ok(Some(None)) };
        let next = self.dfa.next_state(&mut self.cache, at, byte).map_err(|_| TooLarge)?;
        // Word boundaries of other alphabets are not followed: it quits there.
        Ok(match next {
            next if next.is_match() => Some(None),
            next if next.is_dead() || next.is_quit() => None,
            next => Some(Some(next)),
        })
    }
}

/// The shortest line that two automata accept.
fn meet(one: &DFA, other: &DFA) -> Result<Option<Vec<u8>>, TooLarge> {
    let bytes = alphabet(one, other);
    let (mut one, mut other) = (Side::new(one), Side::new(other));
    let start = (one.start()?, other.start()?);
    // Each state with the one before and the byte between.
    let mut seen: FxHashMap<Both, Option<(Both, u8)>> = FxHashMap::from_iter([(start, None)]);
    let mut open = VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        if one.matches(at.0)? && other.matches(at.1)? {
            let mut line = vec![];
            let mut last = at;
            while let Some(Some((before, byte))) = seen.get(&last) {
                line.push(*byte);
                last = *before;
            }
            line.reverse();
            return Ok(Some(line));
        }
        for &byte in &bytes {
            let Some(left) = one.step(at.0, byte)? else { continue };
            let Some(right) = other.step(at.1, byte)? else { continue };
            let to = (left, right);
            if let Entry::Vacant(room) = seen.entry(to) {
                room.insert(Some((at, byte)));
                open.push_back(to);
            }
        }
        if seen.len() > STATES {
            return Err(TooLarge);
        }
    }
    Ok(None)
}

/// A byte for each class of bytes that both automata treat alike: one that can be read, where there is one. No zero: arguments have
/// none.
fn alphabet(one: &DFA, other: &DFA) -> Vec<u8> {
    let readable = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z').chain(*b" -/._=");
    let mut seen = FxHashSet::default();
    let class = |byte: u8| (one.byte_classes().get(byte), other.byte_classes().get(byte));
    readable.chain(b'!'..=b'~').chain(1..=u8::MAX).filter(|&byte| seen.insert(class(byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(one: &str, other: &str) -> Common {
        Expression::new(one).unwrap().common(&Expression::new(other).unwrap(), false, &mut 9)
    }

    #[test]
    fn what_has_the_other_in_it_is_plain() {
        for (one, other, line) in [
            ("worker", "worker-a", "worker-a"),
            ("python3? .*worker", "worker", "python worker"),
            ("(a|b)worker", "(b|c)worker", "bworker"),
            ("app-[0-9]+$", "^/bin/app-7", "/bin/app-7"),
            ("--name=\\S+", "--name=web$", "--name=web"),
            ("^/bin/a .*x$", "^/bin/a x", "/bin/a x"),
            ("\\bworker\\b", "my worker$", "my worker"),
            ("(?i)WORKER", "worker", "worker"),
            ("caf\u{e9}", "caf.", "caf\u{e9}"),
        ] {
            assert_eq!(common(one, other), Common::Plain(line.as_bytes().to_vec()), "{one} and {other}");
            assert!(matches!(common(other, one), Common::Plain(_)), "{other} and {one}");
        }
    }

    #[test]
    fn what_only_a_line_for_both_has_is_possible() {
        for (one, other, line) in [
            ("worker-a", "worker-b", "worker-aworker-b"),
            ("^/bin/python3 .*worker-a", "^/bin/python3 .*worker-b", "/bin/python3 worker-aworker-b"),
            ("^/bin/java .*$", "kafka", "/bin/java kafka"),
        ] {
            let found = common(one, other);
            let Common::Possible(found) = found else { panic!("{one} and {other}: {found:?}") };
            assert_eq!(found.len(), line.len(), "{one} and {other}: {}", String::from_utf8_lossy(&found));
        }
    }

    #[test]
    fn what_excludes_each_other_has_nothing_in_common() {
        for (one, other) in [
            ("worker-1$", "worker-2$"),
            ("worker-9$", "worker-19$"),
            ("^/bin/a ", "^/bin/b "),
            ("^/bin/app [0-9]+$", "^/bin/app [a-z]+$"),
            ("^a$", "b"),
            ("^[ab]*$", "c"),
        ] {
            assert_eq!(common(one, other), Common::Nothing, "{one} and {other}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_known() {
        assert_eq!(common("^[ab]*a[ab]{18}$", "^[ab]*b[ab]{17}c?d{3}b[ab]{18}$"), Common::Unknown);
    }

    #[test]
    fn a_line_that_is_found_matches_both() {
        let patterns = [
            "a.*b",
            "^a",
            "b$",
            "(ab|ba)+c?",
            "[^a]b",
            "^.{3}$",
            "\\ba",
            "c(?:a|b)*c",
            "^a.*c$",
            "a{2,3}",
            "",
        ];
        for one in patterns {
            for other in patterns {
                let line = match common(one, other) {
                    Common::Plain(line) | Common::Possible(line) => line,
                    Common::Nothing => continue,
                    Common::Unknown => panic!("{one} and {other}"),
                };
                for pattern in [one, other] {
                    let regex = regex::bytes::Regex::new(pattern).unwrap();
                    assert!(regex.is_match(&line), "{pattern}: {}", String::from_utf8_lossy(&line));
                }
            }
        }
    }
}
