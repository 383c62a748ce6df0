//! `rusage [--mib N] [--rounds N] [--sleeps N]`: uses known amounts of everything.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Args;
use super::child::Child;
use super::truth::Truth;

pub(super) fn run(args: &Args) -> Result<()> {
    let mib: usize = args.number("mib", 48)?;
    let sleeps: u64 = args.number("sleeps", 40)?;
    let busy = Duration::from_millis(args.number("busy-ms", 300)?);
    let child = Child::fork(|| {
        let mut memory = vec![0_u8; mib << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(&memory);
        drop(memory);
        // Half of the time in user mode, half of it in the kernel, by the clock: two threads, so
        // that both threads' use must be added up.
        let user = thread::spawn(move || {
            let end = Instant::now() + busy;
            let mut sum = 0_u64;
            while Instant::now() < end {
                sum = (0..10_000_u64).fold(sum, |sum, number| black_box(sum.rotate_left(3) ^ number));
            }
            black_box(sum)
        });
        let mut null = File::options().write(true).open("/dev/null").context("open /dev/null")?;
        let end = Instant::now() + busy;
        while Instant::now() < end {
            for _ in 0..1000 {
                null.write_all(b"x").context("write /dev/null")?;
            }
        }
        for _ in 0..sleeps {
            thread::sleep(Duration::from_micros(500));
        }
        let _ = user.join();
        Ok(0)
    })?;
    Truth::open(args)?.line(&child.wait("process")?)
}
