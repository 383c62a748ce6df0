//! `processguard policy`: policies are checked, shown, compared and rehearsed before they are trusted.

mod check;
mod schema;

use crate::exit::{Code, Failure, HELP};

/// Check, explain, compare and rehearse policies; needs no privileges and touches nothing
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = false)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Check(check::Arguments),
    Schema(schema::Arguments),
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        match &self.verb {
            Verb::Check(arguments) => arguments.run(),
            Verb::Schema(arguments) => arguments.run(),
        }
    }
}

/// Whether standard output takes colours.
fn colour() -> bool {
    rustix::termios::isatty(std::io::stdout())
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
