//! Containers: their runtime's own program is asked.

use std::path::Path;

/// Why there is nobody to ask.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The runtime is none that we know.
    #[error("`{0}` is no container runtime that is known: `docker` and `podman` are")]
    Unknown(String),
    /// It is not installed.
    #[error("`{runtime}` is not installed: it is in none of {path}")]
    Missing {
        /// Which.
        runtime: String,
        /// Where it was looked for.
        path: String,
    },
}

/// The command that restarts a container.
pub(super) fn command(runtime: &str, container: &str, path: &str) -> Result<Vec<String>, Error> {
    if !matches!(runtime, "docker" | "podman") {
        return Err(Error::Unknown(runtime.to_owned()));
    }
    let found =
        path.split(':').map(|directory| Path::new(directory).join(runtime)).find(|file| file.is_file());
    let missing = || Error::Missing { runtime: runtime.to_owned(), path: path.to_owned() };
    let program = found.ok_or_else(missing)?.display().to_string();
    // What follows the dashes is a name, however it begins.
    Ok([program.as_str(), "restart", "--", container].map(str::to_owned).to_vec())
}
