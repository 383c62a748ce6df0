//! Services, kept as their policies say.
//!
//! [`Supervisor`] is told what happens and what time it is, and says what is to be done. It does nothing itself.
//!
//! ```text
//! Input::{Event, Answer, Measured, Done, Command, Policies}  -> Supervisor::handle(now) -> poll_effect()
//!                                                               handle_timeout(now)     <- poll_timeout()
//! Effect::{Act, Ask, Tell}
//! ```

mod effect;
mod input;

pub use effect::{
    About, ActionId, Ask, Because, Deed, Effect, Notice, Plan, Question, ServiceState, Subject, What,
};
pub use input::{Answer, Command, Done, Input, Refused};
