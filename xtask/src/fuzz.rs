//! `cargo xtask fuzz`: libFuzzer on the targets of tests/fuzz, with coverage, on the stable compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cargo,
    setup::{self, Scope},
    sh,
};

/// The targets, by the names of their corpora.
const TARGETS: [&str; 5] = ["decoder", "stream", "json", "recording", "policy"];

/// Seconds for each target in the test command.
const SHORT_SECONDS: u32 = 4;

/// What the compiler needs for libFuzzer to see which code of ours an input reaches: cargo-fuzz's choice, but for its single
/// codegen unit, which keeps one of two cores waiting.
const FLAGS: &str = "-Copt-level=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Bytes of an input at most: a few records of the largest kind, or lines.
const INPUT_BYTES: u32 = 32 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target: decoder, stream, json, recording, policy
    #[arg(value_parser = TARGETS)]
    target: Option<String>,

    /// Seconds for each target
    #[arg(long, default_value_t = 300)]
    seconds: u32,

    /// Run the target on this file alone: reproduces a failure
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with_all = ["seconds", "minimise"])]
    input: Option<PathBuf>,

    /// Take what was found into the committed corpus, as few inputs as reach the same code
    #[arg(long, conflicts_with = "seconds")]
    minimise: bool,
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let fuzzer = Fuzzer::build()?;
    let targets = TARGETS.into_iter().filter(|name| args.target.as_deref().is_none_or(|only| only == *name));
    for target in targets {
        match &args.input {
            Some(input) => fuzzer.reproduce(target, input)?,
            None if args.minimise => fuzzer.minimise(target)?,
            None => fuzzer.run(target, args.seconds, None)?,
        }
    }
    Ok(())
}

/// A few seconds for each target, as part of the test command: always the same inputs, so that a commit does not
/// fail by the dice of one run. New ones are for the long run to find.
pub(crate) fn short() -> Result<()> {
    let fuzzer = Fuzzer::build()?;
    TARGETS.into_iter().try_for_each(|target| fuzzer.run(target, SHORT_SECONDS, Some(1)))
}

/// The instrumented program.
struct Fuzzer {
    program: PathBuf,
    /// What the fuzzer finds, between runs.
    work: PathBuf,
}

impl Fuzzer {
    /// From what the pure tests are built of.
    fn build() -> Result<Self> {
        let mut cargo = sh::cargo();
        cargo.args(["build", "--package", "guard-fuzz", "--features", "libfuzzer", "--bin", "guard-fuzz"]);
        cargo::add_flags(&mut cargo, FLAGS)?;
        cargo.env("CARGO_INCREMENTAL", "0");
        sh::run(&mut cargo)?;
        let target_dir = sh::target_dir();
        Ok(Self { program: target_dir.join("debug/guard-fuzz"), work: target_dir.join("fuzz") })
    }

    /// Fuzzes for so long, beginning with the committed corpus and, without a seed, what earlier runs found.
    fn run(&self, target: &str, seconds: u32, seed: Option<u32>) -> Result<()> {
        let crashes = self.directory("crashes", target)?;
        let found = match seed {
            Some(_) => self.emptied("short", target)?,
            None => self.directory("found", target)?,
        };
        let mut fuzzer = self.command(target);
        fuzzer.arg(format!("-max_total_time={seconds}"));
        fuzzer.arg(format!("-artifact_prefix={}/", crashes.display()));
        fuzzer.args(seed.map(|seed| format!("-seed={seed}")));
        fuzzer.args([&found, &corpus(target)]);
        let output = fuzzer.output().context("run the fuzzer")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let last = said.lines().rfind(|line| line.starts_with("Done") || line.contains("DONE"));
            println!("fuzz {target}: {}", last.unwrap_or_default());
            return Ok(());
        }
        let input =
            said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        let Some(input) = input else { bail!("the fuzzer of {target} failed ({}):\n{said}", output.status) };
        bail!(
            "{target} fails on {input}:\n{said}\nreproduce: cargo xtask fuzz {target} --input {input}\n\
             once it is mended, copy the file to tests/fuzz/corpus/{target}"
        )
    }

    fn reproduce(&self, target: &str, input: &Path) -> Result<()> {
        sh::run(self.command(target).arg(input))
    }

    fn minimise(&self, target: &str) -> Result<()> {
        let (found, kept) = (self.directory("found", target)?, self.emptied("kept", target)?);
        let corpus = corpus(target);
        sh::quietly(self.command(target).arg("-merge=1").args([&kept, &corpus, &found]))?;
        fs::remove_dir_all(&corpus).and_then(|()| fs::create_dir(&corpus)).context("empty the corpus")?;
        for entry in fs::read_dir(&kept)? {
            let entry = entry?;
            fs::copy(entry.path(), corpus.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn command(&self, target: &str) -> Command {
        let mut fuzzer = Command::new(&self.program);
        fuzzer.env("GUARD_FUZZ_TARGET", target);
        fuzzer.args([&format!("-max_len={INPUT_BYTES}"), "-timeout=10", "-rss_limit_mb=1024"]);
        fuzzer
    }

    fn directory(&self, of: &str, target: &str) -> Result<PathBuf> {
        let directory = self.work.join(of).join(target);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(directory)
    }

    fn emptied(&self, of: &str, target: &str) -> Result<PathBuf> {
        let directory = self.directory(of, target)?;
        fs::remove_dir_all(&directory)
            .and_then(|()| fs::create_dir(&directory))
            .context("empty a directory")?;
        Ok(directory)
    }
}

/// The committed corpus.
fn corpus(target: &str) -> PathBuf {
    sh::workspace().join("tests/fuzz/corpus").join(target)
}
