//! `processguard`: parse, run, exit code.

use std::process::ExitCode;

use guard_userspace::{cli, exit};

fn main() -> ExitCode {
    let ended = cli::parse(std::env::args_os()).and_then(|command| match command {
        Some(command) => cli::run(command),
        None => Ok(exit::Code::Ok),
    });
    match ended {
        Ok(code) => code.into(),
        Err(failure) => {
            exit::say(&failure.line());
            failure.code().into()
        }
    }
}
