//! `processguard daemon`: its options and its file. What it does with them is in `daemon/`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use guard_core::policy::config::{self, Config};

use super::values;
use crate::daemon::api::{Readers, SOCKET};
use crate::daemon::settings::{CGROUP, POLICIES, RUNTIME, STATE, Settings};
use crate::exit::{Failure, HELP, say};
use crate::policy::files;
use crate::policy::load::colour;
use crate::policy::render::{self, Finding};
use crate::recording::writer::Rotation;
use crate::sensor::pins::PINS;

const EXAMPLES: &str = "\
EXAMPLES
  processguard daemon
      keep all services of /etc/processguard/policies
  processguard daemon --policies p/ --state /tmp/pg --socket /tmp/pg.sock
      try something out: another state, another socket
  processguard daemon --group ops --readers all --metrics 127.0.0.1:9464
      members of ops may act, everybody may look, Prometheus may scrape
  systemctl enable --now processguard
      as a service of systemd: the unit that is shipped restarts it, watches it,
      and spares its services

FILES
  /etc/processguard/policies   policies: all *.yaml and *.yml below it
  /var/lib/processguard        state and the recording; of one daemon at a time
  /run/processguard/api.sock   where `processguard status` and all verbs ask
  FILE of --config             YAML whose keys are the options' names, with `_`
                               for `-`; options have the last word:
                                 metrics: 127.0.0.1:9464
                                 group: ops
                                 sample_interval: 2s

SIGNALS
  SIGHUP            read the policies again, as `processguard reload` does
  SIGTERM, SIGINT   the daemon ends; services go on, and the next daemon takes
                    them up, with their budgets, incidents and holds. To end
                    them too: `processguard stop --all`, or
                    --stop-services-on-exit
  SIGKILL           the same, without a farewell: nothing is lost

";

/// Keep services as their policies say: start, watch, restart, and tell
///
/// Needs root. Services that policies `run` are started; those that they `adopt` are found. The daemon may be killed,
/// upgraded or crash at any moment: services and their logs go on, and the next daemon continues where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// A file, or a directory of files, of policies; may be given again [default: /etc/processguard/policies]
    #[arg(long, value_name = "DIR|FILE", help_heading = "Services")]
    policies: Vec<PathBuf>,

    /// The control group below which services live [default: processguard]
    #[arg(long, value_name = "NAME", value_parser = values::cgroup_name, help_heading = "Services")]
    cgroup: Option<String>,

    /// How often resources of services are sampled [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::sample_interval, help_heading = "Services")]
    sample_interval: Option<Duration>,

    /// On SIGTERM and SIGINT stop all services too, each before those that it depends on
    #[arg(long, help_heading = "Services")]
    stop_services_on_exit: bool,

    /// Where state is kept [default: /var/lib/processguard]
    #[arg(long, value_name = "DIR", help_heading = "Places")]
    state: Option<PathBuf>,

    /// Where the daemon answers [default: /run/processguard/api.sock]
    #[arg(long, value_name = "PATH", help_heading = "Places")]
    socket: Option<PathBuf>,

    /// Where its other sockets are [default: /run/processguard]
    #[arg(long, value_name = "DIR", help_heading = "Places")]
    runtime: Option<PathBuf>,

    /// Where the sensor is pinned [default: /sys/fs/bpf/processguard]
    #[arg(long, value_name = "DIR", help_heading = "Places")]
    pins: Option<PathBuf>,

    /// A file that says what options say
    #[arg(long, value_name = "FILE", help_heading = "Places")]
    config: Option<PathBuf>,

    /// Members of this group may act, besides root
    #[arg(long, value_name = "GROUP", value_parser = values::gid, help_heading = "Who may ask")]
    group: Option<u32>,

    /// Who may look, besides those who may act [default: group]
    #[arg(long, value_name = "WHO", help_heading = "Who may ask")]
    readers: Option<Readers>,

    /// Serve metrics for Prometheus at this address and port; whoever reaches it may read them
    #[arg(long, value_name = "ADDR", value_parser = values::socket_address, help_heading = "Who is told")]
    metrics: Option<SocketAddr>,

    /// Run this program for each alert, with the alert as JSON on its standard input
    #[arg(long, value_name = "PROGRAM", value_parser = values::program, help_heading = "Who is told")]
    alert_exec: Option<String>,

    /// Send each alert as JSON to this http: or https: URL
    #[arg(long, value_name = "URL", value_parser = values::url, help_heading = "Who is told")]
    alert_webhook: Option<String>,

    /// Size of the kernel's ring buffer, a power of two [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::ring_size, help_heading = "Sensor")]
    ring_size: Option<u32>,

    /// Size of each file of the recording, which is in the state's directory [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::max_size, help_heading = "Sensor")]
    record_size: Option<u64>,

    /// How many of them to keep, the current one included [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=99_999), help_heading = "Sensor")]
    record_keep: Option<u64>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        crate::daemon::run(self.settings()?)
    }

    /// What holds: options, else the file, else what is usual.
    fn settings(self) -> Result<Settings, Failure> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Config::default(),
        };
        let or = |option: Option<PathBuf>, file: Option<String>, usual: &str| {
            option.or_else(|| file.map(PathBuf::from)).unwrap_or_else(|| usual.into())
        };
        let policies = match (self.policies.is_empty(), file.policies.is_empty()) {
            (false, _) => self.policies,
            (true, false) => file.policies.into_iter().map(PathBuf::from).collect(),
            (true, true) => vec![POLICIES.into()],
        };
        let alert_exec = match (self.alert_exec, file.alert_exec.as_slice()) {
            (Some(program), _) => vec![program],
            (None, [program, ..]) => {
                checked("alert_exec", Some(program.clone()), values::program)?;
                file.alert_exec
            }
            (None, []) => Vec::new(),
        };
        // Each is checked as the option is.
        let ring = file.ring_size.map(|bytes| format!("{bytes}B"));
        let every = file.sample_interval.map(|every_ns| format!("{every_ns}ns"));
        let size = file.record_size.map(|bytes| format!("{bytes}B"));
        // The keeper works elsewhere: to it a relative path would be another one.
        let runtime = std::path::absolute(or(self.runtime, file.runtime, RUNTIME))
            .map_err(|source| Failure::System { action: "find the runtime directory", source })?;
        Ok(Settings {
            policies,
            state: or(self.state, file.state, STATE),
            socket: or(self.socket, file.socket, SOCKET),
            metrics: self.metrics.or(checked("metrics", file.metrics, values::socket_address)?),
            group: self.group.or(checked("group", file.group, values::gid)?),
            readers: self.readers.or(file.readers.map(Readers::from)).unwrap_or_default(),
            alert_exec,
            alert_webhook: self.alert_webhook.or(file.alert_webhook),
            cgroup: self
                .cgroup
                .or(checked("cgroup", file.cgroup, values::cgroup_name)?)
                .unwrap_or_else(|| CGROUP.to_owned()),
            runtime,
            pins: or(self.pins, file.pins, PINS),
            ring_bytes: self.ring_size.or(checked("ring_size", ring, values::ring_size)?),
            sample_interval: self
                .sample_interval
                .or(checked("sample_interval", every, values::sample_interval)?)
                .unwrap_or(Duration::from_secs(1)),
            record: Rotation {
                max_bytes: self
                    .record_size
                    .or(checked("record_size", size, values::max_size)?)
                    .unwrap_or(64 << 20),
                keep: self.record_keep.or(file.record_keep).unwrap_or(4),
            },
            stop_services_on_exit: self.stop_services_on_exit,
        })
    }
}

