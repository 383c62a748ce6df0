//! Tests on a real kernel: what they share.
//!
//! [`workload`] makes real things happen and writes down what truly happened, in a file that the
//! product never reads; [`tracer`] runs `processguard trace` meanwhile; the tests compare.

pub mod bpf;
pub mod cgroup;
pub mod daemon;
pub mod host;
pub mod kept;
pub mod pty;
pub mod record;
pub mod recorder;
pub mod sched;
pub mod storm;
pub mod sys;
pub mod trace;
pub mod tracer;
pub mod truth;
pub mod workload;
