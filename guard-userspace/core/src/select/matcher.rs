//! One selector, compiled.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};

use crate::event::Process;
use crate::limits::PATTERN_BYTES;
use crate::policy::model::Selector;
use crate::select::glob;

/// What of a process selectors look at, made once for all of them.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) process: &'a Process,
    pub(super) ports: &'a [u16],
    /// The arguments, joined by spaces. Made when the first selector wants it.
    command: OnceCell<Vec<u8>>,
}

impl<'a> Subject<'a> {
    pub(super) const fn new(process: &'a Process, ports: &'a [u16]) -> Self {
        Self { process, ports, command: OnceCell::new() }
    }

    pub(super) fn executable(&self) -> Option<&'a [u8]> {
        self.process.program.as_ref().map(|program| program.executable.as_slice())
    }

    pub(super) fn command(&self) -> &[u8] {
        self.command.get_or_init(|| {
            let Some(program) = &self.process.program else { return vec![] };
            let arguments = program.args.strip_suffix(&[0]).unwrap_or(&program.args);
            arguments.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect()
        })
    }
}

/// A selector whose patterns are compiled and whose user is a number.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) selector: Selector,
    pub(super) uid: Option<u32>,
    command: Option<Regex>,
}

impl Matcher {
    /// `None`: it matches nobody, because it asks for nothing, its user is not known or its expression does not compile.
    pub(super) fn new(selector: &Selector, users: &BTreeMap<String, u32>) -> Option<Self> {
        if *selector == Selector::default() {
            return None;
        }
        let number = |user: &String| user.parse().ok().or_else(|| users.get(user).copied());
        let uid = match &selector.user {
            Some(user) => Some(number(user)?),
            None => None,
        };
        let command = match &selector.command {
            Some(pattern) => {
                let mut builder = RegexBuilder::new(pattern);
                Some(builder.size_limit(PATTERN_BYTES).build().ok()?)
            }
            None => None,
        };
        Some(Self { selector: selector.clone(), uid, command })
    }

    /// Whether all that it asks for is so.
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let Selector { exe, cgroup, unit, container, listens, .. } = &self.selector;
        let Process { uid, cgroup: group, kernel_thread, .. } = subject.process;
        !kernel_thread
            && self.uid.is_none_or(|wanted| wanted == *uid)
            && listens.is_none_or(|port| subject.ports.contains(&port))
            && unit.as_deref().is_none_or(|unit| group.unit.as_deref() == Some(unit))
            && container.as_deref().is_none_or(|container| {
                group.container.as_ref().is_some_and(|known| known.id.starts_with(container))
            })
            && cgroup.as_deref().is_none_or(|wanted| is_below(group.path.as_deref(), wanted))
            && exe.as_deref().is_none_or(|pattern| {
                subject.executable().is_some_and(|path| glob::matches(pattern.as_bytes(), path))
            })
            && self.command.as_ref().is_none_or(|pattern| pattern.is_match(subject.command()))
    }
}

/// Whether a control group is another or below it.
fn is_below(path: Option<&str>, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    let rest = path.and_then(|path| path.strip_prefix(above));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
