//! A policy for a process that runs already: a beginning that its reader accepts, to be made better by who knows it.

use crate::policy::model::{self, Unit};
use crate::policy::outline::Outline;
use crate::policy::{Source, load};

/// What is known of a process. Its texts may hold anything: they are its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its executable, as an absolute path.
    pub exe: String,
    /// Its arguments; the first one is what it was called by.
    pub args: Vec<String>,
    /// Its user's name or number.
    pub user: Option<String>,
    /// Its working directory.
    pub directory: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its container: runtime (`docker` or `podman`), id or name.
    pub container: Option<(Option<String>, String)>,
    /// TCP ports that it listens on.
    pub ports: Vec<u16>,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Open file descriptors.
    pub open_files: u32,
}

/// What a service is called whose program and unit have no letter that a name can have.
const NAMELESS: &str = "service";

/// A policy for a process, as the text of a document. It is always one that the reader accepts.
#[must_use]
pub fn draft(seen: &Seen) -> String {
    // As the kernel marks a program that was replaced on disk.
    let exe = seen.exe.trim_end_matches(" (deleted)").to_owned();
    let seen = &Seen { exe, ..seen.clone() };
    let name = name(seen);
    // What the language has no words for is left out, the least telling first.
    let selectors = [selector(seen, true), selector(seen, false), vec![text("exe", "/path/to/the/program")]];
    let texts = selectors
        .into_iter()
        .filter(|selector| !selector.is_empty())
        .flat_map(|selector| [true, false].map(|checks| document(seen, &name, selector.clone(), checks)));
    let mut last = String::new();
    for text in texts {
        if load(&[Source { name: "draft", bytes: text.as_bytes() }]).set.is_some() {
            return text;
        }
        last = text;
    }
    last
}

fn document(seen: &Seen, name: &str, selector: Vec<(String, Outline)>, with_checks: bool) -> String {
    let via = restart_via(seen);
    let mut adopt = selector;
    adopt.extend(via.clone().map(|via| ("restart_via".to_owned(), via)));
    let head = vec![word("version", "processguard/v1"), text("service", name), word("impact", "medium")];
    let mut out =
        String::from("# A draft from a running process: read it, name an owner and a runbook, and try it.\n");
    out.push_str(&Outline::Map(head).yaml());
    if via.is_none() {
        out.push_str(
            "# Nobody says how it is restarted, so it is only watched: name a way (restart_via: { unit: ... } or { command: [...] }),\n# or have it run by ProcessGuard, as below.\n",
        );
    }
    out.push_str(&Outline::Map(vec![("adopt".to_owned(), Outline::Map(adopt))]).yaml());
    if via.is_none() {
        let run = Outline::Map(vec![("run".to_owned(), Outline::Map(run(seen)))]).yaml();
        run.lines().for_each(|line| out.push_str(&format!("# {line}\n")));
    }
    if with_checks {
        let checks = checks(seen);
        let ladder = |name: &str| {
            let restart =
                (name.starts_with("port") && via.is_some()).then(|| Outline::Word("restart".to_owned()));
            let alert = map("alert", Outline::Map(vec![word("severity", "warning")]));
            (name.to_owned(), Outline::List(restart.into_iter().chain([alert]).collect()))
        };
        let actions = checks.iter().map(|(name, _)| ladder(name)).collect::<Vec<_>>();
        if !checks.is_empty() {
            out.push_str("# First guesses, from what it uses now. `policy suggest` makes better ones once it was measured for a while.\n");
            out.push_str(&map("checks", Outline::Map(checks)).yaml());
            out.push_str(&map("actions", Outline::Map(actions)).yaml());
        }
    }
    out.push_str("# `observe` decides and records, and touches nothing.\n");
    out.push_str(&Outline::Map(vec![word("mode", "act")]).yaml());
    out
}

/// What tells it from all others.
fn selector(seen: &Seen, with_exe: bool) -> Vec<(String, Outline)> {
    let mut keys = vec![];
    // Stars in a path stand for something else in a policy.
    let is_plain = seen.exe.starts_with('/') && !seen.exe.contains(['*', '?', '[', ']', '{', '}', '\\']);
    if with_exe && is_plain {
        keys.push(text("exe", &seen.exe));
    }
    if let Some((_, id)) = seen.container.as_ref().filter(|(_, id)| is_container_id(id)) {
        keys.push(text("container", id));
    } else if let Some(unit) = &seen.unit {
        keys.push(text("unit", unit));
    } else if let Some(port) = seen.ports.first() {
        keys.push(word("listens", port));
    }
    keys
}

