//! Secrets taken out of arguments before they leave.

use std::sync::Arc;

use guard_common::{decode, wire};
use guard_core::event::{Action, Event, Process, Program};
use regex::bytes::Regex;

/// What stands in the place of a secret.
const MARK: &[u8] = b"[redacted]";

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a regular expression.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// It matches everywhere, which is nowhere in particular.
    #[error("it matches the empty text; ask for at least one character")]
    MatchesNothing,
}

/// Reads a pattern.
///
/// # Errors
/// If it is no regular expression, or one that matches the empty text.
pub fn pattern(text: &str) -> Result<Regex, Error> {
    let pattern = Regex::new(text).map_err(|error| {
        // The crate draws a picture over several lines; the last one is the cause.
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default().trim();
        Error::Syntax(cause.strip_prefix("error: ").unwrap_or(cause).to_owned())
    })?;
    if pattern.is_match(b"") { Err(Error::MatchesNothing) } else { Ok(pattern) }
}

/// Replaces every match within any argument.
#[derive(Debug, Default)]
pub struct Redactor {
    patterns: Vec<Regex>,
    /// The last program and what became of it: parent, child and exit share one.
    last: Option<(Arc<Program>, Option<Arc<Program>>)>,
}

impl Redactor {
    /// With these patterns.
    #[must_use]
    pub fn new(patterns: Vec<Regex>) -> Self {
        Self { patterns, last: None }
    }

    /// The event without secrets, if it has any.
    pub fn event(&mut self, event: &Event) -> Option<Event> {
        if self.patterns.is_empty() {
            return None;
        }
        let process = event.action.process()?;
        let program = self.program(process.program.as_ref()?)?;
        let clean = Arc::new(Process { program: Some(program), ..Process::clone(process) });
        let mut event = event.clone();
        match &mut event.action {
            Action::Fork { process }
            | Action::Exec { process, .. }
            | Action::Exit { process, .. }
            | Action::Signal { process, .. }
            | Action::Oom { process, .. }
            | Action::Listen { process, .. }
            | Action::Stall { process, .. }
            | Action::Latency { process, .. }
            | Action::Resources { process, .. } => *process = clean,
            Action::Group(_) | Action::Gap(_) | Action::Resync(_) => {}
        }
        Some(event)
    }

    /// The record of an exec without secrets, if it has any.
    pub fn record(&self, exec: &decode::Exec<'_>) -> Option<Vec<u8>> {
        if self.patterns.is_empty() {
            return None;
        }
        let clean = self.clean(exec.args)?;
        let mut fixed = exec.fixed;
        let bytes = u32::try_from(clean.len()).unwrap_or(u32::MAX);
        // What was cut off stays cut off.
        fixed.args_total = fixed.args_total.saturating_sub(fixed.args_bytes).saturating_add(bytes);
        fixed.args_bytes = bytes;
        Some([wire::bytes_of(&fixed), exec.exe.0, exec.cwd.0, &clean].concat())
    }

    /// Takes the secrets out of a program that was read and not recorded.
    pub fn clean_program(&self, program: &mut Program) {
        if self.patterns.is_empty() {
            return;
        }
        if let Some(clean) = self.clean(&program.args) {
            program.args = clean;
        }
    }

    fn program(&mut self, program: &Arc<Program>) -> Option<Arc<Program>> {
        if let Some((last, clean)) = &self.last
            && Arc::ptr_eq(last, program)
        {
            return clean.clone();
        }
        let clean =
            self.clean(&program.args).map(|args| Arc::new(Program { args, ..Program::clone(program) }));
        self.last = Some((Arc::clone(program), clean.clone()));
        clean
    }

    /// The arguments without secrets, if they have any.
    fn clean(&self, arguments: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut args = Vec::with_capacity(arguments.len());
        for argument in arguments.split_inclusive(|&byte| byte == 0) {
            let Some(whole) = argument.strip_suffix(&[0]) else {
                // A secret may be cut in two here, and its pattern then does not match the rest.
                changed = true;
                args.extend_from_slice(MARK);
                continue;
            };
            let mut argument = std::borrow::Cow::Borrowed(whole);
            for pattern in &self.patterns {
                if let std::borrow::Cow::Owned(clean) =
                    pattern.replace_all(&argument, regex::bytes::NoExpand(MARK))
                {
                    changed = true;
                    argument = clean.into();
                }
            }
            args.extend_from_slice(&argument);
            args.push(0);
        }
        changed.then_some(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(patterns: &[&str], args: &[u8]) -> Vec<u8> {
        let patterns = patterns.iter().map(|text| pattern(text).unwrap()).collect();
        let program = Arc::new(Program { args: args.to_vec(), ..Program::default() });
        let process = Arc::new(Process { program: Some(program), ..Process::default() });
        let event = Event { time_ns: 0, cpu: 0, sequence: 0, action: Action::Fork { process } };
        let clean = Redactor::new(patterns).event(&event).unwrap_or(event);
        clean.action.process().unwrap().program.as_ref().unwrap().args.clone()
    }

    #[test]
    fn every_match_in_every_argument() {
        let args = b"curl\0-u\0bob:hunter2\0--token=abc\0--token=def\0";
        assert_eq!(
            redacted(&["token=[^ ]+", "(?-u:bob):.*"], args),
            b"curl\0-u\0[redacted]\0--[redacted]\0--[redacted]\0"
        );
        assert_eq!(redacted(&["nothing"], args), args);
        assert_eq!(redacted(&[], args), args);
        assert_eq!(redacted(&[r"(?-u)\xff+"], b"a\xff\xff\0"), b"a[redacted]\0");
        assert_eq!(redacted(&["a$"], b"$1a\0"), b"$1[redacted]\0");
    }

    #[test]
    fn an_argument_cut_short_is_not_trusted() {
        assert_eq!(redacted(&["secret=[0-9]{8}"], b"x\0secret=1234"), b"x\0[redacted]");
        assert_eq!(redacted(&[], b"x\0secret=1234"), b"x\0secret=1234");
    }

    #[test]
    fn useless_patterns() {
        assert_eq!(pattern("a*").unwrap_err(), Error::MatchesNothing);
        assert_eq!(pattern("(").unwrap_err().to_string(), "not a regular expression: unclosed group");
    }
}
