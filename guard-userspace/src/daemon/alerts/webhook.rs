//! A server that is told of each alert.

use std::time::Duration;

use hyper::body::Bytes;

use crate::daemon::probes::http::{self, Asked};
use crate::daemon::probes::trust::Trust;
use crate::daemon::probes::verdict::Deadline;

/// How long each try may take, in nanoseconds.
const TIMEOUT_NS: u64 = 10_000_000_000;

/// How to tell a server.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) trust: Trust,
    /// Before the second try, and before the third.
    pub(super) waits: [Duration; 2],
}

impl Default for Webhook {
    fn default() -> Self {
        Self { trust: Trust::default(), waits: [Duration::from_secs(1), Duration::from_secs(5)] }
    }
}

impl Webhook {
    pub(super) async fn tell(&self, url: &str, document: &str) -> Result<(), String> {
        let mut waits = self.waits.iter();
        let mut tries = 1;
        loop {
            let (why, may_help) = match self.post(url, document).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            // The URL may be a secret, and is known to whoever set it.
            let why = why.replace(url, "the webhook's URL");
            let Some(wait) = waits.next().filter(|_| may_help) else {
                let s = if tries == 1 { "y" } else { "ies" };
                return Err(format!("{why} ({tries} tr{s})"));
            };
            tokio::time::sleep(*wait).await;
            tries += 1;
        }
    }

    /// What went wrong, and whether trying again may help.
    async fn post(&self, url: &str, document: &str) -> Result<(), (String, bool)> {
        let asked = Asked {
            method: "POST",
            url,
            headers: vec![("content-type", "application/json")],
            body: Bytes::copy_from_slice(document.as_bytes()),
            most: 0,
        };
        let reply = http::exchange(&asked, &self.trust, Deadline::after(TIMEOUT_NS)).await;
        match reply.map(|reply| reply.status) {
            Ok(200..300) => Ok(()),
            // Too slow, too many, or its own trouble.
            Ok(status @ (408 | 429 | 500..)) => Err((format!("status {status}"), true)),
            Ok(status) => Err((format!("status {status}"), false)),
            Err(bad) => Err((bad.to_string(), true)),
        }
    }
}
