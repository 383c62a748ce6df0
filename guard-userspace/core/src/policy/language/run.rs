//! `run`: what we start ourselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::texts::Argument;
use super::texts::{AbsolutePath, Account, Capability, Command, PortNumber, VariableName};
use crate::policy::model::{Instances, Limits, Log, LogTarget, Run, Scope};
use crate::policy::read::{At, Int, List, Map, Nothing, Percent, Reader, Size};
use crate::policy::yaml::Spot;
use crate::policy::{Code, Diagnostic, Needed};

keys! {
    /// How the service's processes are started.
    struct RunKeys as "run" {
        /// Program and arguments. `{port}` and `{instance}` are replaced.
        command: Command,
        /// Who runs it: a name or a number. Without it: whoever runs the daemon.
        user: Option<At<Account>>,
        /// With which group: a name or a number. Without it: the user's.
        group: Option<At<Account>>,
        /// The whole environment; only `PATH` has a default, and for a user with an entry in /etc/passwd `HOME`, `LOGNAME`, `SHELL`, `USER`.
        environment: Map<VariableName, Argument> = "{}",
        /// The working directory.
        directory: At<AbsolutePath> = "/",
        /// Ports of instances.
        ports: Option<PortKeys>,
        /// How many of them.
        instances: InstanceKeys = "{}",
        /// What they may use.
        limits: LimitKeys = "{}",
        /// Capabilities that are kept; without it, what the user has.
        capabilities: Option<List<Capability>>,
        /// Where standard output and error go.
        log: LogKeys = "journal",
    }
}

keys! {
    /// Ports of instances: `{port}` is `first` plus the instance's number, which counts from 0.
    struct PortKeys as "ports" {
        /// The port of instance 0.
        first: At<PortNumber>,
    }
}

keys! {
    /// How many processes of a kind. A number alone is `start`.
    struct InstanceKeys as "instances", short "start" {
        /// Fewer ready ones, and the service is down.
        min: Option<At<Int<0, 1024>>>,
        /// As many at first. Without it: `min`, or 1.
        start: Option<At<Int<0, 1024>>>,
        /// Never more. Without it: `start`.
        max: Option<At<Int<1, 1024>>>,
    }
}

keys! {
    /// What each instance may use.
    struct LimitKeys as "limits" {
        /// The control group's memory limit.
        memory: Option<At<Size>>,
        /// The control group's share of CPU time, in percent of one core.
        cpu: Option<At<Percent>>,
        /// Processes and threads in the control group.
        processes: Option<Int<1, 4_194_304>>,
        /// Open files of each process.
        open_files: Option<Int<3, 1_073_741_816>>,
        /// Size of core files.
        core: Option<Size>,
        /// `service`: shared by all instances.
        scope: Scope = "instance",
    }
}

keys! {
    /// Where standard output and error go.
    struct LogKeys as "log", words ["journal", "none"], one ["journal", "none", "file"], with ("max_size", "file"), with ("keep", "file") {
        /// To the journal, under the service's name.
        _journal("journal"): Option<Nothing>,
        /// Nowhere.
        none: Option<Nothing>,
        /// To this file, which is rotated. `{port}` and `{instance}` are replaced.
        file: Option<At<AbsolutePath>>,
        /// Rotated before it is larger. Without it: 64MiB.
        max_size: Option<At<Size>>,
        /// So many older ones are kept. Without it: 5.
        keep: Option<Int<0, 1000>>,
    }
}

words! {
    Scope {
        /// Each instance by itself.
        "instance" = Self::Instance,
        /// All instances together.
        "service" = Self::Service,
    }
}

/// Bytes after which a log is rotated if nothing is said.
const LOG_BYTES: u64 = 64 << 20;
/// Older logs that are kept if nothing is said.
const LOGS_KEPT: u32 = 5;
/// Bytes below which a rotated log would be rotated all the time.
const LOG_BYTES_LEAST: u64 = 4 << 10;

impl RunKeys {
    /// As the model has it.
    pub(crate) fn build(&self, reader: &mut Reader) -> Option<Run> {
        reader.need(self.command.program, Needed::Program(self.command.words.first()?.clone()));
        if let Some(user) = &self.user {
            reader.need(user.spot, Needed::User(user.value.0.to_string()));
        }
        if let Some(group) = &self.group {
            reader.need(group.spot, Needed::Group(group.value.0.to_string()));
        }
        if !self.directory.value.0.contains('{') {
            reader.need(self.directory.spot, Needed::Directory(self.directory.value.0.to_string()));
        }
        let instances = self.instances.build(reader);
        let first_port = self.first_port(instances, reader);
        let log = self.log.build(reader);
        let limits = self.limits.build(reader);
        Some(Run {
            command: self.command.words.clone(),
            user: self.user.as_ref().map(|user| user.value.0.to_string()),
            group: self.group.as_ref().map(|group| group.value.0.to_string()),
            environment: self.environment(),
            directory: PathBuf::from(&*self.directory.value.0),
            first_port: first_port?,
            instances: instances?,
            limits: limits?,
            capabilities: self.capabilities.as_ref().map(|list| {
                let mut names: Vec<String> = list.0.iter().map(|name| name.0.clone()).collect();
                names.sort_unstable();
                names.dedup();
                names
            }),
            log: log?,
        })
    }

