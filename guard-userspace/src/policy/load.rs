//! Policies read from files, with all that is to be said of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use guard_core::policy::{self, Code, Diagnostic, Loaded, PolicySet, Severity, Source};

use super::files::{self, Error, Text, Wanted};
use super::host::Host;
use super::render::{self, Finding};
use crate::exit::{self, Failure};

/// Of what the host lacks: no rule of the language, so it is not among its codes.
pub const NOT_ON_HOST: &str = "not-on-host";

/// How long people wait without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of files of policies.
#[derive(Debug)]
pub struct Policies {
    /// The files.
    pub texts: Vec<Text>,
    /// What the core made of them.
    pub loaded: Loaded,
    /// All that is to be said.
    pub findings: Vec<Finding>,
}

impl Policies {
    /// Reads all policies that paths name as one set.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(paths: &[PathBuf], lacking: Lacking) -> Result<Self, Error> {
        Ok(Self::of(files::read(files::find(paths, Wanted::Policies)?)?, lacking))
    }

    /// The same of texts that were read already.
    #[must_use]
    pub fn of(texts: Vec<Text>, lacking: Lacking) -> Self {
        let sources: Vec<Source<'_>> = texts.iter().map(Text::source).collect();
        let count = texts.len();
        let mut loaded = patiently(&format!("checking {count} files"), || policy::load(&sources));
        let mut findings: Vec<Finding> = loaded.diagnostics.drain(..).map(Finding::from).collect();
        match lacking {
            Lacking::Error => findings.extend(lacks(&loaded, Severity::Error)),
            Lacking::Warning => findings.extend(lacks(&loaded, Severity::Warning)),
            Lacking::Ignored => {}
        }
        findings.sort_by(|one, other| one.diagnostic.order(&other.diagnostic));
        Self { texts, loaded, findings }
    }

    /// Reads policies that are to be used for something else than being checked: errors are shown at once, warnings are not.
    ///
    /// # Errors
    /// If a file cannot be read, or the policies have errors.
    pub fn usable(paths: &[PathBuf]) -> Result<PolicySet, Failure> {
        let mut policies = Self::read(paths, Lacking::Ignored)?;
        match policies.loaded.set.take() {
            Some(set) => Ok(set),
            None => {
                policies.findings.retain(|finding| finding.severity == Severity::Error);
                exit::say(policies.rendered(colour(std::io::stderr())).trim_end());
                Err(Failure::Policies)
            }
        }
    }

    /// How many errors and warnings there are.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        (errors, self.findings.len() - errors)
    }

    /// All findings as text.
    #[must_use]
    pub fn rendered(&self, colour: bool) -> String {
        render::text(&self.texts, &self.findings, colour)
    }
}

/// What there is to say of what the host lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// It is the host that the policies are for.
    Error,
    /// It may be another one.
    Warning,
    /// The policies are not put to use.
    Ignored,
}

fn lacks(loaded: &Loaded, severity: Severity) -> Vec<Finding> {
    let host = Host::read(Path::new("/etc"));
    let mut said = HashSet::new();
    let lacks = loaded.needs.iter().filter_map(|need| {
        // Many services need the same user or program: the first place is enough.
        let message = host.lacks(need).filter(|message| said.insert(message.clone()))?;
        let help = "create it, or check the policies on the host that they are for";
        let diagnostic = Diagnostic::new(Code::UnknownKey, need.place.clone(), message).help(help);
        Some(Finding { severity, code: NOT_ON_HOST, diagnostic })
    });
    lacks.collect()
}

/// Whether a terminal takes colours.
#[must_use]
pub fn colour(terminal: impl std::os::fd::AsFd) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    rustix::termios::isatty(terminal) && !refused
}

/// Does something that may take long: after a second, a person at a terminal is told what.
fn patiently<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !rustix::termios::isatty(std::io::stderr()) {
        return work();
    }
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                exit::say(&format!("processguard: {what} ..."));
            }
        });
        let result = work();
        drop(done);
        result
    })
}
