//! The API, the metrics and the verbs that ask, over real sockets. The daemon's loop behind them is a stand-in
//! (`standin.rs`): it answers from a script, and decides nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic like the tests"
)]

mod http;
mod metrics;
mod roles;
mod standin;
mod stream;
mod systemd;
mod verbs;
