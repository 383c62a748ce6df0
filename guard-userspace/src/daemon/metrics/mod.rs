//! What dashboards read: OpenMetrics over HTTP.