/// Who restarts it.
fn restart_via(seen: &Seen) -> Option<Outline> {
    if let Some((runtime, name)) = &seen.container {
        let runtime = runtime.as_deref().filter(|runtime| matches!(*runtime, "docker" | "podman"))?;
        let fine = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        let keys = Outline::Map(vec![text("name", name), word("runtime", runtime)]);
        return fine.then(|| map("container", keys));
    }
    // Scopes are not started by systemd, and the manager of a user's units is not the service.
    let is_service = |unit: &&String| unit.ends_with(".service") && !unit.starts_with("user@");
    let unit = seen.unit.as_ref().filter(is_service)?;
    let fine = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.@\\-".contains(&byte));
    fine.then(|| Outline::Map(vec![text("unit", unit)]))
}

/// How we would run it.
fn run(seen: &Seen) -> Vec<(String, Outline)> {
    let arguments = seen.args.iter().skip(1).map(|argument| Outline::Text(argument.clone()));
    let command = std::iter::once(Outline::Text(seen.exe.clone())).chain(arguments).collect();
    let mut keys = vec![("command".to_owned(), Outline::List(command))];
    keys.extend(seen.user.as_deref().map(|user| text("user", user)));
    keys.extend(seen.directory.as_deref().map(|directory| text("directory", directory)));
    keys
}

/// What can be checked of it.
fn checks(seen: &Seen) -> Vec<(String, Outline)> {
    let mut checks = vec![];
    let mut ports = seen.ports.clone();
    ports.sort_unstable();
    ports.dedup();
    // More than a few are ports of the moment.
    for port in ports.into_iter().filter(|port| *port > 0).take(4) {
        let tcp = Outline::Map(vec![text("address", &format!("127.0.0.1:{port}")), word("timeout", "1s")]);
        let keys = vec![("tcp".to_owned(), tcp), word("every", "5s"), word("fail_after", "3")];
        checks.push((format!("port-{port}"), Outline::Map(keys)));
    }
    if seen.rss_bytes > 0 {
        // Twice as much, in whole mebibytes.
        let bound = seen.rss_bytes.saturating_mul(2).div_ceil(1 << 20).clamp(16, 1 << 30) << 20;
        checks.push(("memory".to_owned(), threshold("memory.rss", &model::bytes(bound))));
    }
    if seen.open_files > 0 {
        let bound = f64::from(seen.open_files.saturating_mul(2).max(64));
        checks.push(("files".to_owned(), threshold("files.open", &Unit::Number.exact(bound))));
    }
    checks
}

fn threshold(signal: &str, above: &str) -> Outline {
    Outline::Map(vec![word("signal", signal), word("above", above), word("for", "1m")])
}

/// A name that a service can have: from its container or unit, else its program's.
fn name(seen: &Seen) -> String {
    let unit = seen.unit.as_deref().and_then(|unit| unit.strip_suffix(".service"));
    let unit = unit.filter(|unit| !unit.starts_with("user@"));
    let program = seen.exe.rsplit('/').next();
    let container =
        seen.container.as_ref().map(|(_, name)| name.as_str()).filter(|name| !is_container_id(name));
    let names = container.into_iter().chain(unit).chain(program);
    names.map(plain).find(|name| !name.is_empty()).unwrap_or_else(|| NAMELESS.to_owned())
}

/// What is left of a text as a name: lower-case letters, digits and dashes, at most 63.
fn plain(text: &str) -> String {
    let dashed = text.chars().map(|letter| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.' | '_') => letter,
        _ => '-',
    });
    let cut: String = dashed.skip_while(|letter| !letter.is_ascii_alphanumeric()).take(63).collect();
    cut.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).to_owned()
}

fn is_container_id(id: &str) -> bool {
    (12..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn text(key: &str, value: &str) -> (String, Outline) {
    (key.to_owned(), Outline::Text(value.to_owned()))
}

fn word(key: &str, value: impl ToString) -> (String, Outline) {
    (key.to_owned(), Outline::Word(value.to_string()))
}

fn map(key: &str, value: Outline) -> Outline {
    Outline::Map(vec![(key.to_owned(), value)])
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
