//! Policies: what a service is, what healthy means, and what to do when it is not.
//!
//! ```text
//! text -> yaml/ (spanned nodes, bounded) -> read/ (keys, units, all errors) -> model/ (checked, defaults filled in)
//!                                              |                                 |
//!                                              +-> diagnostic.rs                 +-> set.rs (claims, cycles, bounds)
//! ```
//! [`model`] is what the rest of the core works with: whoever holds a [`model::Service`] needs no further checks.

pub mod model;
pub mod set;
