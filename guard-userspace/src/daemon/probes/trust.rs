//! Whom TLS connections trust.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::Connection;
use super::verdict::{Bad, Deadline, system};

/// Certificate authorities, read when they are needed for the first time.
#[derive(Default)]
pub(in crate::daemon) struct Trust {
    /// A PEM file; `None`: the system's own.
    file: Option<PathBuf>,
    loaded: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    pub(in crate::daemon) fn new(file: Option<PathBuf>) -> Self {
        Self { file, loaded: OnceCell::new() }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, Bad> {
        let loaded = self.loaded.get_or_try_init(|| async {
            let file = self.file.clone();
            // Hundreds of files: not while others wait.
            let config = tokio::task::spawn_blocking(move || load(file.as_deref()));
            config.await.unwrap_or_else(|ended| Bad::own(format!("authorities were not read: {ended}")))
        });
        Ok(Arc::clone(loaded.await?))
    }

    /// Makes a connection a TLS one, with whom is expected there.
    pub(super) async fn handshake(
        &self,
        connection: Connection,
        host: &str,
        deadline: Deadline,
    ) -> Result<TlsStream<TcpStream>, Bad> {
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            return Bad::own(format!("`{host}` is no name that a certificate can be for"));
        };
        let connector = TlsConnector::from(self.config().await?);
        let Connection { stream, peer } = connection;
        let handshake = async {
            let refused = match connector.connect(name, stream).await {
                Ok(stream) => return Ok(stream),
                Err(refused) => refused,
            };
            match refused.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(error) => Bad::fail(refusal(error)),
                None if refused.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Bad::fail(format!("{peer} closed the connection during the TLS handshake"))
                }
                None => Err(Bad::of_io(&refused, peer)),
            }
        };
        deadline.of(|| format!("TLS handshake with {peer}"), handshake).await
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("file", &self.file).finish_non_exhaustive()
    }
}

fn load(file: Option<&Path>) -> Result<Arc<ClientConfig>, Bad> {
    let (CertificateResult { certs, errors, .. }, place) = match file {
        Some(file) => (load_certs_from_paths(Some(file), None), format!("`{}`", file.display())),
        None => {
            (load_native_certs(), "this system (Debian's package `ca-certificates` brings them)".to_owned())
        }
    };
    let mut roots = RootCertStore::empty();
    let (good, _passed_over) = roots.add_parsable_certificates(certs);
    if good == 0 {
        let why = errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Bad::own(format!("no certificate authority in {place}{why}"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Bad::Own(format!("TLS cannot be set up: {error}")))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // A session that goes on shows no certificate, and it is the certificate that is asked for.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Why a handshake ended, in words.
fn refusal(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet".to_owned()
            }
            CertificateError::UnknownIssuer => "the certificate's issuer is not trusted".to_owned(),
            CertificateError::BadSignature => "the certificate was not signed by its issuer".to_owned(),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented: Vec<String> =
                    presented.iter().map(|name| format!("`{}`", bare_name(name))).collect();
                format!(
                    "the certificate is not for `{}`, but for {}",
                    expected.to_str(),
                    presented.join(", ")
                )
            }
            other => format!("the certificate is not valid: {other}"),
        },
        rustls::Error::InvalidMessage(_) => "what came is not TLS".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the TLS handshake was refused: {alert:?}"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

/// `db.example` of `DnsName("db.example")`.
fn bare_name(name: &str) -> &str {
    name.split_once("(\"").and_then(|(_kind, name)| name.strip_suffix("\")")).unwrap_or(name)
}

/// Errors of reading and writing on a connection that may be a TLS one.
pub(super) fn of_stream(error: &std::io::Error, peer: std::net::SocketAddr) -> Bad {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => Bad::Fail(refusal(inner)),
        None if error.raw_os_error().is_none() && error.kind() == std::io::ErrorKind::Other => {
            Bad::Fail(format!("{peer}: {}", system(error)))
        }
        None => Bad::of_io(error, peer),
    }
}
