//! The binary contract between the kernel programs and userspace.
//!
//! Everything here is plain data of fixed shape: records as they lie in the ring ([`wire`]), their
//! fallible decoding ([`decode`]), what userspace tells the programs before they load
//! ([`layout`], [`config`]), the memory both sides share while they run ([`control`]), and every
//! capacity with its unit ([`limits`]). The crate needs neither `alloc` nor `std`.
#![no_std]

pub mod config;
pub mod control;
pub mod decode;
pub mod layout;
pub mod limits;
pub mod wire;