    fn environment(&self) -> BTreeMap<String, String> {
        self.environment.0.iter().map(|(name, value)| (name.0.to_string(), value.0.to_string())).collect()
    }

    /// The first instance's port. The last one's must be one, too.
    fn first_port(&self, instances: Option<Instances>, reader: &mut Reader) -> Option<Option<u16>> {
        let Some(ports) = &self.ports else { return Some(None) };
        let first: u16 = ports.first.value.to();
        let max = instances.map_or(1, |instances| instances.max);
        let last = u32::from(first) + max.saturating_sub(1);
        if last > u32::from(u16::MAX) {
            let message = format!("the port of the last of {max} instances would be {last}");
            let diagnostic = Diagnostic::new(Code::Bounds, ports.first.spot.into(), message);
            let highest = u32::from(u16::MAX) + 1 - max;
            reader.say(diagnostic.help(format!("ports end at 65535: begin at {highest} at most")));
            return None;
        }
        Some(Some(first))
    }
}

impl InstanceKeys {
    fn build(&self, reader: &mut Reader) -> Option<Instances> {
        let number = |at: &At<Int<0, 1024>>| at.value.to::<u32>();
        let min = self.min.as_ref().map(number);
        let start = self.start.as_ref().map_or(min.unwrap_or(1), number);
        let max = self.max.as_ref().map_or(start.max(1), |max| max.value.to());
        let min = min.unwrap_or(start.min(1));
        let spot = |at: &Option<At<Int<0, 1024>>>| at.as_ref().map(|at| at.spot);
        let fine =
            in_order(("min", min, spot(&self.min)), ("start", start, spot(&self.start)), self.at, reader);
        let max_spot = self.max.as_ref().map(|max| max.spot);
        let also = in_order(
            ("start", start, spot(&self.start).or(spot(&self.min))),
            ("max", max, max_spot),
            self.at,
            reader,
        );
        (fine && also).then_some(Instances { min, start, max })
    }
}

/// Whether the first number is not above the second; it is told otherwise.
fn in_order(
    low: (&str, u32, Option<Spot>),
    high: (&str, u32, Option<Spot>),
    at: Spot,
    reader: &mut Reader,
) -> bool {
    if low.1 <= high.1 {
        return true;
    }
    let message = format!("`{}` is {}, above `{}`, which is {}", low.0, low.1, high.0, high.1);
    let place = high.2.or(low.2).unwrap_or(at);
    let mut diagnostic = Diagnostic::new(Code::Bounds, place.into(), message);
    if let (Some(low_at), Some(_)) = (low.2, high.2) {
        diagnostic = diagnostic.related(low_at.into(), format!("`{}` is {}", low.0, low.1));
    }
    reader.say(diagnostic.help("`min` is at most `start`, and `start` at most `max`"));
    false
}

impl LimitKeys {
    fn build(&self, reader: &mut Reader) -> Option<Limits> {
        if let Some(memory) = &self.memory
            && memory.value.0 < 1 << 20
        {
            let message = "no program runs in less than 1 MiB";
            reader.say(Diagnostic::new(Code::Bounds, memory.spot.into(), message).help("is the unit right?"));
            return None;
        }
        Some(Limits {
            per_service: self.scope == Scope::Service,
            memory: self.memory.as_ref().map(|memory| memory.value.0),
            cpu: match &self.cpu {
                Some(cpu) => Some(hundredths(cpu, reader)?),
                None => None,
            },
            processes: self.processes.map(Int::to),
            open_files: self.open_files.map(Int::to),
            core: self.core.map(|core| core.0),
        })
    }
}

/// A share of CPU time, in hundredths of a percent.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1 and 10 million")]
fn hundredths(cpu: &At<Percent>, reader: &mut Reader) -> Option<u64> {
    let share = cpu.value.0;
    if !(0.01..=100_000.0).contains(&share) {
        let message = format!("{share}% of a core is no limit: it goes from 0.01% to 100000%");
        reader.say(Diagnostic::new(Code::Bounds, cpu.spot.into(), message));
        return None;
    }
    Some((share * 100.0).round() as u64)
}

impl LogKeys {
    fn build(&self, reader: &mut Reader) -> Option<Log> {
        let target = if let Some(file) = &self.file {
            let max_size = self.max_size.map_or(LOG_BYTES, |size| size.value.0);
            if let Some(size) = &self.max_size
                && max_size < LOG_BYTES_LEAST
            {
                let message = "a log that is rotated before it has 4 KiB is rotated all the time";
                reader
                    .say(Diagnostic::new(Code::Bounds, size.spot.into(), message).help("is the unit right?"));
                return None;
            }
            let path = PathBuf::from(&*file.value.0);
            LogTarget::File { path, max_size, keep: self.keep.map_or(LOGS_KEPT, Int::to) }
        } else if self.none.is_some() {
            LogTarget::Null
        } else {
            LogTarget::Journal
        };
        Some(Log { target })
    }
}
