//! Tests on a real kernel: what they share.
//!
//! [`workload`] makes real things happen and writes down what truly happened, in a file that the
//! product never reads; the tests compare that with what `processguard trace` said.

pub mod sys;
pub mod workload;