impl From<config::Readers> for Readers {
    fn from(readers: config::Readers) -> Self {
        match readers {
            config::Readers::All => Self::All,
            config::Readers::Group => Self::Group,
            config::Readers::None => Self::None,
        }
    }
}

fn read(path: &std::path::Path) -> Result<Config, Failure> {
    let texts = files::read(vec![path.to_owned()])?;
    let sources = texts.iter().map(files::Text::source).next();
    let (config, told) = sources.map(config::read).unwrap_or_default();
    let findings: Vec<Finding> = told.into_iter().map(Finding::from).collect();
    if !findings.is_empty() {
        say(render::text(&texts, &findings, colour(std::io::stderr())).trim_end());
    }
    config.ok_or_else(|| Failure::Usage(format!("--config: {} has errors; see above", files::shown(path))))
}

/// What a key of the file says, if the option of that name could say it.
fn checked<T>(
    key: &str,
    value: Option<String>,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let checked = check(&value);
    checked.map(Some).map_err(|why| {
        Failure::Usage(crate::show::escape::message(&format!("--config: {key}: {value}: {why}")))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn settings(line: &[&str]) -> Result<Settings, String> {
        let line = Line::try_parse_from(std::iter::once(&"daemon").chain(line))
            .map_err(|error| error.to_string())?;
        line.arguments.settings().map_err(|failure| failure.line())
    }

    #[test]
    fn nothing_said_is_what_the_help_says() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.policies, [PathBuf::from("/etc/processguard/policies")]);
        assert_eq!(settings.socket, PathBuf::from("/run/processguard/api.sock"));
        assert_eq!(settings.pins, PathBuf::from("/sys/fs/bpf/processguard"));
        assert_eq!((settings.readers, settings.group, settings.metrics), (Readers::Group, None, None));
        assert_eq!(settings.record, Rotation { max_bytes: 64 << 20, keep: 4 });
    }

    #[test]
    fn options_have_the_last_word_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, "state: /a\nsocket: /b\nreaders: all\nmetrics: 127.0.0.1:1\ngroup: root\n")
            .unwrap();
        let file = file.to_str().unwrap();
        let settings = settings(&["--config", file, "--socket", "/c", "--readers", "none"]).unwrap();
        assert_eq!((settings.state, settings.socket), (PathBuf::from("/a"), PathBuf::from("/c")));
        assert_eq!((settings.readers, settings.group), (Readers::None, Some(0)));
        assert_eq!(settings.metrics, Some("127.0.0.1:1".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_is_said_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        for (text, said) in [
            ("ring_size: 10MiB\n", "ring_size"),
            ("metrics: localhost\n", "metrics"),
            ("group: no-such-group\n", "group"),
            ("sample_interval: 1ms\n", "sample_interval"),
            ("cgroup: ../x\n", "cgroup"),
            ("unknown: 1\n", "has errors"),
        ] {
            std::fs::write(&file, text).unwrap();
            let why = settings(&["--config", file.to_str().unwrap()]).unwrap_err();
            assert!(why.contains("--config") && why.contains(said), "{text}: {why}");
        }
        assert!(settings(&["--config", "/no/such/file"]).unwrap_err().contains("cannot read"));
    }
}
