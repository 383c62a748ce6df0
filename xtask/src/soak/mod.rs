//! `cargo xtask soak`: the daemon as it is shipped, for as long as you like, on services that crash all the time.
//!
//! ```text
//! failing   services end at random moments by random causes; what daemon and keeper hold is written down
//! calm      the same services under policies by which they live: every incident must close
//! stopped   nothing of them may be left
//! ```
//! What happened, the services themselves say, in files that the daemon never reads.
//!
//! On a host that does little else meanwhile: the daemon sees every process, and has room for as many as lived at once.

mod figures;
mod log;
mod services;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{IsTerminal as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    build::{self, Profile},
    home::Home,
    run::{self, Ended},
    setup::{self, Scope},
    sh,
};
use figures::{Sample, Trend};
use log::Log;
use services::{Dice, Service};

/// How often services are killed and figures taken.
const TICK: Duration = Duration::from_millis(500);

/// How often progress is told where nobody sees a line change.
const TELL: Duration = Duration::from_secs(60);

/// How long services may take until all are well, and until nothing is left of them. A second chance after a crash counts as one
/// incident with it for 10 s, and is closed at once: this is far more.
const SETTLES: Duration = Duration::from_secs(60);

/// What we kill by.
const SIGNALS: [i32; 4] = [libc::SIGKILL, libc::SIGTERM, libc::SIGQUIT, libc::SIGBUS];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long services fail
    #[arg(long, default_value = "60")]
    minutes: f64,

    /// How many services
    #[arg(long, default_value = "50")]
    services: usize,

    /// Another seed, other services [default: the time]
    #[arg(long)]
    seed: Option<u64>,

    /// A processguard that was built already; else it is built as it is shipped
    #[arg(long, value_name = "PATH")]
    processguard: Option<PathBuf>,
}

/// What is under way.
struct Soak {
    processguard: PathBuf,
    workload: PathBuf,
    policies: PathBuf,
    cgroup: String,
    services: Vec<Service>,
    dice: Dice,
    // In this order: the daemon ends before its home goes.
    daemon: Ended,
    home: Home,
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("the daemon needs root: sudo --preserve-env=PATH cargo xtask soak");
    }
    ensure!(
        args.services > 0 && args.minutes > 0.0,
        "nothing to do: --services and --minutes must be above 0"
    );
    setup::ensure(Scope::Build)?;
    let processguard = match &args.processguard {
        Some(path) => fs::canonicalize(path).with_context(|| path.display().to_string())?,
        None => build::processguard(Profile::Release)?,
    };
    let workload = build::binary(Profile::Dev, "guard-tests", "guard-workload")?;
    let seed = args.seed.unwrap_or_else(seconds_since_1970);
    println!("{} services, {} minutes, --seed {seed}", args.services, args.minutes);

    run::heed_interrupts();
    let mut soak = Soak::start(processguard, &workload, args.services, seed)?;
    let mut held = [Vec::new(), Vec::new()];
    soak.fail_for(Duration::from_secs_f64(args.minutes * 60.0), &mut held)?;
    let mut complaints = soak.calm()?;
    complaints.extend(soak.compare()?);
    complaints.extend(soak.stop_all()?);
    for (name, samples) in ["daemon", "keeper"].iter().zip(&held) {
        complaints.extend(trend(name, samples)?);
    }
    if complaints.is_empty() {
        println!("all of it holds");
        return Ok(());
    }
    complaints.iter().for_each(|complaint| println!("VIOLATED: {complaint}"));
    bail!("{} complaints; the daemon said:\n{}", complaints.len(), soak.said())
}

