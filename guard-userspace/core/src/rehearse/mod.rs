//! Policies rehearsed: what they would do, when and why, before they are trusted.
//!
//! ```text
//! scenario -> world/   a simulated host -> Input -+
//! recorded stream -> recorded.rs -------> Input --+-> Supervisor -> Effect -> Entry -> text.rs
//!                    world/ <- what is carried out, asked <---------+
//! ```
//! Nothing here touches anything: the same [`Supervisor`](crate::supervise::Supervisor) that keeps a host keeps a world made of
//! numbers. Same policies, scenario and seed, same entries.

mod play;
mod read;
mod recorded;
mod scenario;
mod series;
mod text;
mod world;

pub use play::{Entry, Rehearsal, Told, play, play_before};
pub use read::{Read, read};
pub use recorded::{Recorded, observed};
pub use scenario::{
    Behaviour, Delay, End, Gauge, Happening, HookPlay, Look, Moment, Queue, Reply, Says, Scenario, Timed,
};
pub use series::Series;
pub use text::{diary, text};
