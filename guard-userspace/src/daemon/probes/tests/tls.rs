//! Certificates that are made here.

use guard_core::policy::model::{Probe, TlsProbe, TlsVersion};

use super::super::servers::{Authority, Server};
use super::*;

const DAY: i64 = 24 * 60 * 60;

fn probe(server: &Server, authority: &Authority) -> TlsProbe {
    TlsProbe {
        address: server.address.to_string(),
        name: Some("db.example".into()),
        authorities: Some(authority.file()),
        days_left: 0,
        min_version: TlsVersion::V1_2,
        timeout: 20 * SECOND,
    }
}

async fn seen(probe: TlsProbe) -> Answer {
    probed(Probe::Tls(probe)).await
}

#[tokio::test]
async fn names_issuers_and_days() {
    let authority = Authority::new();
    let server = authority.server("db.example", 5 * DAY + 60, false, "").await;
    let good = probe(&server, &authority);
    assert_eq!(seen(good.clone()).await, Answer::Pass);
    assert_eq!(seen(TlsProbe { min_version: TlsVersion::V1_3, ..good.clone() }).await, Answer::Pass);
    assert_eq!(seen(TlsProbe { days_left: 5, ..good.clone() }).await, Answer::Pass);
    assert_eq!(
        seen(TlsProbe { days_left: 6, ..good.clone() }).await,
        fail("the certificate holds for 5 more days, 6 are asked for")
    );
    let other = TlsProbe { name: Some("web.example".into()), ..good.clone() };
    let Answer::Fail(text) = seen(other).await else { panic!() };
    assert_eq!(text, "the certificate is not for `web.example`, but for `db.example`");
    let stranger = Authority::new();
    let distrusted = TlsProbe { authorities: Some(stranger.file()), ..good.clone() };
    assert_eq!(seen(distrusted).await, fail("the certificate's issuer is not trusted"));
    let missing = TlsProbe { authorities: Some("/nonexistent/ca.pem".into()), ..good.clone() };
    let Answer::Error(text) = seen(missing).await else { panic!() };
    assert!(text.starts_with("no certificate authority in `/nonexistent/ca.pem`: "), "{text}");
    let unnamed = TlsProbe { name: Some("not a name".into()), ..good };
    assert_eq!(seen(unnamed).await, error("`not a name` is no name that a certificate can be for"));
}

#[tokio::test]
async fn certificates_that_ran_out() {
    let authority = Authority::new();
    let server = authority.server("db.example", -DAY, false, "").await;
    assert_eq!(seen(probe(&server, &authority)).await, fail("the certificate has expired"));
}

#[tokio::test]
async fn old_versions() {
    let authority = Authority::new();
    let server = authority.server("db.example", DAY, true, "").await;
    assert_eq!(seen(probe(&server, &authority)).await, Answer::Pass);
    let strict = TlsProbe { min_version: TlsVersion::V1_3, ..probe(&server, &authority) };
    assert_eq!(seen(strict).await, fail("TLS 1.2 is spoken, at least 1.3 is asked for"));
}

#[tokio::test]
async fn servers_that_do_not_speak_it() {
    let authority = Authority::new();
    let server = Server::each(|_closed| async {}).await;
    let Answer::Fail(text) = seen(probe(&server, &authority)).await else { panic!() };
    let closed = format!("{} closed the connection during the TLS handshake", server.address);
    // Our first words may meet a connection that is closed already.
    assert!(text == closed || text == format!("connection reset by {}", server.address), "{text}");
    let server = Server::stalls(b"").await;
    let short = TlsProbe { timeout: 100 * MILLISECOND, ..probe(&server, &authority) };
    let text = format!("no TLS handshake with {} within 100ms", server.address);
    assert_eq!(seen(short).await, fail(text));
}
