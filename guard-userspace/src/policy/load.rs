//! Policies read from files, with all that is to be said of them.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use guard_core::policy::{self, Code, Diagnostic, Loaded, Severity, Source};

use super::files::{self, Error, Text, Wanted};
use super::host::Host;
use super::render::{self, Finding};
use crate::exit;

/// Of what the host lacks: no rule of the language, so it is not among its codes.
const NOT_ON_HOST: &str = "not-on-host";

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
    /// Reads all policies that paths name as one set. What the host lacks is an error if it is the host that they are for,
    /// else a warning.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(paths: &[PathBuf], for_this_host: bool) -> Result<Self, Error> {
        let texts = files::read(files::find(paths, Wanted::Policies)?)?;
        let sources: Vec<Source<'_>> = texts.iter().map(Text::source).collect();
        let count = texts.len();
        let mut loaded = patiently(&format!("checking {count} files"), || policy::load(&sources));
        let mut findings: Vec<Finding> = loaded.diagnostics.drain(..).map(Finding::from).collect();
        let severity = if for_this_host { Severity::Error } else { Severity::Warning };
        findings.extend(lacking(&loaded, severity));
        findings.sort_by(|one, other| one.diagnostic.order(&other.diagnostic));
        Ok(Self { texts, loaded, findings })
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

fn lacking(loaded: &Loaded, severity: Severity) -> Vec<Finding> {
    let host = Host::read(Path::new("/etc"));
    let lacks = loaded.needs.iter().filter_map(|need| {
        let message = host.lacks(need)?;
        let help = "create it, or check the policies on the host that they are for";
        let diagnostic = Diagnostic::new(Code::UnknownKey, need.place.clone(), message).help(help);
        Some(Finding { severity, code: NOT_ON_HOST, diagnostic })
    });
    lacks.collect()
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
