//! Restarts by real programs, and by a stand-in for systemd on a real bus.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use guard_core::policy::model::RestartVia;
use tempfile::TempDir;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, DBusError, interface};

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn command(words: &[&str]) -> RestartVia {
    RestartVia::Command(words.iter().map(|&word| word.to_owned()).collect())
}

#[tokio::test]
async fn by_a_command() {
    // It can be a task of its own.
    let restarting = tokio::spawn(async { restart(&command(&["/bin/true"]), LONG).await });
    assert_eq!(restarting.await.unwrap(), Ok(()));
    assert_eq!(restart(&command(&["/bin/true"]), LONG).await, Ok(()));
    let script = "echo starting; echo no such database >&2; echo 'giving up' >&2; exit 3";
    let failed = restart(&command(&["/bin/sh", "-c", script]), LONG).await.unwrap_err();
    assert_eq!(failed, "`/bin/sh` failed: exit code 3: starting | no such database | giving up");
    let missing = restart(&command(&["/nonexistent/restart"]), LONG).await.unwrap_err();
    assert_eq!(missing, "cannot run `/nonexistent/restart`: No such file or directory (os error 2)");
    let slow = command(&["/bin/sh", "-c", "echo waiting for pid 7; sleep 1000"]);
    let late = restart(&slow, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(late, "`/bin/sh` did not end within 300ms and was killed: waiting for pid 7");
}

#[tokio::test]
async fn the_service_that_a_command_leaves_lives_and_may_go_on_talking() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("go"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let path = directory.path().display();
    let service = format!("read go < {path}/go; echo talking; echo > {path}/talked; exec sleep 1000");
    let script = format!("sh -c '{service}' & echo $! > {path}/pid");
    assert_eq!(restart(&command(&["/bin/sh", "-c", &script]), LONG).await, Ok(()));
    let pid = fs::read_to_string(at("pid")).unwrap().trim().parse().unwrap();
    let left = procfs::process::Process::new(pid).unwrap();
    fs::write(at("go"), "go\n").unwrap();
    while left.cmdline().is_ok_and(|arguments| arguments != ["sleep", "1000"]) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(at("talked").exists());
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    assert_eq!(left.cmdline().unwrap(), ["sleep", "1000"], "it lives, and the descriptor is its");
    rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn containers_are_restarted_by_their_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("/nonexistent:{}", directory.path().display());
    let missing = container::command("podman", "web", &path).unwrap_err().to_string();
    assert_eq!(missing, format!("`podman` is not installed: it is in none of {path}"));
    let unknown = container::command("rkt", "web", &path).unwrap_err().to_string();
    assert_eq!(unknown, "`rkt` is no container runtime that is known: `docker` and `podman` are");
    fs::write(directory.path().join("podman"), "").unwrap();
    let found = directory.path().join("podman").display().to_string();
    assert_eq!(container::command("podman", "-web", &path).unwrap(), [&found, "restart", "--", "-web"]);
}

#[tokio::test]
async fn what_a_runtime_says_is_told() {
    // A stand-in for docker, which says what that says.
    let directory = tempfile::tempdir().unwrap();
    let docker = directory.path().join("docker");
    let script = "#!/bin/sh\necho \"Error response from daemon: No such container: $3\" >&2\nexit 1\n";
    fs::write(&docker, script).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let command = container::command("docker", "web", &directory.path().display().to_string()).unwrap();
    let failed = run(&command, LONG).await.unwrap_err();
    let text = "failed: exit code 1: Error response from daemon: No such container: web";
    assert_eq!(failed, format!("`{}` {text}", docker.display()));
}

/// A real bus of our own.
struct Bus {
    daemon: Child,
    address: String,
    _directory: TempDir,
}

impl Bus {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("bus.conf");
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>
            </busconfig>"#,
            directory.path().display()
        );
        fs::write(&config, text).unwrap();
        let mut daemon = std::process::Command::new("dbus-daemon")
            .args(["--nofork", "--print-address", "--config-file"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: `apt-get install dbus-daemon` brings dbus-daemon"));
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned(), _directory: directory }
    }

    /// With a stand-in for systemd's manager on it.
    async fn systemd(&self) -> Connection {
        let builder = zbus::connection::Builder::address(self.address.as_str()).unwrap();
        let builder = builder.name("org.freedesktop.systemd1").unwrap();
        builder.serve_at("/org/freedesktop/systemd1", Manager::default()).unwrap().build().await.unwrap()
    }

    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), String> {
        unit::restart(Some(&self.address), unit, timeout).await.map_err(|error| in_words(&error))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Our own child, not reaped yet.
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

/// How systemd refuses.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Said {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    UnitMasked(String),
}

/// A stand-in for systemd's manager: a unit's name says what becomes of its job.
#[derive(Default)]
struct Manager {
    subscribed: bool,
    jobs: u32,
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&mut self) {
        self.subscribed = true;
    }

    async fn restart_unit(
        &mut self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, Said> {
        assert!(self.subscribed && mode == "replace");
        self.jobs += 1;
        let path = |job: u32| {
            let path = format!("/org/freedesktop/systemd1/job/{job}");
            OwnedObjectPath::try_from(path).unwrap()
        };
        let result = match name.as_str() {
            "good.service" => "done",
            "bad.service" => "failed",
            "slow.service" => return Ok(path(self.jobs)),
            "refused.service" => return Err(Said::UnitMasked("Unit refused.service is masked.".into())),
            _ => return Err(Said::NoSuchUnit(format!("Unit {name} not found."))),
        };
        // Another's job ends first; ours ends before it is known which it is.
        emitter.job_removed(999, path(999), "other.service", "canceled").await.unwrap();
        emitter.job_removed(self.jobs, path(self.jobs), &name, result).await.unwrap();
        Ok(path(self.jobs))
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

#[tokio::test]
async fn by_systemd() {
    let bus = Bus::start();
    let absent = bus.restart("good.service", LONG).await.unwrap_err();
    assert_eq!(
        absent,
        "systemd is not on the system bus: another init runs this host, and restarts its services by a command"
    );
    let _systemd = bus.systemd().await;
    assert_eq!(bus.restart("good.service", LONG).await, Ok(()));
    assert_eq!(
        bus.restart("bad.service", LONG).await.unwrap_err(),
        "systemd's restart of `bad.service` ended as `failed`: `systemctl status bad.service` says more"
    );
    assert_eq!(bus.restart("none.service", LONG).await.unwrap_err(), "systemd has no unit `none.service`");
    assert_eq!(
        bus.restart("refused.service", LONG).await.unwrap_err(),
        "systemd refuses to restart `refused.service`: Unit refused.service is masked."
    );
    assert_eq!(
        bus.restart("slow.service", Duration::from_millis(300)).await.unwrap_err(),
        "systemd did not restart `slow.service` within 300ms; its job goes on"
    );
}

#[tokio::test]
async fn without_a_bus() {
    let none = unit::restart(Some("unix:path=/nonexistent/bus"), "good.service", LONG).await.unwrap_err();
    let text = "there is no system bus to ask systemd on: is systemd this host's init, and its package `dbus` installed?";
    assert_eq!(none.to_string(), text);
}
