//! The modes of `guard-workload`. Each does one thing and writes what truly happened as JSON
//! lines to `--truth FILE`. With `--hold` a mode prints `ready` and waits for a line on its
//! standard input before it begins.

mod args;
mod argv;
mod child;
mod death;
pub mod elf;
mod http;
mod lineage;
mod lives;
mod memory;
mod paths;
mod privileges;
mod queue;
mod report;
mod resources;
mod run;
mod sched;
mod servers;
mod signals;
mod sockets;
mod storm;
mod threads;
mod truth;
mod usage;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use args::Args;

/// Runs the mode that the command line names.
pub fn main() -> ExitCode {
    match start() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("guard-workload: {error:#}");
            ExitCode::from(125)
        }
    }
}

fn start() -> Result<u8> {
    let (mode, args) = Args::parse()?;
    if args.has("hold") {
        hold()?;
    }
    match mode.as_str() {
        "nop" => return args.number("code", 0),
        "report" => report::run(&args)?,
        "run" => run::run(&args)?,
        "storm" => storm::run(&args)?,
        "thread-outlives-leader" => threads::outlive_leader(&args)?,
        "exec-from-thread" => threads::exec(&args)?,
        "double-fork" => lineage::double_fork(&args)?,
        "family" => lineage::family(&args)?,
        "pidns" => lineage::pid_namespace(&args)?,
        "big-argv" => argv::big(&args)?,
        "weird-argv" => argv::weird(&args)?,
        "failed-exec" => argv::failed(&args)?,
        "exit-code" => death::exit_code(&args)?,
        "fault" => death::fault(&args)?,
        "self-kill" => death::self_kill(&args)?,
        "killed-by-other-user" => death::killed(&args)?,
        "oom" => memory::oom(&args)?,
        "exec-path" => paths::run(&args)?,
        "listen" => sockets::listen(&args)?,
        "setuid-exec" => privileges::set_user_id(&args)?,
        "file-capability-exec" => privileges::file_capability(&args)?,
        "signals" => signals::run(&args)?,
        "naps" => sched::naps(&args)?,
        "starve" => sched::starve(&args)?,
        "inherit" => sched::inherit(&args)?,
        "blocked" => sched::blocked(&args)?,
        "rivals" => sched::rivals(&args)?,
        "ping-pong" => sched::ping_pong(&args)?,
        "resources" => resources::run(&args)?,
        "sleepers" => resources::sleep(&args)?,
        "leaky-worker" => servers::leaky(&args)?,
        "hanger" => servers::hanger(&args)?,
        "listen-late" => servers::listen_late(&args)?,
        "once" => lives::once(&args)?,
        "crasher" => lives::crasher(&args)?,
        "ignorer" => lives::ignorer(&args)?,
        "forker" => lives::forker(&args)?,
        "logger" => lives::logger(&args)?,
        "queue" => queue::serve(&args)?,
        "queue-worker" => queue::work(&args)?,
        "rusage" => usage::run(&args)?,
        _ => bail!("unknown mode {mode:?}"),
    }
    Ok(0)
}

/// Says that this process is there, and waits until it is told to go on.
fn hold() -> Result<()> {
    println!("ready");
    std::io::stdout().flush().context("flush")?;
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for a line")?;
    Ok(())
}
