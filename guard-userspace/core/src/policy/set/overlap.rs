//! Whether two selectors can take one process, and which.

use regex::bytes::Regex;

use super::load::Entry;
use crate::policy::model::{Origin, Selector};
use crate::policy::yaml::shown;
use crate::select::expression::{Common, Expression};
use crate::select::glob;

/// A selector, prepared for being compared.
#[derive(Debug)]
pub(super) struct Claimant<'a> {
    pub(super) entry: &'a Entry,
    pub(super) selector: &'a Selector,
    pub(super) command: Option<Expression>,
    /// The unit that its control group belongs to.
    pub(super) group_unit: Option<&'a str>,
    /// The program that its command line begins with.
    pub(super) program: Option<String>,
}

/// What became of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No process is both.
    Apart,
    /// A process can be both, such as this one.
    Both(String),
    /// A process whose command line is made for both can be both, such as this one.
    Contrived(String),
    /// That cannot be found out, and why.
    Unknown(&'static str),
}

/// How two values of one key go together.
enum Pair {
    Apart,
    /// What both take.
    Meet(String),
    Contrived(String),
    Unknown(&'static str),
}

impl<'a> Claimant<'a> {
    /// `None`: we start its processes.
    pub(super) fn new(entry: &'a Entry) -> Option<Self> {
        let Origin::Adopt(adopt) = &entry.service.origin else { return None };
        let selector = &adopt.matching;
        let command = selector.command.as_deref().and_then(Expression::new);
        let group = selector.cgroup.as_deref().unwrap_or_default();
        let last = group.trim_end_matches('/').rsplit('/').next().filter(|last| is_unit(last));
        let front = command.as_ref().and_then(|command| command.front.as_deref()).unwrap_or_default();
        let program = std::str::from_utf8(front).ok().and_then(|front| front.split_once(' '));
        let program = program.map(|(program, _)| program.to_owned()).filter(|path| path.starts_with('/'));
        Some(Self { entry, selector, command, group_unit: last, program })
    }

    /// Which keys it has, the most telling one in the lowest bit: see [`Key`].
    pub(super) fn keys(&self) -> u8 {
        let Selector { exe, command, cgroup, unit, container, listens, user: _ } = self.selector;
        let given = [
            (Key::Listens, listens.is_some()),
            (Key::Container, container.is_some()),
            (Key::Unit, unit.is_some()),
            (Key::Command, command.is_some()),
            (Key::Exe, exe.is_some()),
            (Key::Cgroup, cgroup.is_some()),
        ];
        given.iter().filter(|(_, given)| *given).fold(0, |keys, (key, _)| keys | 1 << *key as u8)
    }

    /// Whether a process can be both's. Selectors that ask for nothing of the same kind are taken for different: that a unit
    /// runs a certain program is known to nobody before it does. One user alone says nothing either. `plain` and `walks`: see
    /// [`Expression::common`].
    pub(super) fn compare(&self, other: &Self, plain: bool, walks: &mut u32) -> Verdict {
        let (one, two) = (self.selector, other.selector);
        let mut unknown = None;
        let mut contrived = false;
        let mut shared = vec![];
        let user = one.user.as_ref().zip(two.user.as_ref()).map(|(one, two)| ("user", users(one, two)));
        let has_user = user.is_some();
        let pairs = user.into_iter().chain(
            [
                one.listens
                    .zip(two.listens)
                    .map(|(one, two)| ("port", same(&one.to_string(), &two.to_string()))),
                self.units(other).map(|pair| ("unit", pair)),
                one.container
                    .as_ref()
                    .zip(two.container.as_ref())
                    .map(|(one, two)| ("container", begins(one, two))),
                one.cgroup
                    .as_ref()
                    .zip(two.cgroup.as_ref())
                    .map(|(one, two)| ("control group", groups(one, two))),
                self.programs(other).map(|pair| ("exe", pair)),
                self.commands(other, plain, walks).map(|pair| ("command line", pair)),
            ]
            .into_iter()
            .flatten(),
        );
        for (what, pair) in pairs {
            match pair {
                Pair::Apart => return Verdict::Apart,
                Pair::Meet(value) => shared.push((what, value)),
                Pair::Contrived(value) => {
                    contrived = true;
                    shared.push((what, value));
                }
                Pair::Unknown(why) => unknown = Some(why),
            }
        }
        if shared.len() + usize::from(unknown.is_some()) <= usize::from(has_user) {
            return Verdict::Apart;
        }
        let list: Vec<String> = shared.iter().map(|(what, value)| format!("{what} `{value}`")).collect();
        match unknown {
            Some(why) => Verdict::Unknown(why),
            None if contrived => Verdict::Contrived(list.join(", ")),
            None => Verdict::Both(list.join(", ")),
        }
    }

