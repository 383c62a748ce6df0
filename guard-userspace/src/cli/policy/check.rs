//! `processguard policy check`: all that is wrong with policies, in one run.

use std::path::PathBuf;

use crate::exit::{Code, Failure, HELP};
use crate::policy::load::{Lacking, NOT_ON_HOST, Policies, colour};
use crate::policy::render;

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy check policies/
      all policies below a directory, as one set: two services that claim one process are found
  processguard policy check --host /etc/processguard/policies
      on the host that they are for: a user or program that it lacks is an error too
  processguard policy check --strict --json policies/ | jq -r '\"\\(.file):\\(.line): \\(.message)\"'
      in CI: exit status 8 for a warning too; one JSON object for each finding

";

/// Check policies; exit status 8 if they have errors
///
/// All errors and warnings of all files come in one run, each with its place, an excerpt and a remedy. Files are those
/// that are named, and all *.yaml and *.yml below directories that are named (not *.scenario.yaml). They are one set,
/// as on a host.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// Files and directories; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// They are for this host: users, programs and directories that it lacks are errors, not warnings
    #[arg(long)]
    host: bool,

    /// Warnings count as errors, except those about another host
    #[arg(long)]
    strict: bool,

    /// One JSON object for each finding: file, line, column, end_line, end_column, severity (error, warning), code, message,
    /// label, help, replacement, related
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let policies =
            Policies::read(&self.paths, if self.host { Lacking::Error } else { Lacking::Warning })?;
        let (errors, warnings) = policies.count();
        let text = if self.json {
            let line = |finding| format!("{}\n", render::json(&policies.texts, finding));
            policies.findings.iter().map(line).collect()
        } else {
            let colour = colour(std::io::stdout());
            let files = policies.texts.len();
            let services = policies.loaded.services.len();
            let verdict = verdict(files, services, errors, warnings);
            format!("{}{verdict}\n", policies.rendered(colour))
        };
        let foreign = policies.findings.iter().filter(|finding| finding.code == NOT_ON_HOST).count();
        let bad = errors > 0 || self.strict && warnings > foreign;
        super::print(&text)?;
        Ok(if bad { Code::Policies } else { Code::Ok })
    }
}

fn verdict(files: usize, services: usize, errors: usize, warnings: usize) -> String {
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let found = match (errors, warnings) {
        (0, 0) => "nothing to complain about".to_owned(),
        (0, warnings) => format!("no errors, {}", many(warnings, "warning")),
        (errors, 0) => many(errors, "error"),
        (errors, warnings) => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    };
    format!("{}, {}: {found}", many(files, "file"), many(services, "service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts() {
        assert_eq!(verdict(1, 1, 0, 0), "1 file, 1 service: nothing to complain about");
        assert_eq!(verdict(2, 3, 0, 1), "2 files, 3 services: no errors, 1 warning");
        assert_eq!(verdict(2, 0, 2, 1), "2 files, 0 services: 2 errors, 1 warning");
        assert_eq!(verdict(2, 0, 1, 0), "2 files, 0 services: 1 error");
    }
}
