//! `oom --cgroup DIR [--bytes N] [--times N]`: a child that eats more memory than its control
//! group may, until it is killed.

use anyhow::{Context, Result};

use super::child::Child;
use super::truth::Truth;
use super::{Args, run};

pub(super) fn oom(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let directory = args.path("cgroup")?;
    let bytes = args.number("bytes", 256 << 20)?;
    for _ in 0..args.number("times", 1)? {
        let child = Child::fork(|| {
            run::join_cgroup(&directory).context("join the control group")?;
            let mut eaten = vec![0_u8; bytes];
            eaten.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            Ok(std::hint::black_box(eaten).first().map_or(1, |&byte| i32::from(byte)))
        })?;
        truth.line(&child.wait("victim")?)?;
    }
    Ok(())
}
