//! systemd as pid 1 of a container, from a root file system of its own.

use std::{
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    contender::{Running, Supervisor},
    place::Place,
};
use crate::{bench::process::Process, home, setup::peers, sh};

/// How long it may take to boot.
const BOOT: Duration = Duration::from_secs(60);

/// systemd, with a unit that is always restarted.
pub(super) struct Systemd {
    /// A line of the unit: without one, systemd waits for its default of 100 ms.
    pub(super) restart_sec: Option<&'static str>,
}

/// A container with its systemd.
struct Container {
    podman: Podman,
    process: Process,
}

/// podman with a storage of its own, below the place, so that nothing stays on the host.
struct Podman {
    program: PathBuf,
    storage: PathBuf,
    name: String,
}

impl Supervisor for Systemd {
    fn start(&self, place: &Place) -> Result<Box<dyn Running>> {
        let restart_sec = self.restart_sec.map_or_else(String::new, |value| format!("RestartSec={value}\n"));
        let unit = format!(
            "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nExecStart={} {}\nRestart=always\n{restart_sec}\
             StandardOutput=null\nStandardError=null\n",
            place.program().display(),
            place.record().display()
        );
        let unit = place.write("victim.service", &unit)?;
        let podman = Podman::new(place)?;
        let mut run = podman.command();
        run.args([
            "run",
            "--rm",
            "--name",
            &podman.name,
            "--systemd=always",
            "--network=none",
            "--log-driver=none",
        ]);
        run.arg(format!("--cgroup-parent=/{}", podman.name));
        run.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        run.arg(format!("--volume={0}:{0}", place.directory().display()));
        run.arg(format!("--volume={}:/etc/systemd/system/victim.service:ro", unit.display()));
        run.arg("--rootfs").arg(peers::systemd_root()?).arg("/sbin/init");
        let process = Process::start(&mut run, &place.path("said"))?;
        let mut container = Container { podman, process };
        container.boot().with_context(|| container.process.heard())?;
        Ok(Box::new(container))
    }
}

impl Container {
    /// Waits until its manager answers, and has it start the unit.
    fn boot(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        while Instant::now() < deadline {
            self.process.check()?;
            let mut start = self.podman.command();
            start.args(["exec", &self.podman.name, "systemctl", "start", "victim.service"]);
            if sh::quietly(&mut start).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        bail!("systemd was not up within {} s", BOOT.as_secs())
    }
}

impl Running for Container {
    fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        // As systemd asks to be told; podman ends with its container.
        sh::quietly(self.podman.command().args(["kill", "--signal", "RTMIN+3", &self.podman.name]))?;
        self.process.wait()
    }
}

impl Podman {
    fn new(place: &Place) -> Result<Self> {
        let program = sh::find_program("podman").context("podman is missing; remedy: cargo xtask setup")?;
        let name = place.directory().file_name().context("no name")?.to_string_lossy().into_owned();
        Ok(Self { program, storage: place.path("podman"), name })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.storage.join("root")).arg("--runroot").arg(self.storage.join("run"));
        command.arg("--tmpdir").arg(self.storage.join("tmp"));
        command.args(["--storage-driver=vfs", "--events-backend=none"]);
        command.args(["--runtime=runc", "--cgroup-manager=cgroupfs"]);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // It is gone already, unless something went wrong.
        _ = self.command().args(["rm", "--force", "--time", "0", &self.name]).output();
        home::end_groups(&self.name);
    }
}
