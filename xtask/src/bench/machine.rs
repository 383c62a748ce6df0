//! What the table was measured on.

use std::{fs, process::Command, thread};

use crate::sh;

/// The machine and the peers, as names with values.
pub(super) fn describe() -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("processor", processor()),
        ("cores", thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string())),
        ("memory", memory()),
        ("commit", commit()),
    ];
    for package in ["libbpf-tools", "bpftrace", "forkstat", "runit", "s6", "monit"] {
        let query = ["--show", "--showformat", "${Version}", package];
        if let Ok(version) = sh::output(Command::new("dpkg-query").args(query)) {
            facts.push((package, version));
        }
    }
    facts
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or_default().trim().to_owned()
    };
    let guest =
        if field("flags").split(' ').any(|flag| flag == "hypervisor") { ", virtual machine" } else { "" };
    format!("{} (family {}, model {}){guest}", field("model name"), field("cpu family"), field("model"))
}

fn memory() -> String {
    let text = read("/proc/meminfo");
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = kib.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    format!("{} MiB", kib / 1024)
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.current_dir(sh::workspace()).args(["describe", "--always", "--dirty"]);
    sh::output(&mut git).unwrap_or_else(|_| "?".to_owned())
}
