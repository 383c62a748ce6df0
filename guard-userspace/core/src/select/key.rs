//! What selectors are found by: one thing that each asks for, which a process has or has not.

use regex_syntax::hir::{Hir, HirKind};

use crate::select::matcher::Matcher;

/// Hexadecimal digits that name a container at least.
pub(super) const CONTAINER_DIGITS: usize = 12;

/// Bytes that a word of a command line must have to tell processes apart.
const WORD_BYTES: usize = 3;

/// Something that a selector asks for, such that only processes that have it can match. In the order of what is rather found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Port(u16),
    /// The first digits of its id.
    Container(Vec<u8>),
    Unit(String),
    /// The whole path.
    Executable(Vec<u8>),
    /// What follows the path's last slash.
    Base(Vec<u8>),
    Cgroup(String),
    /// What of the path precedes the first star, up to its last slash.
    Directory(Vec<u8>),
    /// Bytes that occur in the command line.
    Word(Vec<u8>),
    User(u32),
}

impl Key {
    /// All keys that a selector can be found by; none if it only has a regular expression without words.
    pub(super) fn of(matcher: &Matcher) -> Vec<Self> {
        let selector = &matcher.selector;
        let mut keys = vec![];
        keys.extend(selector.listens.map(Self::Port));
        let digits = selector.container.as_ref().and_then(|id| id.as_bytes().get(..CONTAINER_DIGITS));
        keys.extend(digits.map(|digits| Self::Container(digits.to_vec())));
        keys.extend(selector.unit.clone().map(Self::Unit));
        keys.extend(selector.exe.as_ref().map(|pattern| Self::of_path(pattern.as_bytes())));
        keys.extend(selector.cgroup.as_ref().map(|path| Self::Cgroup(path.trim_end_matches('/').to_owned())));
        keys.extend(selector.command.iter().flat_map(|pattern| words(pattern)).map(Self::Word));
        keys.extend(matcher.uid.map(Self::User));
        keys
    }

    fn of_path(pattern: &[u8]) -> Self {
        if !pattern.contains(&b'*') {
            return Self::Executable(pattern.to_vec());
        }
        let base = base(pattern);
        if !base.contains(&b'*') {
            return Self::Base(base.to_vec());
        }
        let literal = pattern.split(|&byte| byte == b'*').next().unwrap_or_default();
        let end = literal.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        Self::Directory(literal.get(..end).unwrap_or_default().to_vec())
    }
}

/// What follows the last slash of a path.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Byte strings that occur in whatever matches a regular expression.
fn words(pattern: &str) -> Vec<Vec<u8>> {
    let mut words = vec![];
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
    if let Ok(parsed) = parsed {
        collect(&parsed, &mut words);
    }
    words
}

pub(super) fn collect(part: &Hir, words: &mut Vec<Vec<u8>>) {
    match part.kind() {
        HirKind::Literal(literal) if literal.0.len() >= WORD_BYTES => words.push(literal.0.to_vec()),
        HirKind::Capture(group) => collect(&group.sub, words),
        HirKind::Repetition(repeated) if repeated.min > 0 => collect(&repeated.sub, words),
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, words)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_must_occur() {
        let of = |pattern| {
            let words = words(pattern);
            words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("^python3? /srv/(app)/worker\\.py"), ["python", " /srv/", "app", "/worker.py"]);
        assert_eq!(of("(one|two) +three?"), ["thre"]);
        assert_eq!(of("(?i)worker"), Vec::<String>::new(), "nothing that must occur as it stands");
        assert_eq!(of("(abc)* (def)+"), ["def"]);
        assert_eq!(of("ab.c"), Vec::<String>::new());
        assert_eq!(of("("), Vec::<String>::new());
    }

    #[test]
    fn paths() {
        for (pattern, key) in [
            ("/usr/sbin/nginx", Key::Executable(b"/usr/sbin/nginx".to_vec())),
            ("/opt/*/bin/worker", Key::Base(b"worker".to_vec())),
            ("/opt/app-*", Key::Directory(b"/opt/".to_vec())),
            ("/srv/**", Key::Directory(b"/srv/".to_vec())),
            ("/**", Key::Directory(b"/".to_vec())),
        ] {
            assert_eq!(Key::of_path(pattern.as_bytes()), key);
        }
    }
}
