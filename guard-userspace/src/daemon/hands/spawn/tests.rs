//! What a started process finds, and why one is not started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use guard_core::policy::model::{Limits, Run};

use super::super::tests::{Place, shell, wait};
use super::super::{exits, plain_run};
use super::*;

#[test]
fn a_service_finds_a_clean_place() {
    let place = Place::new();
    // A descriptor that would be inherited, were it not closed.
    let leak = rustix::io::dup(place.common.null.as_fd()).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let mut run = shell(
        "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; \
         grep -E '^(SigBlk|SigIgn|SigCgt|NoNewPrivs)' /proc/self/status; umask; pwd; \
         test $(ps -o sid= -p $$) = $$ && echo session; grep ^0:: /proc/self/cgroup; cat /proc/self/oom_score_adj",
    );
    run.directory = "/usr".into();
    let (text, status) = place.output(&run);
    let lines: Vec<&str> = text.lines().collect();
    // `ls` itself has the directory open.
    assert_eq!(lines[0], "0 1 2 3 /dev/null");
    let zeros = "0000000000000000";
    assert_eq!(lines[1..3], [format!("SigBlk:\t{zeros}"), format!("SigIgn:\t{zeros}")]);
    assert!(lines[3].starts_with("SigCgt:"));
    assert_eq!(lines[4..8], ["NoNewPrivs:\t0", "0022", "/usr", "session"]);
    assert!(lines[8].starts_with(&format!("0::/{}/test.0.", place.root.display())), "{}", lines[8]);
    assert_eq!(lines[9], "0");
    assert_eq!(status, Some(0));
}

#[test]
fn the_environment_is_what_the_policy_says() {
    let place = Place::new();
    let mut run = plain_run(vec!["/usr/bin/env".into()]);
    run.environment = [("B", "2 3"), ("A", "")].map(|(name, value)| (name.into(), value.into())).into();
    let text = |run: &Run| place.output(run).0;
    assert_eq!(text(&run), format!("A=\nB=2 3\nPATH={PATH}\n"));
    run.environment = [("PATH".to_owned(), "/x".to_owned())].into();
    assert_eq!(text(&run), "PATH=/x\n");
    run.user = Some("nobody".into());
    run.environment.insert("HOME".into(), "/elsewhere".into());
    let named = text(&run);
    assert!(named.starts_with("HOME=/elsewhere\nLOGNAME=nobody\nPATH=/x\nSHELL=/"), "{named}");
    assert!(named.ends_with("USER=nobody\n"), "{named}");

    let room = RoomInUse::new(place.rooms.make("test", 0, &Limits::default()).unwrap(), &Limits::default());
    let plain = plain_run(vec!["/usr/bin/env".into()]);
    let prepared = place.common.prepare(&plain, room, None, Some(Path::new("/run/x.sock"))).unwrap();
    let environment: Vec<_> = prepared.environment.iter().map(|text| text.to_str().unwrap()).collect();
    assert_eq!(environment, ["NOTIFY_SOCKET=/run/x.sock", &format!("PATH={PATH}")]);
}

#[test]
fn privileges_are_dropped() {
    let place = Place::new();
    let status = |run: &Run| place.output(run).0;
    let mut run = shell("grep -E '^(Uid|Gid|Groups|Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status");
    run.user = Some("nobody".into());
    let text = status(&run);
    assert!(
        text.contains("Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\nGroups:\t"),
        "{text}"
    );
    assert!(text.contains("CapPrm:\t0000000000000000") && text.contains("NoNewPrivs:\t1"), "{text}");
    // CAP_NET_BIND_SERVICE is 10.
    run.capabilities = Some(vec!["net_bind_service".into()]);
    let text = status(&run);
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000400")), "{text}");
    }
    run.user = None;
    let text = status(&run);
    assert!(text.contains("Uid:\t0\t0") && text.contains("CapEff:\t0000000000000400"), "{text}");
    run.group = Some("daemon".into());
    assert!(status(&run).contains("Gid:\t1\t1\t1\t1"));
}

#[test]
fn limits_hold() {
    let place = Place::new();
    let files = place.common.files;
    crate::daemon::hands::raise_open_files();
    assert_eq!(place.output(&shell("ulimit -n; ulimit -Hn")).0, format!("{}\n{}\n", files.0, files.1));
    let mut run = shell("ulimit -n; ulimit -Hn; ulimit -c; for i in 1 2 3 4 5 6; do sleep 5 & done; wait");
    run.limits = Limits { open_files: Some(77), core: Some(0), processes: Some(4), ..Limits::default() };
    let (started, read) = place.start(&run).unwrap();
    wait(&started.pidfd);
    let mut text = String::new();
    started.room.kill().unwrap();
    io::Read::read_to_string(&mut File::from(read), &mut text).unwrap();
    exits::reap(&started.pidfd);
    assert!(text.starts_with("77\n77\n0\n"), "{text}");
    assert!(text.contains("fork"), "the control group has no room for a fifth: {text}");

    let mut run = shell("head -c 100m /dev/zero | tail -c 100m | wc -c; echo survived");
    run.limits = Limits { memory: Some(16 << 20), ..Limits::default() };
    let (text, _) = place.output(&run);
    assert!(!text.contains("104857600"), "{text}");
}

