//! Connections, and what is said on them.

use std::net::SocketAddr;
use std::time::Duration;

use guard_core::policy::model::{Expected, TcpProbe, bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::{self, Connection};
use super::expected::{Wanted, in_words};
use super::verdict::{Bad, Deadline};
use crate::show::escape;

/// Bytes of an answer that are looked through at most: a greeting or a line, not a document.
const MOST: usize = 64 * 1024;

/// An answer that comes in pieces is looked through when nothing more came for so long, not after every byte.
const PAUSE: Duration = Duration::from_millis(5);

/// Bytes of an answer that are shown.
const SHOWN: usize = 80;

/// Whether somebody listens there, and says what is expected.
pub(super) async fn probe(probe: &TcpProbe) -> Result<(), Bad> {
    let deadline = Deadline::after(probe.timeout);
    let (host, port) = dial::split(&probe.address)?;
    let Connection { mut stream, peer } = dial::connect(host, port, deadline).await?;
    if let Some(text) = &probe.send {
        let send =
            async { stream.write_all(text.as_bytes()).await.map_err(|error| Bad::of_io(&error, peer)) };
        deadline.of(|| format!("room for what is sent to {peer}"), send).await?;
    }
    let Some(expected) = &probe.expect else { return Ok(()) };
    hear(&mut stream, peer, expected, deadline).await
}

async fn hear(
    stream: &mut TcpStream,
    peer: SocketAddr,
    expected: &Expected,
    deadline: Deadline,
) -> Result<(), Bad> {
    let wanted = Wanted::new(expected)?;
    let (mut heard, mut looked) = (Vec::new(), 0);
    loop {
        let is_full = heard.len() >= MOST;
        let came = match (is_full, heard.len() > looked) {
            (true, _) => None,
            (false, true) => timeout(PAUSE, stream.read_buf(&mut heard)).await.ok(),
            (false, false) => match timeout_at(deadline.at(), stream.read_buf(&mut heard)).await {
                Ok(read) => Some(read),
                Err(_over) => return Err(deadline.missed(answer(&heard, expected))),
            },
        };
        let is_over = match came {
            Some(Err(error)) => return Err(Bad::of_io(&error, peer)),
            Some(Ok(more)) if more > 0 && !is_late(deadline) => continue,
            Some(Ok(more)) => more == 0,
            None => is_full,
        };
        if wanted.is_in(&heard, looked) {
            return Ok(());
        }
        looked = heard.len();
        if is_over {
            return Bad::fail(format!("the answer {}: {}", in_words(expected), shown(&heard)));
        }
        if is_late(deadline) {
            return Err(deadline.missed(answer(&heard, expected)));
        }
    }
}

fn is_late(deadline: Deadline) -> bool {
    Instant::now() >= deadline.at()
}

/// What did not come in time.
fn answer(heard: &[u8], expected: &Expected) -> String {
    if heard.is_empty() {
        return "answer".to_owned();
    }
    let wanted = match expected {
        Expected::Contains(text) => format!("answer with `{}`", escape::display(text.as_bytes())),
        Expected::Matches(pattern) => format!("answer that matches `{pattern}`"),
    };
    format!("{wanted} (what came: {})", shown(heard))
}

/// The beginning of what was heard, fit for a terminal.
fn shown(heard: &[u8]) -> String {
    match heard.get(..SHOWN) {
        _ if heard.is_empty() => "nothing came".to_owned(),
        Some(beginning) if heard.len() > SHOWN => {
            format!("`{}`... ({})", escape::display(beginning), bytes(heard.len() as u64))
        }
        _ => format!("`{}`", escape::display(heard)),
    }
}
