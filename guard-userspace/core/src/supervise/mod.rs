//! Services, kept as their policies say.
//!
//! [`Supervisor`] is told what happens and what time it is, and says what is to be done. It does nothing itself.
//!
//! ```text
//! Input::{Event, Answer, Measured, Done, Command, Policies}  -> Supervisor::handle(now) -> poll_effect()
//!                                                               handle_timeout(now)     <- poll_timeout()
//! Effect::{Act, Ask, Tell}
//! ```

mod adopted;
mod backoff;
mod budget;
mod checks;
mod clock;
mod commands;
mod dice;
mod effect;
mod failover;
mod fill;
mod input;
mod instance;
mod ladder;
mod life;
mod members;
mod reload;
mod roles;
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
pub use input::{Answer, Command, Done, Input, Refused};
pub use reload::Disturbance;
pub use supervisor::{Settings, Supervisor};
