//! Patterns of paths: `*` stands for anything but a slash, `**` for anything.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// Whether a path fits a pattern. Both are bytes; every byte but `*` stands for itself. Takes time in proportion to the product of
/// both lengths at worst.
pub(crate) fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut pattern_at, mut path_at) = (0, 0);
    // Where to go on if what follows a star does not fit: behind the star, one byte more taken by it. A `**` can take whatever
    // an earlier `*` could, so only the last `**` and the last `*` after that are gone back to.
    let mut star: Option<(usize, usize)> = None;
    let mut stars: Option<(usize, usize)> = None;
    loop {
        let next = pattern.get(pattern_at).copied();
        if next == Some(b'*') {
            let double = pattern.get(pattern_at + 1) == Some(&b'*');
            pattern_at += 1 + usize::from(double);
            if double {
                (stars, star) = (Some((pattern_at, path_at)), None);
            } else {
                star = Some((pattern_at, path_at));
            }
            continue;
        }
        let byte = path.get(path_at).copied();
        if next.is_none() && byte.is_none() {
            return true;
        }
        if next.is_some() && next == byte {
            pattern_at += 1;
            path_at += 1;
            continue;
        }
        // It does not fit: the last star takes one byte more, if it may; else the last double star does.
        let taken = |at: &usize| path.get(*at).copied();
        if let Some((behind, at)) = star.filter(|(_, at)| taken(at).is_some_and(|byte| byte != b'/')) {
            (pattern_at, path_at, star) = (behind, at + 1, Some((behind, at + 1)));
        } else if let Some((behind, at)) = stars.filter(|(_, at)| taken(at).is_some()) {
            (pattern_at, path_at) = (behind, at + 1);
            (stars, star) = (Some((behind, at + 1)), None);
        } else {
            return false;
        }
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// Anything but slashes.
    Star,
    /// Anything.
    Stars,
}

impl Part {
    /// Whether it can take a byte.
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => own == byte,
            Self::Star => byte != b'/',
            Self::Stars => true,
        }
    }
}

/// The parts of a pattern, as [`matches`] reads them.
fn parts(pattern: &[u8]) -> Vec<Part> {
    let mut rest = pattern;
    let mut parts = vec![];
    loop {
        rest = match rest {
            [] => return parts,
            [b'*', b'*', rest @ ..] => {
                parts.push(Part::Stars);
                rest
            }
            [b'*', rest @ ..] => {
                parts.push(Part::Star);
                rest
            }
            [byte, rest @ ..] => {
                parts.push(Part::Byte(*byte));
                rest
            }
        };
    }
}

/// Places in two patterns that are looked at: with some hundred bytes each, all of them.
const PLACES: usize = 100_000;

/// Two patterns are too long to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The shortest path that fits both patterns, if there is one. Takes time in proportion to the product of both lengths.
pub(crate) fn meet(one: &[u8], other: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
    let (one, other) = (parts(one), parts(other));
    // Each place in both patterns with the one before and the byte between. A star is left behind, or takes a byte and stays.
    let mut seen: FxHashMap<Places, Option<(Places, Option<u8>)>> = FxHashMap::from_iter([((0, 0), None)]);
    let mut open = VecDeque::from([(0, 0)]);
    while let Some(at) = open.pop_front() {
        let (left, right) = (one.get(at.0).copied(), other.get(at.1).copied());
        if (left, right) == (None, None) {
            return Ok(Some(path(&seen, at)));
        }
        let mut go = |to, byte: Option<u8>| {
            if seen.contains_key(&to) {
                return;
            }
            seen.insert(to, Some((at, byte)));
            match byte {
                Some(_) => open.push_back(to),
                None => open.push_front(to),
            }
        };
        let is_star = |part: Option<Part>| matches!(part, Some(Part::Star | Part::Stars));
        if is_star(left) {
            go((at.0 + 1, at.1), None);
        }
        if is_star(right) {
            go((at.0, at.1 + 1), None);
        }
        // What two stars could take, neither has to.
        if let (Some(left), Some(right)) = (left, right)
            && let (Part::Byte(byte), _) | (_, Part::Byte(byte)) = (left, right)
            && left.takes(byte)
            && right.takes(byte)
        {
            let on = |part: Part| usize::from(!is_star(Some(part)));
            go((at.0 + on(left), at.1 + on(right)), Some(byte));
        }
        if seen.len() > PLACES {
            return Err(TooLong);
        }
    }
    Ok(None)
}

/// A place in each of two patterns.
type Places = (usize, usize);

/// The bytes on the way to a place.
fn path(seen: &FxHashMap<Places, Option<(Places, Option<u8>)>>, end: Places) -> Vec<u8> {
    let mut path = vec![];
    let mut last = end;
    while let Some(Some((before, byte))) = seen.get(&last) {
        path.extend(byte);
        last = *before;
    }
    path.reverse();
    path
}
