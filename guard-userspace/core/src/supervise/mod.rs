//! Services, kept as their policies say.
//!
//! [`Supervisor`] is told what happens and what time it is, and says what is to be done. It does nothing itself.
//!
//! ```text
//! Input::{Event, Answer, Measured, Done, Command, Policies}  -> Supervisor::handle(now) -> poll_effect()
//!                                                               handle_timeout(now)     <- poll_timeout()
//! Effect::{Act, Ask, Tell}
//! ```

#![expect(dead_code, reason = "what is to come uses the rest")]

mod backoff;
mod budget;
mod dice;
mod effect;
mod fill;
mod input;
mod instance;
mod life;
mod members;
mod shared;
mod supervisor;
mod text;
mod unit;

pub use effect::{
    About, ActionId, Ask, Because, Deed, Effect, Notice, Plan, Question, ServiceState, Subject, What,
};
pub use input::{Answer, Command, Done, Input, Refused};
pub use supervisor::{Settings, Supervisor};
