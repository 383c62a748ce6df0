//! Policies as the daemon holds them: all valid, or not at all.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_core::policy::diff::{Change, Processes, diff};
use guard_core::policy::model::Origin;
use guard_core::policy::{PolicySet, Severity};

use super::door::Refusal;
use crate::policy::files::{self, Text};
use crate::policy::load::{Lacking, Policies};

/// A set of policies, and the texts that it was read from.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What they say.
    pub set: Arc<PolicySet>,
    /// Names and contents of the files.
    pub texts: Vec<(String, String)>,
    /// What is to be said of them besides: warnings, and what the host lacks, as text.
    pub warnings: String,
}

/// Why there is no set.
#[derive(Debug)]
pub enum Unaccepted {
    /// The files cannot be read.
    Unread(files::Error),
    /// The policies have errors: the text shows all of them, in their places.
    Invalid(String),
}

impl From<Unaccepted> for Refusal {
    fn from(why: Unaccepted) -> Self {
        match why {
            Unaccepted::Invalid(text) => Self::Policies(text),
            Unaccepted::Unread(error) => {
                let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                Self::Failed(format!("{error}{source}; {}", error.remedy()))
            }
        }
    }
}

/// Reads the files below these paths as one set.
///
/// # Errors
/// If a file cannot be read, or the policies have errors.
pub fn read(paths: &[PathBuf]) -> Result<Accepted, Unaccepted> {
    accept(Policies::read(paths, Lacking::Warning).map_err(Unaccepted::Unread)?)
}

/// The same from texts that were accepted before.
///
/// # Errors
/// If this version of the program finds errors in them.
pub fn again(texts: &[(String, String)]) -> Result<Accepted, Unaccepted> {
    let of = |(name, text): &(String, String)| Text {
        path: PathBuf::from(name),
        name: name.clone(),
        bytes: text.clone().into_bytes(),
    };
    accept(Policies::of(texts.iter().map(of).collect(), Lacking::Ignored))
}

fn accept(mut policies: Policies) -> Result<Accepted, Unaccepted> {
    let Some(mut set) = policies.loaded.set.take() else {
        policies.findings.retain(|finding| finding.severity == Severity::Error);
        return Err(Unaccepted::Invalid(policies.rendered(false)));
    };
    set.users = users(&set, Path::new("/etc/passwd"));
    let warnings = policies.rendered(false);
    let texts =
        policies.texts.into_iter().map(|text| (text.name, String::from_utf8_lossy(&text.bytes).into_owned()));
    // Valid policies are UTF-8: nothing is lost.
    let texts = texts.collect();
    Ok(Accepted { set: Arc::new(set), texts, warnings })
}

/// Numbers of the users that selectors name, as this host has them.
fn users(set: &PolicySet, passwd: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(passwd).unwrap_or_default();
    let wanted = |name: &str| {
        set.services.iter().any(|service| {
            matches!(&service.origin, Origin::Adopt(adopt) if adopt.matching.user.as_deref() == Some(name))
        })
    };
    let known = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        Some((name.to_owned(), number.parse().ok()?))
    });
    known.filter(|(name, _)| wanted(name)).collect()
}

/// What becomes of services from one set to another, a line for each.
#[must_use]
pub fn changes(old: &PolicySet, new: &PolicySet) -> Vec<String> {
    let line = |difference: guard_core::policy::diff::Difference| {
        let name = difference.service.unwrap_or_else(|| "the host".to_owned());
        match difference.change {
            Change::Added => format!("{name}: added"),
            Change::Removed => format!("{name}: removed"),
            Change::Changed { keys, processes } => {
                let keys: Vec<String> = keys.into_iter().map(|key| key.key).collect();
                let what = match processes {
                    Processes::GoOn => "goes on",
                    Processes::Scaled { .. } => "is scaled",
                    Processes::Restarted => "is restarted",
                    Processes::Searched => "is searched anew",
                };
                format!("{name}: {what}; changed: {}", keys.join(", "))
            }
        }
    };
    diff(old, new).into_iter().map(line).collect()
}
