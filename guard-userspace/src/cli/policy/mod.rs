//! `processguard policy`: policies are checked, shown, compared and rehearsed before they are trusted; and which of them hold.

mod check;
mod diff;
mod explain;
mod generations;
mod schema;
mod test;

use crate::exit::{Code, Failure, HELP};
use crate::output::{self, Sink};

/// Check, explain, compare and rehearse policies, without privileges; ask the daemon which hold
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = false)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Diff(diff::Arguments),
    Test(test::Arguments),
    Schema(schema::Arguments),
    Generations(generations::Generations),
    Rollback(generations::Rollback),
    Suggest(generations::Suggest),
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        match &self.verb {
            Verb::Check(arguments) => arguments.run(),
            Verb::Explain(arguments) => arguments.run(),
            Verb::Diff(arguments) => arguments.run(),
            Verb::Test(arguments) => arguments.run(),
            Verb::Schema(arguments) => arguments.run(),
            Verb::Generations(arguments) => arguments.run(),
            Verb::Rollback(arguments) => arguments.run(),
            Verb::Suggest(arguments) => arguments.run(),
        }
    }
}

/// Where policies are if nothing is said.
const POLICIES: &str = "/etc/processguard/policies";

/// Prints all of it.
fn print(text: &str) -> Result<(), Failure> {
    match Sink::Stdout.write(text.as_bytes()) {
        Ok(()) | Err(output::Error::Closed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
