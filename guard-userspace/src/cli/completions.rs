//! `processguard completions`: what a shell needs to complete our command line.

use clap_complete::Shell;

use crate::exit::{Failure, HELP};
use crate::output::{self, Sink};

/// Print a completion script for a shell
///
/// EXAMPLES
///   processguard completions bash > /etc/bash_completion.d/processguard
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = HELP)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    pub(super) fn run(&self, command: &mut clap::Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "processguard", &mut script);
        match Sink::Stdout.write(&script) {
            Ok(()) | Err(output::Error::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
