//! A metric whose values are known already: rows of labels and a value, in their order.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Labels of a row: name and value.
pub(super) type Labels = Vec<(&'static str, String)>;

/// All values of a metric.
#[derive(Debug)]
pub(super) struct Rows {
    kind: MetricType,
    rows: Vec<(Labels, Value)>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A number, of a gauge or a counter.
    Number(f64),
    /// A whole number, of a counter.
    Count(u64),
    /// How often something took how long.
    Spread(Spread),
}

/// How often something took how long.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    pub(super) sum: f64,
    /// Upper end of a bucket, and how many are in it; not those in the buckets below.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Spread {
    /// Of single values.
    pub(super) fn of(values: impl Iterator<Item = f64>, ends: &[f64]) -> Self {
        let mut buckets: Vec<(f64, u64)> = ends.iter().map(|end| (*end, 0)).collect();
        buckets.push((f64::MAX, 0));
        let mut sum = 0.0;
        for value in values.filter(|value| value.is_finite()) {
            sum += value;
            if let Some((_, count)) = buckets.iter_mut().find(|(end, _)| value <= *end) {
                *count += 1;
            }
        }
        Self { sum, buckets }
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>, kind: MetricType) -> Result<(), fmt::Error> {
        match (self, kind) {
            (Self::Number(number), MetricType::Counter) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(number, None)
            }
            (Self::Number(number), _) => encoder.encode_gauge(number),
            (Self::Count(count), _) => encoder.encode_counter::<NoLabelSet, _, f64>(count, None),
            (Self::Spread(spread), _) => {
                let count = spread.buckets.iter().map(|(_, count)| *count).sum();
                encoder.encode_histogram::<NoLabelSet>(spread.sum, count, &spread.buckets, None)
            }
        }
    }
}

impl Rows {
    pub(super) fn gauge(rows: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self::numbers(MetricType::Gauge, rows)
    }

    pub(super) fn counter(rows: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self::numbers(MetricType::Counter, rows)
    }

    pub(super) fn count(rows: impl IntoIterator<Item = (Labels, u64)>) -> Self {
        let rows = rows.into_iter().map(|(labels, count)| (escaped(labels), Value::Count(count)));
        Self { kind: MetricType::Counter, rows: rows.collect() }
    }

    pub(super) fn histogram(rows: impl IntoIterator<Item = (Labels, Spread)>) -> Self {
        let rows = rows.into_iter().map(|(labels, spread)| (escaped(labels), Value::Spread(spread)));
        Self { kind: MetricType::Histogram, rows: rows.collect() }
    }

    fn numbers(kind: MetricType, rows: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        let rows = rows.into_iter().map(|(labels, number)| (escaped(labels), Value::Number(number)));
        Self { kind, rows: rows.collect() }
    }
}

/// The encoder writes values as they are.
fn escaped(labels: Labels) -> Labels {
    let escape = |text: String| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    labels.into_iter().map(|(name, value)| (name, escape(value))).collect()
}

impl EncodeMetric for Rows {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, value) in &self.rows {
            if labels.is_empty() {
                // Braces around nothing are allowed, and nobody writes them.
                value.encode(&mut encoder, self.kind)?;
            } else {
                value.encode(&mut encoder.encode_family(labels)?, self.kind)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
