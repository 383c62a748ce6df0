//! Numbers from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use guard_core::ids::ProcId;
use guard_core::policy::model::{NumberSource, Span, bytes};
use hyper::body::Bytes;
use serde_json::Value;

use super::Means;
use super::exec;
use super::exposition;
use super::http::{self, Asked, BODY};
use super::trust::Trust;
use super::verdict::{Bad, Deadline, system};
use crate::sample::{PssError, pss};
use crate::show::escape;

/// Bytes of an exposition page: a large server's has thousands of lines.
const PAGE: usize = 8 << 20;

/// More bytes than this take so long to read that it is done where nobody waits for it.
const SMALL: usize = 64 * 1024;

/// Metrics pages are asked for in the form that everybody speaks.
const ACCEPT: (&str, &str) =
    ("accept", "text/plain;version=0.0.4, application/openmetrics-text;q=0.5, */*;q=0.1");

pub(super) async fn number(source: &NumberSource, means: &Means) -> Result<f64, Bad> {
    match source {
        NumberSource::Exec(probe) => exec::number(probe, means.programs.as_deref()).await,
        NumberSource::Json { url, pointer, timeout } => {
            let body = fetch(url, Vec::new(), BODY, *timeout, &means.trust).await?;
            let pointer = pointer.clone();
            aside(body, move |body| json(body, &pointer)).await
        }
        NumberSource::Prometheus { url, metric, labels, timeout } => {
            let body = fetch(url, vec![ACCEPT], PAGE, *timeout, &means.trust).await?;
            let (metric, labels) = (metric.clone(), labels.clone());
            aside(body, move |body| metric_in(body, &metric, &labels)).await
        }
    }
}

async fn fetch(
    url: &str,
    headers: Vec<(&str, &str)>,
    most: usize,
    timeout: Span,
    trust: &Trust,
) -> Result<Vec<u8>, Bad> {
    let asked = Asked { method: "GET", url, headers, body: Bytes::new(), most };
    let reply = http::exchange(&asked, trust, Deadline::after(timeout)).await?;
    if !(200..300).contains(&reply.status) {
        return Bad::own(format!("status {}", reply.status));
    }
    if reply.is_cut {
        return Bad::own(format!("the answer is longer than {}", bytes(most as u64)));
    }
    Ok(reply.body)
}

async fn aside(
    body: Vec<u8>,
    read: impl FnOnce(&[u8]) -> Result<f64, Bad> + Send + 'static,
) -> Result<f64, Bad> {
    if body.len() <= SMALL {
        return read(&body);
    }
    let read = tokio::task::spawn_blocking(move || read(&body));
    read.await.unwrap_or_else(|ended| Bad::own(format!("the answer was not read: {ended}")))
}

pub(super) fn json(body: &[u8], pointer: &str) -> Result<f64, Bad> {
    let document: Value = match serde_json::from_slice(body) {
        Ok(document) => document,
        Err(error) => return Bad::own(format!("the answer is not JSON: {error}")),
    };
    let kind = match document.pointer(pointer) {
        Some(Value::Number(number)) => {
            return number.as_f64().map_or_else(|| Bad::own("that number is too large"), Ok);
        }
        None => return Bad::own(format!("the answer has no `{pointer}`")),
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    };
    Bad::own(format!("`{pointer}` of the answer is {kind}, not a number"))
}

pub(super) fn metric_in(body: &[u8], metric: &str, labels: &BTreeMap<String, String>) -> Result<f64, Bad> {
    let Ok(page) = std::str::from_utf8(body) else {
        return Bad::own("the answer is no page of metrics: it is not UTF-8");
    };
    match exposition::sum(page, metric, labels) {
        Ok(Some(sum)) if sum.is_finite() => Ok(sum),
        Ok(Some(sum)) => Bad::own(format!("the sum of `{metric}` is {sum}")),
        Ok(None) if labels.is_empty() => Bad::own(format!("the page has no sample of `{metric}`")),
        Ok(None) => {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            Bad::own(format!("the page has no sample of `{metric}` with {}", labels.join(" and ")))
        }
        Err(error) => Bad::own(escape::message(&error.to_string())),
    }
}

/// When a file was last changed, in nanoseconds since the epoch. Exact to 256 ns, as the answer's type is: enough to see a change.
pub(super) fn changed(path: &Path) -> Result<f64, Bad> {
    let failed =
        |error| Bad::Own(format!("cannot see when {} was changed: {}", path.display(), system(&error)));
    let modified = std::fs::metadata(path).and_then(|file| file.modified()).map_err(failed)?;
    Ok(match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64() * 1e9,
        Err(before) => -before.duration().as_secs_f64() * 1e9,
    })
}

/// The proportional set size of these together. Those that have ended meanwhile have none.
pub(super) fn pss_of(processes: &[ProcId]) -> Result<f64, Bad> {
    let mut sum = None;
    for &process in processes {
        match pss(process) {
            Ok(size) => sum = Some(sum.unwrap_or(0u64).saturating_add(size)),
            Err(PssError::Ended(_) | PssError::NoMemory(_)) => {}
            Err(error @ PssError::Read { .. }) => return Bad::own(crate::daemon::others::in_words(&error)),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
    sum.map_or_else(|| Bad::own("none of the processes lives any more"), |sum| Ok(sum as f64))
}
