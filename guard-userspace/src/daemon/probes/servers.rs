//! Servers for tests: small real ones that behave oddly.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Serves until it is dropped.
pub(in crate::daemon) struct Server {
    pub(in crate::daemon) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Each connection is given to `serve`, one after the other.
    pub(in crate::daemon) async fn each<F: Future<Output = ()> + Send>(
        mut serve: impl FnMut(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream).await;
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Hears a request's head and says this, whatever was asked.
    pub(in crate::daemon) async fn says(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::each(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                head(&mut stream).await;
                let _gone = stream.write_all(&answer).await;
                let _gone = stream.shutdown().await;
                let _rest = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    /// An answer of HTTP.
    pub(in crate::daemon) async fn answers(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::says(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")).await
    }

    /// Says this at once, and then nothing, for ever.
    pub(in crate::daemon) async fn stalls(beginning: &'static [u8]) -> Self {
        let mut held = Vec::new();
        Self::each(move |stream| {
            stream.try_write(beginning).unwrap_or_default();
            held.push(stream.into_std().unwrap());
            async {}
        })
        .await
    }

    /// Says a byte of this each millisecond.
    pub(in crate::daemon) async fn drips(text: &'static [u8]) -> Self {
        Self::each(move |mut stream| async move {
            stream.set_nodelay(true).unwrap();
            for byte in text {
                let _gone = stream.write_all(&[*byte]).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }

    /// Hears something and breaks the connection off.
    pub(in crate::daemon) async fn resets() -> Self {
        Self::each(|mut stream| async move {
            let _heard = stream.read_u8().await;
            stream.set_zero_linger().unwrap();
        })
        .await
    }

    pub(in crate::daemon) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Reads up to the empty line; gives what was read.
pub(in crate::daemon) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// How many authorities there were.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Who vouches for the certificates of a test.
pub(in crate::daemon) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub(in crate::daemon) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // Of two authorities with one name, the one would be taken for the other.
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), directory }
    }

    pub(in crate::daemon) fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A server for this name with a certificate that holds for so many seconds from now.
    pub(in crate::daemon) async fn server(
        &self,
        name: &str,
        holds_s: i64,
        only_1_2: bool,
        answer: &'static str,
    ) -> Server {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let now = date_time_ymd(1970, 1, 1) + std::time::UNIX_EPOCH.elapsed().unwrap();
        params.not_before = now - Duration::from_secs(10 * 24 * 60 * 60);
        params.not_after = if holds_s < 0 {
            now - Duration::from_secs(holds_s.unsigned_abs())
        } else {
            now + Duration::from_secs(holds_s.unsigned_abs())
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = if only_1_2 { vec![&TLS12] } else { vec![&TLS12, &TLS13] };
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::each(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if !answer.is_empty() {
                    head(&mut stream).await;
                    let _gone = stream.write_all(answer.as_bytes()).await;
                }
                let _gone = stream.shutdown().await;
                let _rest = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }
}