impl Soak {
    fn start(processguard: PathBuf, workload: &Path, count: usize, seed: u64) -> Result<Self> {
        let cgroup = format!("pg-soak-{}", std::process::id());
        // In /tmp: a socket's path must be short.
        let home = Home::new(PathBuf::from("/tmp").join(&cgroup), &cgroup)?;
        // A file of its own: whoever runs it is ours.
        let own = home.at("guard-workload");
        fs::copy(workload, &own).context("copy guard-workload")?;
        let mut dice = Dice(seed);
        let services: Vec<_> =
            (0..count).map(|number| Service::draw(number, &mut dice, &home.at("state"))).collect();
        let policies = home.at("policies.yaml");
        let text: String = services.iter().map(|service| service.failing(&own)).collect();
        fs::write(&policies, text).context("write the policies")?;
        let said = File::create(home.at("daemon.log")).context("create the daemon's log")?;
        let mut command = home.daemon(&processguard, &policies);
        // In a process group of its own: Ctrl-C is for us, and the daemon is ended after it.
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).process_group(0);
        let mut daemon = Ended(command.spawn().context("start the daemon")?);
        run::wait_for_answer(&home, &mut daemon.0)?;
        Ok(Self { processguard, workload: own, policies, cgroup, services, dice, daemon, home })
    }

    /// Services end and come back; what daemon and keeper hold meanwhile.
    fn fail_for(&mut self, time: Duration, held: &mut [Vec<Sample>; 2]) -> Result<()> {
        let (began, mut told) = (Instant::now(), Instant::now());
        let keeper = *self.pids_in("+keeper")?.first().context("there is no keeper")?;
        while began.elapsed() < time {
            pause()?;
            if let Some(status) = self.daemon.0.try_wait()? {
                bail!("the daemon ended ({status}): {}", self.said());
            }
            let at = began.elapsed().as_secs_f64();
            for (pid, samples) in [self.daemon.0.id(), keeper].into_iter().zip(held.iter_mut()) {
                samples.push(Sample::of(pid, at).with_context(|| self.said())?);
            }
            self.kill_some()?;
            let is_seen = std::io::stdout().is_terminal();
            if is_seen || told.elapsed() >= TELL {
                told = Instant::now();
                self.progress(at, time, held, is_seen)?;
            }
        }
        println!("\ncalm: all are to live, and all incidents to be closed");
        Ok(())
    }

    fn kill_some(&mut self) -> Result<()> {
        let tick_ms = TICK.as_millis() as u64;
        for service in &self.services {
            let due = service.killed_every_ms().is_some_and(|every| self.dice.below(every) < tick_ms);
            let signal = SIGNALS.get(self.dice.below(SIGNALS.len() as u64) as usize);
            if let (true, Some(signal)) = (due, signal) {
                service.kill(&self.workload, *signal)?;
            }
        }
        Ok(())
    }

    fn progress(&self, at: f64, time: Duration, held: &[Vec<Sample>; 2], is_seen: bool) -> Result<()> {
        let mut lives = 0;
        for service in &self.services {
            lives += service.lives()?.len();
        }
        let [daemon, keeper] = held.each_ref().map(|samples| samples.last().map_or(0.0, |last| last.rss));
        let line = format!(
            "{:5.1} of {:.1} min  {lives} lives  daemon {:.1} MB  keeper {:.1} MB",
            at / 60.0,
            time.as_secs_f64() / 60.0,
            daemon / 1e6,
            keeper / 1e6
        );
        if is_seen {
            print!("\r{line}  ")
        } else {
            println!("{line}")
        }
        std::io::stdout().flush().context("tell the progress")
    }

    /// Everybody lives from now on; waits until all incidents are closed.
    fn calm(&mut self) -> Result<Vec<String>> {
        let text: String = self.services.iter().map(|service| service.calm(&self.workload)).collect();
        fs::write(&self.policies, text).context("write the calm policies")?;
        sh::quietly(&mut self.client(&["reload"]))?;
        let deadline = Instant::now() + SETTLES;
        loop {
            let open = sh::output(&mut self.client(&["incidents", "--open", "--json"]))?;
            let open: Value = serde_json::from_str(&open).context("incidents --open")?;
            let living = self.services.iter().filter(|service| self.is_calm(service)).count();
            let is_closed = open.pointer("/incidents").and_then(Value::as_array).is_some_and(Vec::is_empty);
            if is_closed && living == self.services.len() {
                return Ok(Vec::new());
            }
            if Instant::now() > deadline {
                return Ok(vec![format!(
                    "{living} of {} services live {} s later; open: {open}",
                    self.services.len(),
                    SETTLES.as_secs()
                )]);
            }
            pause()?;
        }
    }

    /// Whether exactly one process lives in the rooms of a service.
    fn is_calm(&self, service: &Service) -> bool {
        self.pids_in(&format!("{}.", service.name)).is_ok_and(|pids| pids.len() == 1)
    }

    /// The daemon's log beside the services' own words.
    fn compare(&self) -> Result<Vec<String>> {
        let (mut complaints, mut recoveries, mut incidents) = (Vec::new(), 0, 0);
        let mut took_ms = Vec::new();
        for service in &self.services {
            let lives = service.lives()?;
            let log = Log::ask(&self.processguard, &self.home.socket(), &service.name)?;
            complaints.extend(log.complaints(service, &lives));
            recoveries += lives.len().saturating_sub(1);
            incidents += log.incidents;
            took_ms.extend(log.recoveries_ms);
        }
        took_ms.sort_by(f64::total_cmp);
        let quantile =
            |of: usize| took_ms.get((took_ms.len() * of / 100).min(took_ms.len().saturating_sub(1)));
        println!("{recoveries} recoveries in {incidents} incidents");
        if let (Some(median), Some(p99), Some(worst)) = (quantile(50), quantile(99), took_ms.last()) {
            println!(
                "{} of them single ones: death to the first good moment p50 {median:.2} ms, p99 {p99:.2} ms, worst {worst:.2} ms",
                took_ms.len()
            );
        }
        Ok(complaints)
    }

    /// Stops everything; what is left.
    fn stop_all(&self) -> Result<Vec<String>> {
        println!("stop: nothing of them is to be left");
        sh::quietly(&mut self.client(&["stop", "--all"]))?;
        let deadline = Instant::now() + SETTLES;
        loop {
            let mut rooms = self.rooms()?;
            rooms.retain(|room, _| room != "+keeper");
            if rooms.is_empty() {
                return Ok(Vec::new());
            }
            if Instant::now() > deadline {
                return Ok(vec![format!("left behind, room by room: {rooms:?}")]);
            }
            pause()?;
        }
    }

    /// Each control group below ours, and who is in it.
    fn rooms(&self) -> Result<HashMap<String, Vec<u32>>> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = [root.to_owned(), root.join("unified")];
        let group = hierarchies.iter().map(|hierarchy| hierarchy.join(&self.cgroup));
        // Whoever can be killed is of version 2.
        let group = group.into_iter().find(|group| group.join("cgroup.kill").exists());
        let group = group.context("no control group of version 2 is the daemon's")?;
        let mut rooms = HashMap::new();
        for entry in fs::read_dir(&group).context("list the rooms")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // A room may go while we look.
            if let Ok(text) = fs::read_to_string(entry.path().join("cgroup.procs")) {
                rooms.insert(name, text.lines().filter_map(|pid| pid.parse().ok()).collect());
            }
        }
        Ok(rooms)
    }

    fn pids_in(&self, prefix: &str) -> Result<Vec<u32>> {
        let rooms = self.rooms()?.into_iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(rooms.flat_map(|(_, pids)| pids).collect())
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.processguard);
        command.args(arguments).arg("--socket").arg(self.home.socket()).stdin(Stdio::null());
        command
    }

    /// The last words of the daemon.
    fn said(&self) -> String {
        let text = fs::read_to_string(self.home.at("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

/// Until the next look; Ctrl-C ends it all, and nothing stays behind.
fn pause() -> Result<()> {
    thread::sleep(TICK);
    ensure!(!run::is_enough(), "interrupted");
    Ok(())
}

/// Tells a process's trends; what is wrong with them.
fn trend(name: &str, samples: &[Sample]) -> Result<Vec<String>> {
    let (rss, files) = (Trend::of_rss(samples)?, Trend::of_files(samples)?);
    println!(
        "{name:<8} RSS {:.2} MB, in the second half {:+.3} MB (noise {:.3});  open files {:.0}, {:+.1} (noise {:.1})",
        rss.mean / 1e6,
        rss.growth / 1e6,
        rss.noise / 1e6,
        files.mean,
        files.growth,
        files.noise
    );
    let both = [("its memory", rss), ("the number of its open files", files)];
    let grows = both.into_iter().filter(|(_, trend)| !trend.is_flat());
    Ok(grows.map(|(what, trend)| format!("{name}: {what} grows by {:.0}", trend.growth)).collect())
}

fn seconds_since_1970() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
