//! `processguard policy diff`: what would change.

use std::path::PathBuf;

use guard_core::policy::diff::{Change, Difference, KeyChange, Processes, diff};
use serde_json::json;

use super::print;
use crate::exit::{Code, Failure, HELP};
use crate::policy::load::Policies;
use crate::show::escape;

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy diff /etc/processguard/policies policies/
      what a roll-out of policies/ would change, key by key, and which services it would restart
  processguard policy diff old.yaml new.yaml --json | jq -r 'select(.restarts) | .service'
      the services that it would restart

";

/// Compare policies: which services are new, gone or changed, and which would be restarted
///
/// Defaults are filled in before: two files that say the same in other words do not differ.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// What holds now: a file or a directory
    old: PathBuf,

    /// What would hold
    new: PathBuf,

    /// One JSON object for each service that differs: service (null: the host), change (added, removed, changed), restarts,
    /// processes (go-on, scale, restart, search; null: none of its own), keys (key, old, new)
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let old = Policies::usable(std::slice::from_ref(&self.old))?;
        let new = Policies::usable(std::slice::from_ref(&self.new))?;
        let differences = diff(&old, &new);
        let text: String = if self.json {
            differences.iter().map(json_line).collect()
        } else if differences.is_empty() {
            "nothing would change\n".to_owned()
        } else {
            differences.iter().map(lines).collect()
        };
        print(&text)?;
        Ok(Code::Ok)
    }
}

fn lines(difference: &Difference) -> String {
    let name = difference.service.as_deref().map_or("the host".to_owned(), |name| format!("service {name}"));
    match &difference.change {
        Change::Added => format!("+ {name}\n"),
        Change::Removed => format!("- {name}: what we started of it is stopped\n"),
        Change::Changed { keys, processes } => {
            let what = match (processes, &difference.service) {
                (_, None) => String::new(),
                (Processes::GoOn, Some(_)) => ": its instances go on".to_owned(),
                (Processes::Scaled { from, to }, Some(_)) => {
                    format!(": scaled from {from} to {to} instances; the others go on")
                }
                (Processes::Restarted, Some(_)) => ": its instances are restarted".to_owned(),
                (Processes::Searched, Some(_)) => {
                    ": its processes are others from now on; what we started of it is stopped".to_owned()
                }
            };
            let keys: String = keys.iter().map(key).collect();
            format!("~ {name}{what}\n{keys}")
        }
    }
}

fn key(change: &KeyChange) -> String {
    let shown = |value: &Option<String>| value.as_deref().map_or("(not there)".to_owned(), escape::message);
    format!("    {}: {} -> {}\n", change.key, shown(&change.old), shown(&change.new))
}

fn json_line(difference: &Difference) -> String {
    let (change, processes, keys) = match &difference.change {
        Change::Added => ("added", None, Vec::new()),
        Change::Removed => ("removed", None, Vec::new()),
        Change::Changed { keys, processes } => ("changed", Some(*processes), keys.clone()),
    };
    let processes = processes.filter(|_| difference.service.is_some());
    let restarts = processes == Some(Processes::Restarted);
    let keys: Vec<_> = keys
        .into_iter()
        .map(|change| json!({ "key": change.key, "old": change.old, "new": change.new }))
        .collect();
    let object = json!({
        "service": difference.service,
        "change": change,
        "restarts": restarts,
        "processes": processes.map(Processes::name),
        "keys": keys,
    });
    format!("{object}\n")
}
