//! Probes: questions with an answer.

use std::path::PathBuf;

use super::texts::{
    AbsolutePath, Account, Address, Argument, Command, Expression, HeaderName, HeaderValue, HostName, Method,
    Url,
};
use crate::limits::TIMER_NS;
use crate::policy::model::{
    AuthProbe, ExecProbe, Expected, HttpProbe, Probe, StatusRange, TcpProbe, TlsProbe, TlsVersion,
};
use crate::policy::read::{At, Duration, Int, Map, OneOrMany, Reader, Text};
use crate::policy::{Code, Diagnostic, Needed};

keys! {
    /// An HTTP request, and what its answer must be. A URL alone is `url`.
    struct HttpKeys as "http", short "url" {
        /// What is asked. `{port}` and `{instance}` are replaced.
        url: At<Url>,
        /// The request's method.
        method: Method = "GET",
        /// Sent besides our own.
        headers: Map<HeaderName, HeaderValue> = "{}",
        /// Good answers: a status code, a range, or a list of both.
        status: OneOrMany<StatusRange> = "200-399",
        /// What a good answer's body holds.
        body: Option<ExpectedKeys>,
        /// How long an answer may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// What a text must hold. A text alone is `contains`.
    struct ExpectedKeys as "expected", short "contains", one ["contains", "matches"] {
        /// This text.
        contains: Option<Text>,
        /// A match of this regular expression.
        matches: Option<Expression>,
    }
}

keys! {
    /// A connection, and what is said on it. An address alone is `address`.
    struct TcpKeys as "tcp", short "address", with ("send", "expect") {
        /// Host and port. `{port}` is replaced.
        address: At<Address>,
        /// Sent when connected.
        send: Option<Argument>,
        /// What comes back.
        expect: Option<ExpectedKeys>,
        /// How long all of it may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// A program whose exit code is the answer. A command alone is `command`.
    struct ExecKeys as "exec", short "command" {
        /// Program and arguments. `{port}` and `{instance}` are replaced.
        command: Command,
        /// Who runs it. Without it: the service's user.
        user: Option<At<Account>>,
        /// Good exit codes.
        success: OneOrMany<Int<0, 255>> = "0",
        /// How long it may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// A TLS handshake, and the certificate that it shows. An address alone is `address`.
    struct TlsKeys as "tls", short "address" {
        /// Host and port. `{port}` is replaced.
        address: At<Address>,
        /// The name that the certificate must be for. Without it: the host of `address`.
        name: Option<HostName>,
        /// Whom to trust: a file of certificates (PEM). Without it: the system's own.
        authorities: Option<At<AbsolutePath>>,
        /// Days that it must still hold.
        days_left: Int<0, 3650> = "14",
        /// The oldest version that will do.
        min_version: TlsVersion = "TLSv1.2",
        /// How long it may take.
        timeout: At<Duration> = "5s",
    }
}

keys! {
    /// A request without credentials, which must be refused. A URL alone is `url`.
    struct AuthKeys as "auth", short "url" {
        /// What is asked. `{port}` and `{instance}` are replaced.
        url: At<Url>,
        /// The request's method.
        method: Method = "GET",
        /// Answers that refuse: a status code, or a list of them.
        refused: OneOrMany<Int<100, 599>> = "[401, 403]",
        /// How long it may take.
        timeout: At<Duration> = "5s",
    }
}

words! {
    TlsVersion {
        /// Of 2008.
        "TLSv1.2" = Self::V1_2,
        /// Of 2018.
        "TLSv1.3" = Self::V1_3,
    }
}

impl HttpKeys {
    pub(super) fn build(&self, reader: &mut Reader) -> Option<HttpProbe> {
        warn_of_plain_http(&self.url, reader);
        let timeout = positive(&self.timeout, reader)?;
        Some(HttpProbe {
            url: self.url.value.0.to_string(),
            method: self.method.0.to_string(),
            headers: self
                .headers
                .0
                .iter()
                .map(|(name, value)| (name.0.to_string(), value.0.to_string()))
                .collect(),
            status: self.status.0.clone(),
            body: self.body.as_ref().and_then(ExpectedKeys::build),
            timeout,
        })
    }
}

impl ExpectedKeys {
    fn build(&self) -> Option<Expected> {
        let contains = self.contains.as_ref().map(|text| Expected::Contains(text.0.to_string()));
        contains.or_else(|| self.matches.as_ref().map(|regex| Expected::Matches(regex.text.to_string())))
    }
}

impl TcpKeys {
    pub(super) fn build(&self, reader: &mut Reader) -> Option<TcpProbe> {
        let timeout = positive(&self.timeout, reader);
        Some(TcpProbe {
            address: address(&self.address, reader)?,
            send: self.send.as_ref().map(|text| text.0.to_string()),
            expect: self.expect.as_ref().and_then(ExpectedKeys::build),
            timeout: timeout?,
        })
    }
}

impl ExecKeys {
    pub(super) fn build(&self, reader: &mut Reader) -> Option<ExecProbe> {
        reader.need(self.command.program, Needed::Program(self.command.words.first()?.clone()));
        if let Some(user) = &self.user {
            reader.need(user.spot, Needed::User(user.value.0.to_string()));
        }
        Some(ExecProbe {
            command: self.command.words.clone(),
            user: self.user.as_ref().map(|user| user.value.0.to_string()),
            success: self.success.0.iter().map(|code| code.to()).collect(),
            timeout: positive(&self.timeout, reader)?,
        })
    }
}

impl TlsKeys {
    pub(super) fn build(&self, reader: &mut Reader) -> Option<TlsProbe> {
        if let Some(file) = &self.authorities {
            reader.need(file.spot, Needed::File(file.value.0.to_string()));
        }
        let timeout = positive(&self.timeout, reader);
        Some(TlsProbe {
            address: address(&self.address, reader)?,
            name: self.name.as_ref().map(|name| name.0.to_string()),
            authorities: self.authorities.as_ref().map(|file| PathBuf::from(&*file.value.0)),
            days_left: self.days_left.to(),
            min_version: self.min_version,
            timeout: timeout?,
        })
    }
}

impl AuthKeys {
    pub(super) fn build(&self, reader: &mut Reader) -> Option<AuthProbe> {
        warn_of_plain_http(&self.url, reader);
        Some(AuthProbe {
            url: self.url.value.0.to_string(),
            method: self.method.0.to_string(),
            refused: self.refused.0.iter().map(|code| code.to()).collect(),
            timeout: positive(&self.timeout, reader)?,
        })
    }
}

/// One of the probes: the one that is there.
pub(super) fn build(
    http: Option<&HttpKeys>,
    tcp: Option<&TcpKeys>,
    exec: Option<&ExecKeys>,
    tls: Option<&TlsKeys>,
    auth: Option<&AuthKeys>,
    reader: &mut Reader,
) -> Option<Probe> {
    if let Some(http) = http {
        return http.build(reader).map(Probe::Http);
    }
    if let Some(tcp) = tcp {
        return tcp.build(reader).map(Probe::Tcp);
    }
    if let Some(exec) = exec {
        return exec.build(reader).map(Probe::Exec);
    }
    if let Some(tls) = tls {
        return tls.build(reader).map(Probe::Tls);
    }
    auth?.build(reader).map(Probe::Auth)
}

/// A span that something takes: more than nothing.
pub(super) fn positive(span: &At<Duration>, reader: &mut Reader) -> Option<u64> {
    if span.value.0 == 0 {
        let message = "nothing is done in no time: this must be longer than 0";
        reader.say(Diagnostic::new(Code::Bounds, span.spot.into(), message));
        return None;
    }
    if span.value.0 < TIMER_NS {
        let message = "this is shorter than 1ms, the shortest time that something is done in or waited for";
        let help = "is the unit right? `ns` and `us` are for bounds such as `above: 500us`";
        reader.say(Diagnostic::new(Code::Bounds, span.spot.into(), message).help(help));
        return None;
    }
    Some(span.value.0)
}

fn address(address: &At<Address>, reader: &mut Reader) -> Option<String> {
    let text = &address.value.0;
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    if port == "{port}" || port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Some(text.to_string());
    }
    let message = format!("`{port}` is not a port: ports go from 1 to 65535");
    reader.say(Diagnostic::new(Code::Bounds, address.spot.into(), message));
    None
}

/// Requests without TLS that leave the host: their answers prove little, and what they send can be read.
pub(super) fn warn_of_plain_http(url: &At<Url>, reader: &mut Reader) {
    let Some(rest) = url.value.0.strip_prefix("http://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if is_near(host) {
        return;
    }
    let message = format!("this request goes to `{host}` without TLS");
    let diagnostic = Diagnostic::new(Code::PlainHttp, url.spot.into(), message)
        .label("anybody on the way can read it, and answer it")
        .help("use `https://`, or probe an address of this host or network");
    reader.say(diagnostic);
}

/// Whether a host is this one, or in a private network, as far as its name tells.
fn is_near(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        Ok(std::net::IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
        Err(_) => {
            let private = [".localhost", ".local", ".internal", ".lan", ".home.arpa"];
            !host.contains('.') || private.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}
