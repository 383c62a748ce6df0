//! Waits as JSON, both ways: histograms as arrays, with two of their quantiles for those who only look.

use guard_core::latency::{BUCKETS, GroupLatency, Histogram, Latency, Waited};

use super::model;
use super::read::{Error, field};
use super::write::{number, value};

/// The name of what a stalled thread waited for.
pub(super) const fn kind(what: Waited) -> &'static str {
    match what {
        Waited::RunQueue(_) => "run_queue",
        Waited::Uninterruptible => "uninterruptible",
    }
}

/// What a watch group waited.
pub(super) fn latency(out: &mut Vec<u8>, latency: &Latency) {
    let GroupLatency { run_queue, voluntary, involuntary, uninterruptible, negative, missed } =
        &latency.waits;
    value(out, r#","latency":{"group":"#, latency.group);
    value(out, r#","interval_ns":"#, latency.interval_ns);
    histogram(out, r#","run_queue":"#, run_queue);
    histogram(out, r#","voluntary":"#, voluntary);
    histogram(out, r#","involuntary":"#, involuntary);
    histogram(out, r#","uninterruptible":"#, uninterruptible);
    value(out, r#","negative":"#, *negative);
    value(out, r#","missed":"#, *missed);
    out.push(b'}');
}

/// Element `n` of the array counts the waits from 2^n us to below 2^(n+1) us, the first one also those below;
/// the zeros at its end are left out.
fn histogram(out: &mut Vec<u8>, key: &str, histogram: &Histogram) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(br#"{"buckets_log2_us":["#);
    let last = histogram.buckets.iter().rposition(|&waits| waits != 0);
    for (index, waits) in histogram.buckets.iter().take(last.map_or(0, |last| last + 1)).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        number(out, *waits);
    }
    out.push(b']');
    for (key, share) in [(r#","p50_ns":"#, 0.5), (r#","p99_ns":"#, 0.99)] {
        if let Some(nanoseconds) = histogram.quantile_ns(share) {
            value(out, key, nanoseconds);
        }
    }
    out.push(b'}');
}

/// Reads it back.
pub(super) fn from(part: &model::LatencyPart) -> Result<Latency, Error> {
    let waits = GroupLatency {
        run_queue: buckets(&part.run_queue)?,
        voluntary: buckets(&part.voluntary)?,
        involuntary: buckets(&part.involuntary)?,
        uninterruptible: buckets(&part.uninterruptible)?,
        negative: part.negative,
        missed: part.missed,
    };
    Ok(Latency { group: part.group, interval_ns: part.interval_ns, waits })
}

fn buckets(part: &model::HistogramPart) -> Result<Histogram, Error> {
    let given = &part.buckets_log2_us;
    if given.len() > BUCKETS {
        let expected = "an array of at most 32 numbers";
        return Err(field("processguard.latency", &format!("{} buckets", given.len()), expected));
    }
    let mut histogram = Histogram::default();
    histogram.buckets.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
    Ok(histogram)
}
