//! The daemon's own file: what it is told with options otherwise. Read as policies are: strictly, with all errors at once.

use super::language::AbsolutePath;
use super::language::texts::Url;
use super::read::{Duration, Int, OneOrMany, Reader, Size, Text, Value as _};
use super::yaml::parse;
use super::{Bounds, Code, Diagnostic, Place, Severity, Source};

/// What a file says; what it does not say is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Files and directories of policies.
    pub policies: Vec<String>,
    /// Where state is kept.
    pub state: Option<String>,
    /// The API's socket.
    pub socket: Option<String>,
    /// Where metrics are served: address and port.
    pub metrics: Option<String>,
    /// Whose members may act: a name or a number.
    pub group: Option<String>,
    /// Who else may read.
    pub readers: Option<Readers>,
    /// Program and arguments that are told of alerts.
    pub alert_exec: Vec<String>,
    /// A URL that is told of alerts.
    pub alert_webhook: Option<String>,
    /// The control group below which services live.
    pub cgroup: Option<String>,
    /// Where the daemon's sockets are.
    pub runtime: Option<String>,
    /// Where the sensor is pinned.
    pub pins: Option<String>,
    /// Bytes of the kernel's ring.
    pub ring_size: Option<u64>,
    /// How often resources are sampled, in nanoseconds.
    pub sample_interval: Option<u64>,
    /// Bytes of each file of the recording.
    pub record_size: Option<u64>,
    /// How many of them are kept.
    pub record_keep: Option<u64>,
}

/// Who may read besides those who may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operator's own words")]
pub enum Readers {
    All,
    Group,
    None,
}

words! {
    Readers {
        /// Every user of this host.
        "all" = Self::All,
        /// Members of the socket's group.
        "group" = Self::Group,
        /// Nobody.
        "none" = Self::None,
    }
}

keys! {
    /// What the daemon is told with options otherwise; an option has the last word.
    struct ConfigKeys as "config" {
        /// Files and directories of policies.
        policies: Option<OneOrMany<Text>>,
        /// Where state is kept.
        state: Option<AbsolutePath>,
        /// The API's socket.
        socket: Option<AbsolutePath>,
        /// Where metrics are served: address and port, such as `127.0.0.1:9464`.
        metrics: Option<Text>,
        /// Whose members may act: a group's name or number.
        group: Option<Text>,
        /// Who else may read.
        readers: Option<Readers>,
        /// A program, and its arguments, that is told of alerts.
        alert_exec: Option<OneOrMany<Text>>,
        /// A URL that is told of alerts.
        alert_webhook: Option<Url>,
        /// The control group below which services live.
        cgroup: Option<Text>,
        /// Where the daemon's sockets are.
        runtime: Option<AbsolutePath>,
        /// Where the sensor is pinned.
        pins: Option<AbsolutePath>,
        /// The size of the kernel's ring.
        ring_size: Option<Size>,
        /// How often resources are sampled.
        sample_interval: Option<Duration>,
        /// The size of each file of the recording.
        record_size: Option<Size>,
        /// How many of them are kept.
        record_keep: Option<Int<1, 99_999>>,
    }
}

/// Reads such a file. `None`: something is wrong with it, and was told.
#[must_use]
pub fn read(source: Source<'_>) -> (Option<Config>, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    let parsed = parse(source, 0, &Bounds::default());
    parsed.diagnostics.into_iter().for_each(|diagnostic| reader.say(diagnostic));
    let config = match parsed.documents.as_slice() {
        // Empty, or comments alone: nothing is said.
        [] => Some(Config::default()),
        [document] => ConfigKeys::read(document, &mut reader).map(Config::from),
        [_, second, ..] => {
            let message = "a second document begins here, and there can be only one";
            reader.say(Diagnostic::new(Code::Document, Place::from(second.name), message));
            None
        }
    };
    let told = reader.told();
    let refused = told.iter().any(|diagnostic| diagnostic.severity() == Severity::Error);
    (config.filter(|_| !refused), told)
}

impl From<ConfigKeys> for Config {
    fn from(keys: ConfigKeys) -> Self {
        let text = |text: Text| text.0.to_string();
        let path = |path: AbsolutePath| path.0.to_string();
        let many = |many: Option<OneOrMany<Text>>| -> Vec<String> {
            many.map(|many| many.0.into_iter().map(text).collect()).unwrap_or_default()
        };
        Self {
            policies: many(keys.policies),
            state: keys.state.map(path),
            socket: keys.socket.map(path),
            metrics: keys.metrics.map(text),
            group: keys.group.map(text),
            readers: keys.readers,
            alert_exec: many(keys.alert_exec),
            alert_webhook: keys.alert_webhook.map(|url| url.0.to_string()),
            cgroup: keys.cgroup.map(text),
            runtime: keys.runtime.map(path),
            pins: keys.pins.map(path),
            ring_size: keys.ring_size.map(|size| size.0),
            sample_interval: keys.sample_interval.map(|span| span.0),
            record_size: keys.record_size.map(|size| size.0),
            record_keep: keys.record_keep.map(Int::to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Config>, Vec<String>) {
        let (config, told) = super::read(Source { name: "config", bytes: text.as_bytes() });
        (config, told.into_iter().map(|diagnostic| diagnostic.message).collect())
    }

    #[test]
    fn a_file_says_what_options_say() {
        let text = "policies: /etc/p\nmetrics: '[::1]:9464'\ngroup: ops\nreaders: all\nalert_exec: [/bin/tell, -v]\n\
                    ring_size: 8MiB\nsample_interval: 2s\nrecord_keep: 4\n";
        let (config, told) = read(text);
        assert_eq!(told, [""; 0]);
        let config = config.unwrap();
        assert_eq!((config.policies, config.readers), (vec!["/etc/p".to_owned()], Some(Readers::All)));
        assert_eq!(config.alert_exec, ["/bin/tell", "-v"]);
        assert_eq!((config.ring_size, config.sample_interval), (Some(8 << 20), Some(2_000_000_000)));
        assert_eq!((config.record_keep, config.state), (Some(4), None));
        assert_eq!(read("# nothing\n"), (Some(Config::default()), Vec::new()));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let (config, told) = read("sockets: /run/x\nring_size: 8\nreaders: everybody\nstate: relative\n");
        assert_eq!((config, told.len()), (None, 4), "{told:?}");
        let (config, told) = read("state: /a\n---\nstate: /b\n");
        assert_eq!((config, told.len()), (None, 1), "{told:?}");
    }
}
