//! `adopt`: what somebody else started.

use super::texts::{
    AbsolutePath, Account, Command, ContainerId, ContainerName, Expression, PortNumber, UnitName,
};
use crate::policy::model::{Adopt, RestartVia, Selector};
use crate::policy::read::{At, Duration, Int, Reader};
use crate::policy::yaml::Spot;
use crate::policy::{Code, Diagnostic, Needed};

keys! {
    /// Processes that are found, not started. All that is given must match. Main processes are the matches whose parent does not match.
    struct AdoptKeys as "adopt", any ["exe", "command", "user", "cgroup", "unit", "container", "listens"], with ("timeout", "restart_via") {
        /// Absolute path of the executable; `*` stands for anything but a slash, `**` for anything.
        exe: Option<At<AbsolutePath>>,
        /// Regular expression over the command line, arguments joined by spaces.
        command: Option<At<Expression>>,
        /// A user's name or number.
        user: Option<At<Account>>,
        /// Path of the control group, with what is below.
        cgroup: Option<At<AbsolutePath>>,
        /// The systemd unit.
        unit: Option<At<UnitName>>,
        /// The container's id: at least 12 hexadecimal digits of it.
        container: Option<At<ContainerId>>,
        /// A TCP port that it listens on. It matches from then on.
        listens: Option<At<PortNumber>>,
        /// How it is restarted. Without it, it is only observed.
        restart_via: Option<RestartViaKeys>,
        /// How long a restart may take. Without it: 1m.
        timeout: Option<Duration>,
        /// Fewer main processes, and it is down.
        min: Int<0, 1024> = "1",
    }
}

keys! {
    /// How an adopted service is restarted.
    struct RestartViaKeys as "restart_via", one ["command", "unit", "container"] {
        /// By a program.
        command: Option<Command>,
        /// By systemd: the unit's name.
        unit: Option<UnitName>,
        /// By the container's runtime.
        container: Option<RestartContainerKeys>,
    }
}

keys! {
    /// A container that is restarted by its runtime.
    struct RestartContainerKeys as "restart_via.container" {
        /// Its name or id.
        name: ContainerName,
        /// Which one.
        runtime: Runtime,
    }
}

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Docker,
    Podman,
}

words! {
    Runtime {
        /// The program `docker`.
        "docker" = Self::Docker,
        /// The program `podman`.
        "podman" = Self::Podman,
    }
}

/// How long a restart by somebody else may take if nothing is said: systemd's own stop timeout is 90 s at worst, starts take seconds.
const RESTART_NS: u64 = 60_000_000_000;

impl AdoptKeys {
    /// As the model has it.
    pub(crate) fn build(&self, reader: &mut Reader) -> Option<Adopt> {
        if let Some(user) = &self.user {
            reader.need(user.spot, Needed::User(user.value.0.to_string()));
        }
        let restart_via = match &self.restart_via {
            Some(via) => Some(via.build(reader)?),
            None => None,
        };
        let fine = self.is_narrow(reader);
        fine.then_some(Adopt {
            matching: Selector {
                exe: self.exe.as_ref().map(|exe| exe.value.0.to_string()),
                command: self.command.as_ref().map(|command| command.value.text.to_string()),
                user: self.user.as_ref().map(|user| user.value.0.to_string()),
                cgroup: self.cgroup.as_ref().map(|cgroup| cgroup.value.0.to_string()),
                unit: self.unit.as_ref().map(|unit| unit.value.0.to_string()),
                container: self.container.as_ref().map(|container| container.value.0.to_string()),
                listens: self.listens.as_ref().map(|port| port.value.to()),
            },
            restart_via,
            timeout: self.timeout.map_or(RESTART_NS, |timeout| timeout.0),
            min: self.min.to(),
        })
    }

    /// Whether something given tells the service from everything else; it is told otherwise.
    fn is_narrow(&self, reader: &mut Reader) -> bool {
        if self.unit.is_some() || self.container.is_some() || self.listens.is_some() {
            return true;
        }
        let wide: Vec<(&str, Spot)> = [
            self.exe.as_ref().filter(|exe| is_wide_path(&exe.value.0)).map(|exe| ("exe", exe.spot)),
            self.command.as_ref().filter(|one| one.value.regex.is_match("")).map(|one| ("command", one.spot)),
            self.cgroup.as_ref().filter(|one| is_wide_cgroup(&one.value.0)).map(|one| ("cgroup", one.spot)),
            // A whole user is too much for a service; with something narrow beside it, it narrows further.
            self.user.as_ref().map(|user| ("user", user.spot)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let given = [self.exe.is_some(), self.command.is_some(), self.cgroup.is_some(), self.user.is_some()];
        if given.iter().filter(|given| **given).count() > wide.len() {
            return true;
        }
        let Some((key, spot)) = wide.first() else { return true };
        let (message, help) = match *key {
            "exe" => ("this path matches every program, also pid 1", "name the directory and the program"),
            "command" => (
                "this regular expression matches every command line, also that of pid 1",
                "an expression that matches the empty text matches everywhere: name what must stand there",
            ),
            "cgroup" => {
                ("this control group holds everything, also pid 1", "name the service's own control group")
            }
            _ if self.user.as_ref().is_some_and(|user| matches!(&*user.value.0, "root" | "0")) => {
                ("all processes of root: that takes pid 1, too", "add `exe`, `unit`, `command` or `listens`")
            }
            _ => (
                "all processes of a user, also their shells and logins",
                "add `exe`, `unit`, `command` or `listens`",
            ),
        };
        let mut diagnostic = Diagnostic::new(Code::WideSelector, (*spot).into(), message).help(help);
        for (other, at) in wide.iter().skip(1) {
            diagnostic = diagnostic.related((*at).into(), format!("`{other}` does not narrow it"));
        }
        reader.say(diagnostic);
        false
    }
}

/// Whether a pattern of paths leaves nothing out: stars and slashes alone.
fn is_wide_path(pattern: &str) -> bool {
    pattern.contains("**") && pattern.chars().all(|c| matches!(c, '*' | '/' | '?'))
}

/// Whether a control group holds all there is, or all that systemd starts.
fn is_wide_cgroup(path: &str) -> bool {
    matches!(path.trim_end_matches('/'), "" | "/init.scope" | "/system.slice" | "/user.slice")
}

impl RestartViaKeys {
    fn build(&self, reader: &mut Reader) -> Option<RestartVia> {
        if let Some(command) = &self.command {
            reader.need(command.program, Needed::Program(command.words.first()?.clone()));
            return Some(RestartVia::Command(command.words.clone()));
        }
        if let Some(unit) = &self.unit {
            return Some(RestartVia::Unit(unit.0.to_string()));
        }
        let container = self.container.as_ref()?;
        let runtime = match container.runtime {
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
        };
        Some(RestartVia::Container { runtime: runtime.to_owned(), container: container.name.0.to_string() })
    }
}
