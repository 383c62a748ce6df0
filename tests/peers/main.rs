//! `processguard trace` beside tools that other people wrote.

mod snoop;
mod strace;
