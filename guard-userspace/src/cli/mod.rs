//! The command line: one file for each verb.

mod approvals;
mod completions;
mod daemon;
mod events;
mod flags;
mod incidents;
mod inventory;
mod keeper;
mod order;
mod policy;
mod probe;
mod reach;
mod record;
mod reload;
mod sensor;
mod status;
mod top;
mod trace;
mod values;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::exit::{Code, Failure, HELP, say};

/// See every process on this host, and keep services as their policies say.
#[derive(Debug, Parser)]
#[command(name = "processguard", version, after_help = HELP, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = false)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,

    /// Tell on standard error what the program itself does; twice: in detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Daemon(Box<daemon::Arguments>),
    Status(status::Arguments),
    Events(events::Arguments),
    Incidents(incidents::Arguments),
    Inventory(inventory::Arguments),
    Start(order::Start),
    Stop(order::Stop),
    Restart(order::Restart),
    Scale(order::Scale),
    Reload(reload::Arguments),
    Flags(flags::Arguments),
    Approvals(approvals::Arguments),
    Trace(Box<trace::Arguments>),
    Record(Box<record::Arguments>),
    Sensor(sensor::Arguments),
    Top(Box<top::Arguments>),
    Policy(policy::Arguments),
    Probe(probe::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Keeper(keeper::Arguments),
}

/// Reads the command line. `None`: it asked for help, which has been given.
///
/// # Errors
/// If it makes no sense.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    match Command::try_parse_from(arguments) {
        Ok(command) => Ok(Some(command)),
        Err(error) if error.use_stderr() => Err(Failure::Usage(one_line(&error))),
        Err(help) => {
            // A closed pipe: whoever asked has read enough.
            let _ = help.print();
            Ok(None)
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// If it cannot be done.
pub fn run(command: Command) -> Result<Code, Failure> {
    log(command.verbose);
    match command.verb {
        Verb::Daemon(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Status(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Events(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Incidents(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Inventory(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Start(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Stop(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Restart(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Scale(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Reload(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Flags(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Approvals(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Trace(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Record(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Sensor(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Top(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Policy(arguments) => arguments.run(),
        Verb::Probe(arguments) => arguments.run(),
        Verb::Keeper(arguments) => arguments.run().map(|()| Code::Ok),
        Verb::Completions(arguments) => arguments.run(&mut Command::command()).map(|()| Code::Ok),
    }
}

/// Sends the program's own diagnostics to standard error. `PROCESSGUARD_LOG` has the last word.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("PROCESSGUARD_LOG").unwrap_or_else(|_unset| EnvFilter::new(level));
    let ansi = rustix::termios::isatty(std::io::stderr());
    let subscriber =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).with_ansi(ansi);
    if subscriber.try_init().is_err() {
        say("processguard: diagnostics are already set up");
    }
}

/// clap explains itself in paragraphs; one line is enough: what is wrong, what it suggests, where to
/// read more.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut parts = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let line = line.trim_start_matches("error: ");
        parts.push(line.strip_prefix("tip: ").unwrap_or(line).to_owned());
    }
    if parts.is_empty() {
        parts.push("the command line makes no sense".to_owned());
    }
    let mut line = parts.join("; ").replace(":; ", ": ");
    line.push_str("; see --help");
    // The value in question is quoted by clap as it was given.
    crate::show::escape::message(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