#[test]
fn each_reason_is_said() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_string_lossy().into_owned()
    };
    let plain = file("plain", "x", 0o644);
    let script = file("script", "#!/no/interpreter\n", 0o755);
    let text = file("text", "words", 0o755);
    let error = |change: &dyn Fn(&mut Run)| {
        let mut run = plain_run(vec!["/bin/true".into()]);
        change(&mut run);
        place.start(&run).map(|_| ()).unwrap_err().to_string()
    };
    let runs = |program: &str| error(&|run| run.command = vec![program.to_owned()]);
    assert_eq!(runs("/usr/bin/x-y-z"), "cannot run /usr/bin/x-y-z: no such file");
    assert_eq!(
        runs(&plain),
        format!(
            "cannot run {plain}: permission denied; is it executable, and may the service's user reach it?"
        )
    );
    assert_eq!(
        runs(&script),
        format!("cannot run {script}: the interpreter or loader that it names does not exist")
    );
    assert_eq!(
        runs(&text),
        format!("cannot run {text}: it is no program (a script needs a first line such as #!/bin/sh)")
    );
    assert_eq!(runs("/usr"), "cannot run /usr: it is a directory");
    let long = "x".repeat(200_000);
    let too_long = error(&|run| run.command.push(long.clone()));
    assert_eq!(too_long, "cannot run /bin/true: its arguments and environment are too long");
    assert_eq!(error(&|run| run.command.push("a\0b".into())), "`a\\u{0}b` holds a NUL byte");
    assert_eq!(error(&|run| run.command.clear()), "the command is empty");
    assert_eq!(
        error(&|run| run.user = Some("x-y".into())),
        "user `x-y` does not exist (it is not in /etc/passwd); create it: useradd --system x-y"
    );
    assert_eq!(
        error(&|run| run.directory = "/no/place".into()),
        "cannot enter the working directory /no/place: it does not exist; create it"
    );
    assert_eq!(
        error(&|run| {
            run.directory = "/root".into();
            run.user = Some("nobody".into());
        }),
        "cannot enter the working directory /root: the service's user may not enter it"
    );
    assert_eq!(
        error(&|run| run.limits.open_files = Some(u64::MAX - 1)),
        "cannot run /bin/true: cannot set limits of open files or core files: Operation not permitted (os error 1)"
    );
    assert!(place.rooms.all().unwrap().is_empty(), "nothing is left of a start that failed");
}

#[test]
fn a_process_can_enter_its_room_by_itself() {
    let place = Place::new();
    let room = RoomInUse::new(place.rooms.make("test", 0, &Limits::default()).unwrap(), &Limits::default());
    let run = shell("grep ^0:: /proc/self/cgroup | grep -q /test.0. || exit 9");
    let prepared = place.common.prepare(&run, room, None, None).unwrap();
    let (_, pidfd, _) = prepared.make(false, false).unwrap();
    wait(&pidfd);
    assert_eq!(exits::reap(&pidfd), Some(0));
}

#[test]
fn a_limited_process_is_in_its_room_everywhere() {
    let place = Place::new();
    // With a thread that goes ahead, and without one.
    for processes in [10, 1] {
        let mut run = plain_run(vec!["/bin/cat".into(), "/proc/self/cgroup".into()]);
        run.limits = Limits { processes: Some(processes), memory: Some(64 << 20), ..Limits::default() };
        let (text, status) = place.output(&run);
        assert_eq!(status, Some(0));
        let room = format!(":/{}/test.0.", place.root.display());
        for controller in ["pids", "memory", ""] {
            // Where v2 has the controller there is only its line.
            let mut lines = text.lines().filter(|line| line.split(':').nth(1) == Some(controller));
            assert!(lines.all(|line| line.contains(&room)), "{text}");
        }
    }
    let room = place.rooms.make("test", 0, &Limits { processes: Some(10), ..Limits::default() }).unwrap();
    let path = room.path().to_owned();
    drop(RoomInUse::new(room, &Limits { processes: Some(10), ..Limits::default() }));
    assert!(!path.exists(), "who went ahead has come back");
}

/// No gate: the machine may be busy. The figures are for whoever changes the way of starting.
#[test]
fn starts_are_about_as_fast_as_those_of_the_standard_library() {
    const STARTS: usize = 50;
    let place = Place::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let room =
            RoomInUse::new(place.rooms.make("test", 0, &Limits::default()).unwrap(), &Limits::default());
        let run = plain_run(vec!["/bin/true".into()]);
        let prepared = place.common.prepare(&run, room, None, None).unwrap();
        let began = Instant::now();
        let started = prepared.start().unwrap();
        wait(&started.pidfd);
        ours.push(began.elapsed());
        assert_eq!(exits::reap(&started.pidfd), Some(0));
        assert!(started.clone_ns < started.exec_ns && started.room.name().to_string().starts_with("test.0."));
        let began = Instant::now();
        let status = std::process::Command::new("/bin/true").env_clear().status().unwrap();
        theirs.push(began.elapsed());
        assert!(status.success());
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    println!("start to end of /bin/true, median: ours {:?}, std {:?}", ours[STARTS / 2], theirs[STARTS / 2]);
    let mut limited = Vec::new();
    for _ in 0..STARTS {
        let limits = Limits { processes: Some(10), ..Limits::default() };
        let room = RoomInUse::new(place.rooms.make("test", 0, &limits).unwrap(), &limits);
        let run = plain_run(vec!["/bin/true".into()]);
        let prepared = place.common.prepare(&run, room, None, None).unwrap();
        let began = Instant::now();
        let started = prepared.start().unwrap();
        wait(&started.pidfd);
        limited.push(began.elapsed());
        exits::reap(&started.pidfd);
    }
    limited.sort_unstable();
    println!("with a limit, median: {:?}", limited[STARTS / 2]);
}
