//! Certificates: whose they are, who vouches for them, and how long they hold.

use guard_core::policy::model::{TlsProbe, TlsVersion};
use rustls::ProtocolVersion;
use x509_parser::parse_x509_certificate;

use super::dial;
use super::trust::Trust;
use super::verdict::{Bad, Deadline};
use crate::clock;

const DAY_S: i64 = 24 * 60 * 60;

/// Whether the certificate that is shown there is good, and for long enough.
pub(super) async fn probe(probe: &TlsProbe, trust: &Trust) -> Result<(), Bad> {
    let deadline = Deadline::after(probe.timeout);
    let (host, port) = dial::split(&probe.address)?;
    let connection = dial::connect(host, port, deadline).await?;
    let name = probe.name.as_deref().unwrap_or(host);
    let stream = match &probe.authorities {
        // Read each time: whoever renews them does not tell us.
        Some(file) => Trust::new(Some(file.clone())).handshake(connection, name, deadline).await?,
        None => trust.handshake(connection, name, deadline).await?,
    };
    let (_, session) = stream.get_ref();
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) && probe.min_version == TlsVersion::V1_3 {
        return Bad::fail("TLS 1.2 is spoken, at least 1.3 is asked for");
    }
    let Some(certificate) = session.peer_certificates().and_then(|chain| chain.first()) else {
        return Bad::fail("no certificate was shown");
    };
    let now_s = clock::boot_ns().cast_signed().saturating_add(clock::utc_offset_ns()) / 1_000_000_000;
    lasts(certificate, probe.days_left, now_s)
}

/// Whether a certificate holds for so many days from now.
fn lasts(certificate: &[u8], days: u32, now_s: i64) -> Result<(), Bad> {
    let (_, certificate) = match parse_x509_certificate(certificate) {
        Ok(parsed) => parsed,
        Err(error) => return Bad::fail(format!("the certificate cannot be read: {error}")),
    };
    let left = (certificate.validity().not_after.timestamp() - now_s).div_euclid(DAY_S);
    if left >= i64::from(days) {
        return Ok(());
    }
    let s = if left == 1 { "" } else { "s" };
    Bad::fail(format!("the certificate holds for {left} more day{s}, {days} are asked for"))
}
