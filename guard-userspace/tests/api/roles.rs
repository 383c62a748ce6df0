//! Who may what: other users, really.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use guard_userspace::daemon::api::Readers;

use crate::standin::StandIn;

/// A user and a group that nobody has.
const USER: u32 = 64_001;
const GROUP: u32 = 64_002;

/// The status code that another user gets. Asked with curl: a program of theirs, not ours.
fn status(daemon: &StandIn, groups: &[u32], method: &str, path: &str) -> String {
    assert!(rustix::process::geteuid().is_root(), "this test becomes other users: run it as root");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "--unix-socket"]);
    curl.arg(&daemon.socket).arg(format!("http://localhost{path}"));
    let groups: Vec<libc::gid_t> = groups.to_vec();
    // SAFETY: between fork and exec only system calls are made, on memory that was made before.
    unsafe {
        curl.pre_exec(move || {
            let set = libc::setgroups(groups.len(), groups.as_ptr()) == 0
                && libc::setgid(USER) == 0
                && libc::setuid(USER) == 0;
            if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    String::from_utf8(curl.output().expect("curl: apt-get install curl").stdout).unwrap()
}

fn mode(daemon: &StandIn) -> u32 {
    std::fs::metadata(&daemon.socket).unwrap().permissions().mode() & 0o777
}

#[test]
fn members_of_the_group_act_and_others_do_not_even_connect() {
    let daemon = StandIn::with(Some(GROUP), Readers::Group);
    assert_eq!(mode(&daemon), 0o660);
    assert_eq!(status(&daemon, &[GROUP], "GET", "/v1/status"), "200");
    assert_eq!(status(&daemon, &[GROUP], "POST", "/v1/services/checkout/start"), "202");
    // `000` is curl's word for no answer.
    assert_eq!(status(&daemon, &[], "GET", "/v1/status"), "000");
}

#[test]
fn readers_read_and_do_not_act() {
    let daemon = StandIn::with(Some(GROUP), Readers::All);
    assert_eq!(mode(&daemon), 0o666);
    assert_eq!(status(&daemon, &[], "GET", "/v1/status"), "200");
    assert_eq!(status(&daemon, &[], "POST", "/v1/services/checkout/stop"), "403");
    assert_eq!(status(&daemon, &[GROUP], "POST", "/v1/services/checkout/stop"), "202");
    let asked = daemon.script.lock().unwrap().asked.join("\n");
    assert_eq!(asked.matches("Stop(").count(), 1, "what is refused is not asked: {asked}");
}

#[test]
fn without_a_group_only_root_may() {
    let daemon = StandIn::with(None, Readers::None);
    assert_eq!(mode(&daemon), 0o600);
    // Even if the file let them in, the kernel says who they are.
    std::fs::set_permissions(&daemon.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(status(&daemon, &[GROUP], "GET", "/v1/status"), "403");
    let own_group = StandIn::with(None, Readers::Group);
    std::fs::set_permissions(&own_group.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let root_group = rustix::process::getegid().as_raw();
    assert_eq!(status(&own_group, &[root_group], "GET", "/v1/status"), "200");
    assert_eq!(status(&own_group, &[root_group], "POST", "/v1/stop"), "403");
}
