//! Services, kept as their policies say.
//!
//! [`Supervisor`] is told what happens and what time it is, and says what is to be done. It does nothing itself.
//!
//! ```text
//! Input::{Policies, Found, Event, Certain, Answered, Done, Notified, Command}  -> Supervisor::handle(now) -> poll_effect()
//!                                                                                handle_timeout(now)     <- poll_timeout()
//! Effect::{Act(Plan), Ask(Question), Tell(Notice)}
//!
//! supervisor.rs  the door: who is concerned, and who must be looked at again
//! unit.rs        a service: its instances, how far it is as a whole
//! instance.rs    one instance: its states, as a diagram; life.rs, ready.rs: how it goes from one to the next; adopted.rs: where others start it
//! checks.rs      when checks are asked, what they say; ladder.rs: what is done about it, step by step; steps.rs: acts become plans
//! failover.rs    how the primary role goes over; roles.rs: who holds it
//! save.rs        what outlives it, as it changes: saved.rs; restore.rs: how another one goes on with that
//! budget.rs      so many in any window; backoff.rs: waits that grow; dice.rs: jitter from a seed
//! ```
//!
//! A service is, of the states that its instances are in, the first of these that holds:
//!
//! ```text
//!  Stopped, Stopping   it is not wanted: nothing is left of it, or something is
//!  Held                its breaker is open, or another holds its role
//!  Stopped             every instance ended with success and wants no other
//!  Healthy, Degraded   `min` instances are ready: no check fails, or one does
//!  Starting ... Held   too few are ready: what the most promising of the others does
//! ```
//!
//! What holds at any time, and is tested with random lives (`tests/supervise`):
//!
//! * Every restart, whatever its cause, is in the budgets of its service, its group and the host before it happens. A restart that is
//!   decided is reserved, and spent when it is done, so no window ever holds more than its budget. A first start, one by hand and
//!   one because the policy runs something else now are no restarts. An instance that goes because fewer are wanted, and comes back,
//!   owes what it owed.
//! * What an operator stopped stays stopped until an operator starts it, or takes its policy away and gives it another one. A command
//!   for what has no policy is refused, and that is told.
//! * Whatever is not finished has a time at which it goes on, a deed under way, or somebody to wait for who was told.
//! * While the table of processes is uncertain nothing is done to the living; what would be is done when it is certain again.
//! * A policy that only observes plans, records, and assumes nothing done.
//! * A supervisor that goes on with what another one saved breaks none of this: what was decided is not decided again, what was
//!   held is held, what may have been done is not repeated.
//! * Nothing is held in silence: without a ladder for it, an alert of our own is planned.

mod adopted;
mod asked;
mod backoff;
mod budget;
mod checks;
mod clock;
mod commands;
mod dice;
mod effect;
mod facts;
mod failover;
mod fill;
mod input;
mod instance;
mod ladder;
mod life;
mod members;
mod parted;
mod ready;
mod reload;
mod restore;
mod roles;
mod save;
mod saved;
mod scale;
mod shared;
mod steps;
mod supervisor;
mod text;
mod unit;

pub use clock::Clock;
pub use effect::{
    About, ActionId, Ask, Because, Deed, Effect, Notice, Plan, Question, ServiceState, Subject, What,
};
pub use facts::{CheckFacts, InstanceFacts, ServiceFacts, Used};
pub use input::{Answer, Command, Done, Input, Refused};
pub use reload::Disturbance;
pub use saved::{Before, Changes, Life, Saved, SavedShared, Unreadable};
pub use supervisor::{Settings, Supervisor};
pub(crate) use text::{HOLDS_ROLE, NOT_READY, OBSERVES, POLICY_GONE};
pub(crate) use unit::first_target;
