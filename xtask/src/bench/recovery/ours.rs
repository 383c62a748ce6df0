//! Ourselves: the daemon, with a policy for one service that comes back at once.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    contender::{Running, Supervisor},
    place::Place,
};
use crate::bench::daemon::Daemon;

/// The daemon with one service.
pub(super) struct Ours {
    pub(super) program: PathBuf,
}

/// Its restart budget is above what a whole run spends, and nothing is waited for.
fn policy(place: &Place) -> String {
    format!(
        "version: processguard/v1\nservice: victim\nrun: {{ command: [{}, {}] }}\n\
         restart: {{ on: always, budget: 100000/1h, backoff: {{ initial: 0s, jitter: 0% }} }}\n",
        place.program().display(),
        place.record().display()
    )
}

impl Supervisor for Ours {
    fn start(&self, place: &Place) -> Result<Box<dyn Running>> {
        let daemon = Daemon::start(&self.program, place.directory(), &policy(place))?;
        Ok(Box::new(daemon))
    }
}

impl Running for Daemon {
    fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    fn stop(self: Box<Self>) -> Result<()> {
        Daemon::stop(*self)
    }
}
