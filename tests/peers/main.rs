//! `processguard trace` beside tools that other people wrote.

mod runqlat;
mod snoop;
mod strace;
