//! Terminals, files and pipes: what a person or a program beside us sees of any kernel's events.
//!
//! None of it depends on the kernel. The matrix at small counts leaves it out; at the stated counts it runs there too.

mod ends;
mod escapes;
mod faults;
mod outputs;
mod policies;
mod recordings;
mod refusals;
mod replay;
mod subscribers;
mod top;
