//! What `{port}` and `{instance}` stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::policy::model::{
    AuthProbe, ExecProbe, HttpProbe, Log, LogTarget, NumberSource, Origin, Probe, Run, Service, TcpProbe,
    TlsProbe,
};

/// One instance's own values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill<'a> {
    pub(super) instance: u32,
    pub(super) port: Option<u16>,
    /// The service's user, for programs that name none.
    pub(super) user: Option<&'a str>,
}

impl<'a> Fill<'a> {
    /// Of an instance of a service.
    pub(super) fn of(policy: &'a Service, instance: u32) -> Self {
        let run = if let Origin::Run(run) = &policy.origin { Some(run) } else { None };
        let port = run.and_then(|run| run.port(instance));
        Fill { instance, port, user: run.and_then(|run| run.user.as_deref()) }
    }

    pub(super) fn text(&self, text: &str) -> String {
        if !text.contains('{') {
            return text.to_owned();
        }
        let text = text.replace("{instance}", &self.instance.to_string());
        match self.port {
            Some(port) => text.replace("{port}", &port.to_string()),
            None => text,
        }
    }

    fn texts(&self, texts: &[String]) -> Vec<String> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    pub(super) fn command(&self, command: &[String]) -> Vec<String> {
        self.texts(command)
    }

    pub(super) fn path(&self, path: &Path) -> PathBuf {
        path.to_str().map_or_else(|| path.to_owned(), |text| self.text(text).into())
    }

    fn map(&self, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        map.iter().map(|(key, value)| (key.clone(), self.text(value))).collect()
    }

    pub(super) fn run(&self, run: &Run) -> Run {
        let target = match &run.log.target {
            LogTarget::File { path, max_size, keep } => {
                LogTarget::File { path: self.path(path), max_size: *max_size, keep: *keep }
            }
            other => other.clone(),
        };
        Run {
            command: self.texts(&run.command),
            environment: self.map(&run.environment),
            directory: self.path(&run.directory),
            log: Log { target },
            ..run.clone()
        }
    }

    fn exec(&self, probe: &ExecProbe) -> ExecProbe {
        let user = probe.user.clone().or_else(|| self.user.map(str::to_owned));
        ExecProbe { command: self.texts(&probe.command), user, ..probe.clone() }
    }

    pub(super) fn probe(&self, probe: &Probe) -> Probe {
        match probe {
            Probe::Http(http) => Probe::Http(HttpProbe {
                url: self.text(&http.url),
                headers: self.map(&http.headers),
                ..http.clone()
            }),
            Probe::Tcp(tcp) => Probe::Tcp(TcpProbe { address: self.text(&tcp.address), ..tcp.clone() }),
            Probe::Exec(exec) => Probe::Exec(self.exec(exec)),
            Probe::Tls(tls) => Probe::Tls(TlsProbe { address: self.text(&tls.address), ..tls.clone() }),
            Probe::Auth(auth) => Probe::Auth(AuthProbe { url: self.text(&auth.url), ..auth.clone() }),
        }
    }

    pub(super) fn number(&self, source: &NumberSource) -> NumberSource {
        match source.clone() {
            NumberSource::Exec(exec) => NumberSource::Exec(self.exec(&exec)),
            NumberSource::Json { url, pointer, timeout } => {
                NumberSource::Json { url: self.text(&url), pointer, timeout }
            }
            NumberSource::Prometheus { url, metric, labels, timeout } => {
                NumberSource::Prometheus { url: self.text(&url), metric, labels: self.map(&labels), timeout }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_their_names_stood() {
        let fill = Fill { instance: 2, port: Some(8082), user: None };
        assert_eq!(fill.text("http://127.0.0.1:{port}/{instance}/{else}"), "http://127.0.0.1:8082/2/{else}");
        assert_eq!(Fill { port: None, ..fill }.text("{port}"), "{port}");
        assert_eq!(fill.path(Path::new("/var/log/web-{instance}.log")), Path::new("/var/log/web-2.log"));
    }
}
