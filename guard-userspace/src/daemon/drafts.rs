//! A draft of a policy for a process that runs already, from what /proc says of it: with a daemon or without one.

use guard_core::draft::{Seen, draft};
use guard_core::process::cgroup_path;
use procfs::process::Process;

use super::door::Refusal;
use super::listening;
use crate::names::Users;

/// A policy for this process, as YAML.
///
/// # Errors
/// If there is no such process, or /proc cannot be read.
pub fn of(pid: u32) -> Result<String, Refusal> {
    let process = Process::new(pid.cast_signed())
        .map_err(|_gone| Refusal::Unknown(format!("there is no process {pid}")))?;
    let exe = process.exe().map_err(|error| {
        Refusal::Unknown(format!("process {pid} runs no program that can be seen: {error}"))
    })?;
    let ports = listening::ports().map_err(|error| Refusal::Failed(format!("cannot read /proc: {error}")))?;
    let groups = process.cgroups().map(|groups| groups.0).unwrap_or_default();
    let places: Vec<_> = groups.iter().map(|group| cgroup_path::describe(0, 0, &group.pathname)).collect();
    let unit = places.iter().find_map(|place| place.unit.as_deref()).map(ToOwned::to_owned);
    let container = places.iter().find_map(|place| place.container.as_ref());
    let user = process.uid().ok().map(|uid| Users::read().name(uid));
    let seen = Seen {
        exe: exe.to_string_lossy().trim_end_matches(" (deleted)").to_owned(),
        args: process.cmdline().unwrap_or_default(),
        user,
        directory: process.cwd().ok().map(|path| path.to_string_lossy().into_owned()),
        unit,
        container: container
            .map(|container| (container.runtime.map(ToOwned::to_owned), container.id.to_string())),
        ports: ports.get(&pid).cloned().unwrap_or_default(),
        rss_bytes: process.stat().map_or(0, |stat| stat.rss.saturating_mul(procfs::page_size())),
        open_files: process.fd_count().ok().and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
    };
    Ok(draft(&seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_a_draft_that_reads_back() {
        let text = of(std::process::id()).unwrap();
        let source = guard_core::policy::Source { name: "draft", bytes: text.as_bytes() };
        assert!(guard_core::policy::load(&[source]).set.is_some(), "{text}");
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        assert!(text.contains(exe.to_str().unwrap()), "{text}");
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(of(u32::MAX >> 1).unwrap_err().to_string().contains("there is no process"));
    }
}
