//! The words of a compact line about what a process or a control group uses.

use guard_core::event::Group;
use guard_core::resources::{Pressure, Sample};

use super::compact::{duration, put, size};
use super::escape;

/// `cpu 12.34%, 1m02s in all, rss 12.3MiB, swap 0KiB, 12 of 1024 files, 3 threads, read 4KiB, wrote 0KiB`
pub(super) fn sample(out: &mut Vec<u8>, sample: &Sample) {
    let used = &sample.used;
    out.extend_from_slice(b"cpu ");
    if let Some(share) = sample.cpu {
        put(out, format_args!("{share}%, "));
    }
    duration(out, used.cpu_ns);
    out.extend_from_slice(b" in all, rss ");
    size(out, used.rss_bytes);
    if used.swap_bytes > 0 {
        out.extend_from_slice(b", swap ");
        size(out, used.swap_bytes);
    }
    put(out, format_args!(", {}", used.open_files));
    if let Some(limit) = used.open_files_limit {
        put(out, format_args!(" of {limit}"));
    }
    put(out, format_args!(" files, {} thread{}", used.threads, if used.threads == 1 { "" } else { "s" }));
    if let Some(read) = used.read_bytes {
        out.extend_from_slice(b", read ");
        size(out, read);
    }
    if let Some(written) = used.write_bytes {
        out.extend_from_slice(b", wrote ");
        size(out, written);
    }
}

/// `system.slice/nginx.service: memory 12.3MiB of 512MiB, stalled for cpu 1.25%, memory 0.00%, io 0.00%`
pub(super) fn group(out: &mut Vec<u8>, group: &Group) {
    match group.cgroup.path.as_deref() {
        Some("/") => out.extend_from_slice(b"root group"),
        Some(path) => escape::text(out, path.trim_start_matches('/').as_bytes()),
        None => put(out, format_args!("control group {}", group.cgroup.id)),
    }
    out.push(b':');
    let used = &group.used;
    let mut comma = "";
    if let Some(bytes) = used.memory_bytes {
        out.extend_from_slice(b" memory ");
        size(out, bytes);
        comma = ",";
    }
    if let Some(limit) = used.memory_limit_bytes {
        out.extend_from_slice(b" of ");
        size(out, limit);
    }
    let pressures = [("cpu", used.cpu_pressure), ("memory", used.memory_pressure), ("io", used.io_pressure)];
    let mut known = pressures.iter().filter_map(|(name, pressure)| Some((name, (*pressure)?))).peekable();
    if known.peek().is_some() {
        put(out, format_args!("{comma} stalled"));
        for (index, (name, Pressure { some, .. })) in known.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            put(out, format_args!("{comma} {}% for {name}", some.avg10));
        }
    } else if comma.is_empty() {
        out.extend_from_slice(b" nothing known");
    }
}