    fn units(&self, other: &Self) -> Option<Pair> {
        if let (Some(one), Some(two)) = (&self.selector.unit, &other.selector.unit) {
            return Some(same(one, two));
        }
        // A control group names its unit, for those who name no group themselves.
        let of = |unit: &Self, group: &Self| {
            let named = unit.selector.unit.as_deref().filter(|_| unit.selector.cgroup.is_none());
            named.zip(group.group_unit).map(|(one, two)| same(one, two))
        };
        of(self, other).or_else(|| of(other, self))
    }

    fn programs(&self, other: &Self) -> Option<Pair> {
        let (one, two) = (&self.selector.exe, &other.selector.exe);
        if let (Some(one), Some(two)) = (one, two) {
            return Some(match example(one, two) {
                Ok(Some(path)) => Pair::Meet(shown(&String::from_utf8_lossy(&path))),
                Ok(None) => Pair::Apart,
                Err(glob::TooLong) => {
                    Pair::Unknown("the patterns of their `exe` are too long to be compared")
                }
            });
        }
        // A program is usually called by its path; that another path stands there excludes nothing.
        let of = |exe: &Self, command: &Self| {
            let alone = exe.selector.exe.as_ref().filter(|_| exe.command.is_none());
            let (pattern, path) = alone.zip(command.program.as_ref())?;
            glob::matches(pattern.as_bytes(), path.as_bytes()).then(|| Pair::Meet(shown(path)))
        };
        of(self, other).or_else(|| of(other, self))
    }

    fn commands(&self, other: &Self, plain: bool, walks: &mut u32) -> Option<Pair> {
        let (one, two) = (self.selector.command.as_ref()?, other.selector.command.as_ref()?);
        let too_large = Pair::Unknown("their expressions are too large to be compared");
        let (Some(first), Some(second)) = (&self.command, &other.command) else { return Some(too_large) };
        let text = |line: &[u8]| shown(&String::from_utf8_lossy(line));
        // Two that look at no end of the line are both content with what is put side by side.
        let joined = || {
            let line = [readable(one)?, readable(two)?].join(" ");
            let fits = |pattern: &str| Regex::new(pattern).is_ok_and(|regex| regex.is_match(line.as_bytes()));
            (fits(one) && fits(two)).then(|| shown(&line))
        };
        Some(match first.common(second, plain, walks) {
            Common::Nothing => Pair::Apart,
            Common::Plain(line) => Pair::Meet(text(&line)),
            Common::Possible(line) => Pair::Contrived(joined().unwrap_or_else(|| text(&line))),
            Common::Unknown if *walks == 0 => {
                Pair::Unknown("there are too many similar expressions to compare each with each")
            }
            Common::Unknown => too_large,
        })
    }
}

/// The expression itself, if it is a text that it matches.
fn readable(pattern: &str) -> Option<&str> {
    let is_text = !pattern.contains(['*', '+', '?', '[', '(', '{', '|', '\\', '^', '$']);
    is_text.then_some(pattern)
}

/// Keys of a selector by which pairs are found, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Listens,
    Container,
    Unit,
    Command,
    Exe,
    Cgroup,
}

/// A path that fits both patterns; one without empty names, if there is one.
fn example(one: &str, two: &str) -> Result<Option<Vec<u8>>, glob::TooLong> {
    let named = |pattern: &str| pattern.replace("/*/", "/x*/");
    let path = glob::meet(named(one).as_bytes(), named(two).as_bytes())?;
    if path.is_some() { Ok(path) } else { glob::meet(one.as_bytes(), two.as_bytes()) }
}

/// Whether a control group of this name belongs to a unit of systemd's.
fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|end| name.ends_with(end))
}

fn same(one: &str, two: &str) -> Pair {
    if one == two { Pair::Meet(shown(one)) } else { Pair::Apart }
}

/// Users by name or number.
fn users(one: &str, two: &str) -> Pair {
    let number = |user: &str| if user == "root" { Some(0) } else { user.parse::<u32>().ok() };
    match (number(one), number(two)) {
        (Some(first), Some(second)) if first == second => Pair::Meet(shown(one)),
        (None, None) => same(one, two),
        (Some(0), None) | (None, Some(0)) | (Some(_), Some(_)) => Pair::Apart,
        _ => Pair::Unknown("which number a user's name has, only the host knows"),
    }
}

/// Ids that are given in part.
fn begins(one: &str, two: &str) -> Pair {
    let (short, long) = if one.len() <= two.len() { (one, two) } else { (two, one) };
    if long.starts_with(short) { Pair::Meet(shown(long)) } else { Pair::Apart }
}

/// Control groups, each with what is below.
fn groups(one: &str, two: &str) -> Pair {
    let (one, two) = (one.trim_end_matches('/'), two.trim_end_matches('/'));
    let (above, below) = if one.len() <= two.len() { (one, two) } else { (two, one) };
    let rest = below.strip_prefix(above);
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        Pair::Meet(if below.is_empty() { "/".to_owned() } else { shown(below) })
    } else {
        Pair::Apart
    }
}
