//! Known use of everything that is sampled, and processes that use nothing.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead as _, Write as _};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Args;
use super::truth::Truth;
use crate::sys;

/// `resources --directory DIR [--mib N] [--files N] [--limit N] [--threads N] [--busy-ms N] [--write-kib N]
/// [--leader-ends]`: uses so much of each, writes down what the kernel says of this process itself, and keeps it until
/// a line comes. With `--leader-ends` the first thread ends before that.
pub(super) fn run(args: &Args) -> Result<()> {
    if !args.has("leader-ends") {
        return work(args);
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let code = match work(args) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("guard-workload: {error:#}");
                    125
                }
            };
            sys::exit_group(code)
        });
        sys::exit_thread(0)
    })
}

fn work(args: &Args) -> Result<()> {
    let mib: usize = args.number("mib", 64)?;
    let files: usize = args.number("files", 40)?;
    let threads: usize = args.number("threads", 4)?;
    let busy = Duration::from_millis(args.number("busy-ms", 300)?);
    let kib: usize = args.number("write-kib", 1024)?;
    sys::limit_open_files(args.number("limit", 512)?)?;

    let mut memory = vec![0_u8; mib << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let open = (0..files).map(|_| File::open("/dev/null")).collect::<Result<Vec<_>, _>>();
    let open = open.context("open /dev/null")?;
    for _ in 0..threads {
        thread::spawn(|| thread::sleep(Duration::from_secs(3600)));
    }
    // In another thread than the one that tells: all must be added up. It ends, and its time must not be forgotten.
    let burn = move || {
        while sys::process_cpu() < busy {
            black_box((0..10_000_u64).fold(0_u64, |sum, number| black_box(sum.rotate_left(3) ^ number)));
        }
    };
    thread::spawn(burn).join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    let path = args.path("directory")?.join("written");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    file.write_all(&vec![1; kib << 10]).and_then(|()| file.sync_all()).context("write")?;

    let mut truth = Truth::open(args)?;
    // The thread that ended may not have been reaped yet.
    thread::sleep(Duration::from_millis(20));
    truth.line(
        &json!({ "what": "uses", "pid": sys::pid(), "cpu_ns": sys::process_cpu().as_nanos() as u64 }),
    )?;
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for a line")?;
    black_box((&memory, &open));
    fs::remove_file(path).context("remove")
}

/// `sleepers --count N`: so many processes that do nothing, all ended with this one, which waits for a line.
pub(super) fn sleep(args: &Args) -> Result<()> {
    let count: usize = args.number("count", 1000)?;
    let mut truth = Truth::open(args)?;
    for _ in 0..count {
        let pid = sys::fork(|| {
            sys::die_with_parent()?;
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        })?;
        truth.line(&json!({ "what": "sleeper", "pid": pid }))?;
    }
    println!("{}", json!({ "sleepers": count }));
    std::io::stdout().flush().context("flush")?;
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for a line")?;
    Ok(())
}
