//! What all verbs have in common that ask the daemon.

use std::path::PathBuf;

use crate::client::progress::Progress;
use crate::client::show::Look;
use crate::client::{self, Api};
use crate::clock;
use crate::daemon::api::SOCKET;
use crate::exit::Failure;
use crate::output::{self, Sink};
use crate::policy::load::colour;

/// Options of verbs that ask the daemon.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reach {
    /// Where the daemon answers
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,

    /// Print the daemon's own JSON, as docs/openapi.json describes it
    #[arg(long)]
    pub(super) json: bool,
}

impl Reach {
    /// Does what asks the daemon, with a line for people if it takes long.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&Api, &Progress) -> Result<T, client::Error>,
    ) -> Result<T, Failure> {
        let (api, progress) = (Api::new(self.socket.clone()), Progress::new(what, self.json));
        Ok(runtime()?.block_on(progress.during(work(&api, &progress)))?)
    }

    /// The same without that line: for what goes on for ever.
    pub(super) fn ask_quietly<T>(
        &self,
        work: impl AsyncFnOnce(&Api) -> Result<T, client::Error>,
    ) -> Result<T, Failure> {
        let api = Api::new(self.socket.clone());
        Ok(runtime()?.block_on(work(&api))?)
    }

    /// Sees a document, and prints it.
    pub(super) fn show<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        text: impl FnOnce(&Look, &T) -> String,
    ) -> Result<(), Failure> {
        let document = self.ask("asking the daemon", async |api, _| api.get::<T>(path).await)?;
        self.print(&document, text)
    }

    /// Prints a document: as it came, or for people.
    pub(super) fn print<T>(
        &self,
        document: &client::Document<T>,
        text: impl FnOnce(&Look, &T) -> String,
    ) -> Result<(), Failure> {
        if self.json { print(&document.raw) } else { print(text(&look(), &document.view).as_bytes()) }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|source| Failure::System { action: "start the event loop", source })
}

/// How documents are shown here and now.
pub(super) fn look() -> Look {
    let now_ns = clock::boot_ns();
    let now_unix_ns = i64::try_from(now_ns).unwrap_or(i64::MAX).saturating_add(clock::utc_offset_ns());
    Look { color: colour(std::io::stdout()), now_ns, now_unix_ns, zone_s: None }
}

/// Prints all of it. A reader that has gone has read enough.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    match Sink::Stdout.write(bytes) {
        Ok(()) | Err(output::Error::Closed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Shows what is wrong with policies, where that is why something was not done.
pub(super) fn diagnose(failure: &Failure) {
    if let Failure::Client(client::Error::Problem(problem)) = failure
        && let Some(diagnostics) = &problem.diagnostics
    {
        let lines: Vec<String> = diagnostics.lines().map(crate::show::escape::message).collect();
        crate::exit::say(lines.join("\n").trim_end());
    }
}
