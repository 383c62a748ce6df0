//! Set-up, build, test and measurement commands: `cargo xtask VERB`.

mod bench;
mod build;
mod cargo;
mod fuzz;
mod home;
mod run;
mod setup;
mod sh;
mod soak;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "ProcessGuard's set-up, build, test and measurement commands")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what building, testing and checking need
    Setup(setup::Args),
    /// Set up, then build processguard with its kernel programs inside
    Build(build::Args),
    /// Set up, build, and show the daemon at work on services that fail; with arguments the live trace: `cargo xtask run -- --events exec`
    Run(run::Args),
    /// Set up, then run every test at small counts (at most 25 minutes on two cores)
    Test(test::Args),
    /// Set up, then run every test at the counts that the issues state
    Campaign(test::Args),
    /// Measure the cost of watching, beside its peers
    Bench(bench::Args),
    /// Throw bytes at the decoder, the core and the reader of saved streams, for as long as you like
    Fuzz(fuzz::Args),
    /// Let services under the daemon crash for an hour: nothing grows, nothing is forgotten, nothing is left behind
    Soak(soak::Args),
    /// Run the privileged tests on every kernel of the matrix, in virtual machines
    Vm(vm::Args),
    /// Check format, lints, licences and the house rules
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(args) => setup::verb(&args),
        Verb::Build(args) => build::verb(&args),
        Verb::Run(args) => run::verb(&args),
        Verb::Test(args) => test::verb(&args, test::Scale::Small),
        Verb::Campaign(args) => test::verb(&args, test::Scale::Full),
        Verb::Bench(args) => bench::verb(&args),
        Verb::Fuzz(args) => fuzz::verb(&args),
        Verb::Soak(args) => soak::verb(&args),
        Verb::Vm(args) => vm::verb(&args),
        Verb::Tidy => tidy::verb(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
