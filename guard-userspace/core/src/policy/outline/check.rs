//! `checks`.

use super::origin::account;
use super::{Keys, Outline, labels, nothing, single, texts, word};
use crate::policy::model::{
    Bound, Check, CheckKind, ExecProbe, Expected, Flap, Marker, NumberSource, Probe, Scope, Signal,
    StatusRange, Threshold, TlsVersion, Unit,
};

pub(super) fn check(check: &Check) -> Outline {
    let mut keys = Keys::default();
    match &check.kind {
        CheckKind::Probe(repeated) => {
            let (name, value) = probe(&repeated.probe);
            keys.put(name, value);
            keys.span("every", repeated.every);
            match repeated.fail {
                Flap::Row(count) => keys.word("fail_after", count),
                Flap::Of { bad, last } => keys.word("fail_after", format!("{bad} of {last}")),
            }
            keys.word("pass_after", repeated.pass_after);
        }
        CheckKind::Threshold(threshold) => self::threshold(&mut keys, threshold),
    }
    keys.word("scope", scope(check.scope));
    keys.span("grace", check.grace);
    keys.done()
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Instance => "instance",
        Scope::Service => "service",
    }
}

fn threshold(keys: &mut Keys, threshold: &Threshold) {
    let Threshold { signal, every, bound, clear, hold, keep, samples } = threshold;
    let unit = signal.unit();
    keys.word("signal", signal.name());
    match signal {
        Signal::MemoryGrowth { window }
        | Signal::RunQueueP99 { window }
        | Signal::Uninterruptible { window }
        | Signal::Restarts { window } => keys.span("window", *window),
        Signal::ResponseTime { of, quantile, window } => {
            keys.text("check", of);
            keys.word("quantile", Unit::Percent.exact(quantile * 100.0));
            keys.span("window", *window);
        }
        Signal::Exits { causes, window } => {
            if !causes.is_empty() {
                keys.put("causes", texts(causes));
            }
            keys.span("window", *window);
        }
        Signal::Progress { of } => keys.put("progress_of", marker(of)),
        Signal::Number(source) => {
            let (name, value) = number(source);
            keys.put(name, value);
        }
        _ => {}
    }
    match bound {
        Bound::Above(value) => {
            keys.word("above", unit.exact(*value));
            keys.word("clear_below", unit.exact(*clear));
        }
        Bound::Below(value) => {
            keys.word("below", unit.exact(*value));
            keys.word("clear_above", unit.exact(*clear));
        }
    }
    match samples {
        Some((bad, last)) => keys.word("samples", format!("{bad} of {last}")),
        None => keys.span("for", *hold),
    }
    keys.span("keep_for", *keep);
    keys.span("every", *every);
}

fn marker(marker: &Marker) -> Outline {
    match marker {
        Marker::Log => single("log", nothing()),
        Marker::Cpu => single("cpu", nothing()),
        Marker::Io => single("io", nothing()),
        Marker::File(path) => single("file", Outline::Text(path.to_string_lossy().into_owned())),
        Marker::Number(source) => {
            let (name, value) = number(source);
            single(name, value)
        }
    }
}

fn number(source: &NumberSource) -> (&'static str, Outline) {
    let mut keys = Keys::default();
    match source {
        NumberSource::Exec(probe) => ("exec", exec(probe)),
        NumberSource::Json { url, pointer, timeout } => {
            keys.text("url", url);
            keys.text("pointer", pointer);
            keys.span("timeout", *timeout);
            ("json", keys.done())
        }
        NumberSource::Prometheus { url, metric, labels: wanted, timeout } => {
            keys.text("url", url);
            keys.text("metric", metric);
            keys.filled("labels", labels(wanted));
            keys.span("timeout", *timeout);
            ("prometheus", keys.done())
        }
    }
}

pub(super) fn probe(probe: &Probe) -> (&'static str, Outline) {
    let mut keys = Keys::default();
    let name = match probe {
        Probe::Http(http) => {
            keys.text("url", &http.url);
            keys.text("method", &http.method);
            keys.filled("headers", labels(&http.headers));
            keys.put("status", Outline::List(http.status.iter().map(status).collect()));
            keys.maybe("body", http.body.as_ref().map(expected));
            "http"
        }
        Probe::Tcp(tcp) => {
            keys.text("address", &tcp.address);
            keys.maybe("send", tcp.send.clone().map(Outline::Text));
            keys.maybe("expect", tcp.expect.as_ref().map(expected));
            "tcp"
        }
        Probe::Exec(probe) => return ("exec", exec(probe)),
        Probe::Tls(tls) => {
            keys.text("address", &tls.address);
            keys.maybe("name", tls.name.clone().map(Outline::Text));
            let authorities = tls.authorities.as_ref().map(|path| path.to_string_lossy().into_owned());
            keys.maybe("authorities", authorities.map(Outline::Text));
            keys.word("days_left", tls.days_left);
            let version = match tls.min_version {
                TlsVersion::V1_2 => "TLSv1.2",
                TlsVersion::V1_3 => "TLSv1.3",
            };
            keys.word("min_version", version);
            "tls"
        }
        Probe::Auth(auth) => {
            keys.text("url", &auth.url);
            keys.text("method", &auth.method);
            keys.put("refused", Outline::List(auth.refused.iter().map(word).collect()));
            "auth"
        }
    };
    keys.span("timeout", probe.timeout());
    (name, keys.done())
}

fn status(range: &StatusRange) -> Outline {
    if range.first == range.last {
        word(range.first)
    } else {
        word(format!("{}-{}", range.first, range.last))
    }
}

fn expected(expected: &Expected) -> Outline {
    match expected {
        Expected::Contains(text) => single("contains", Outline::Text(text.clone())),
        Expected::Matches(pattern) => single("matches", Outline::Text(pattern.clone())),
    }
}

fn exec(probe: &ExecProbe) -> Outline {
    let mut keys = Keys::default();
    keys.put("command", texts(&probe.command));
    keys.maybe("user", probe.user.as_deref().map(account));
    keys.put("success", Outline::List(probe.success.iter().map(word).collect()));
    keys.span("timeout", probe.timeout);
    keys.done()
}
