//! The compact line: read by a person, perhaps at three in the morning.
//!
//! ```text
//! 22:36:49.123  fork       812  bash             by sshd[790]
//! 22:36:49.124  exec       812  ls               ls -la /tmp  (in /root)
//! 22:36:49.131  exit       812  ls               exit 2, ran 7.12ms, cpu 3.20ms, peak 2.9MiB
//! ```
//! Time, action, pid and name stand in columns; the rest says in words what happened and why.

use std::io::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use guard_core::event::{
    Action, Cause, Cgroup, Drift, Event, Exec, Exit, ExitStatus, Gap, LossCause, Oom, Origin, Process,
    Program, Resync, ResyncReason, Sender, Signal, SignalResult,
};
use guard_core::ids::ProcId;
use guard_core::latency::{GroupLatency, Latency, Stall, Waited};

use super::when::{Timestamps, When};
use super::{escape, resources};
use crate::clock::Stamp;
use crate::names::{ALL_CAPABILITIES, SignalName, capabilities};

const DIM: Style = Style::new().effects(Effects::DIMMED);
const BOLD: Style = Style::new().effects(Effects::BOLD);
const RED: Style = AnsiColor::Red.on_default();
const BOLD_RED: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BLUE: Style = AnsiColor::Blue.on_default();
const MAGENTA: Style = AnsiColor::Magenta.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Width of the name's column: a `comm` is at most 15 bytes.
const NAME_WIDTH: usize = 15;

/// Writes compact lines.
#[derive(Debug)]
pub struct CompactWriter {
    when: When,
    paint: Paint,
}

impl CompactWriter {
    /// With times in the given form, in colour or not.
    #[must_use]
    pub fn new(timestamps: Timestamps, color: bool) -> Self {
        Self { when: When::new(timestamps), paint: Paint { color } }
    }

    /// Appends the event's line, newline included.
    pub fn event(&mut self, out: &mut Vec<u8>, stamp: &Stamp, event: &Event) {
        let paint = self.paint;
        paint.with(out, DIM, |out| self.when.write(out, stamp, event.time_ns));
        let style = match &event.action {
            Action::Fork { .. } => BLUE,
            Action::Exec { .. } => GREEN,
            Action::Exit { .. } => CYAN,
            Action::Signal { .. } => YELLOW,
            Action::Listen { .. } | Action::Latency { .. } => MAGENTA,
            Action::Stall { .. } => RED,
            Action::Resources { .. } | Action::Group(_) => DIM,
            Action::Oom { .. } | Action::Gap(_) => BOLD_RED,
            Action::Resync(_) => BOLD,
        };
        paint.with(out, style, |out| pad(out, word(&event.action).as_bytes(), 6));
        out.push(b' ');
        let Some(process) = event.action.process() else {
            out.extend_from_slice(b"      -  -                ");
            match &event.action {
                Action::Gap(gap) => paint.with(out, BOLD_RED, |out| lost(out, gap)),
                Action::Resync(resync) => self::resync(out, resync),
                Action::Group(group) => resources::group(out, group),
                _ => {}
            }
            out.push(b'\n');
            return;
        };
        pid(out, process.id.pid);
        out.extend_from_slice(b"  ");
        paint.with(out, BOLD, |out| escaped_padded(out, process.name.as_bytes(), NAME_WIDTH));
        out.extend_from_slice(b"  ");
        paint.story(out, &event.action, process);
        paint.place(out, process);
        out.push(b'\n');
    }
}

/// What happened and why, in the words of a compact line, without colours and columns.
#[must_use]
pub fn story(action: &Action) -> String {
    text(|out| match (action, action.process()) {
        (_, Some(process)) => Paint { color: false }.story(out, action, process),
        (Action::Gap(gap), None) => lost(out, gap),
        (Action::Resync(resync), None) => self::resync(out, resync),
        (Action::Group(group), None) => resources::group(out, group),
        (_, None) => {}
    })
}

/// Why a process ended, in words.
#[must_use]
pub fn cause_of_death(exit: &Exit) -> String {
    text(|out| death(out, exit))
}

/// Why records were lost, in words.
#[must_use]
pub const fn cause_of_loss(cause: LossCause) -> &'static str {
    match cause {
        LossCause::RingFull => "ring full",
        LossCause::Recursion => "skipped by the kernel",
        LossCause::SlowReader => "slow reader",
        LossCause::Unreadable => "of another version",
    }
}

/// A length of time in at most six letters: `850us`, `1.24ms`, `12.5s`, `3m12s`, `5h07m`, `12d3h`.
#[must_use]
pub fn short_duration(nanoseconds: u64) -> String {
    text(|out| duration(out, nanoseconds))
}

/// An amount of memory: `512KiB`, `2.93MiB`, `1.50GiB`.
#[must_use]
pub fn short_size(bytes: u64) -> String {
    text(|out| size(out, bytes))
}

/// What is written, as text: the writers of this file write nothing but UTF-8.
fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
struct Paint {
    color: bool,
}

impl Paint {
    fn with(self, out: &mut Vec<u8>, style: Style, write: impl FnOnce(&mut Vec<u8>)) {
        if self.color {
            put(out, format_args!("{style}"));
            write(out);
            put(out, format_args!("{style:#}"));
        } else {
            write(out);
        }
    }

    /// What happened to the process, and why.
    fn story(self, out: &mut Vec<u8>, action: &Action, process: &Process) {
        match action {
            Action::Fork { .. } => fork(out, process),
            Action::Exec { exec, .. } => self.exec(out, process, exec),
            Action::Exit { exit, .. } => self.exit(out, exit),
            Action::Signal { signal, .. } => self::signal(out, signal),
            Action::Oom { oom, .. } => self.with(out, RED, |out| self::oom(out, oom)),
            Action::Listen { listen, .. } => put(out, format_args!("tcp {}", listen.address)),
            Action::Stall { stall, .. } => self::stall(out, stall),
            Action::Latency { latency, .. } => self::latency(out, latency),
            Action::Resources { sample, .. } => resources::sample(out, sample),
            Action::Group(_) | Action::Gap(_) | Action::Resync(_) => {}
        }
    }

    fn exec(self, out: &mut Vec<u8>, process: &Process, exec: &Exec) {
        let Some(program) = &process.program else {
            out.extend_from_slice(b"(program not known)");
            return;
        };
        escape::command_line(out, program.arguments());
        if program.args.is_empty() {
            let reason: &[u8] =
                if program.args_count == 0 { b"(no arguments)" } else { b"(arguments unreadable)" };
            out.extend_from_slice(reason);
        } else if program.flags.args_truncated {
            let shown = program.arguments().count();
            put(out, format_args!(" ... ({shown} of {} arguments)", program.args_count));
        }
        // Parentheses never stand bare in a quoted command line, so they end it visibly.
        self.with(out, DIM, |out| {
            let flags = program.flags;
            out.extend_from_slice(b"  (");
            if !says_executable(program) || flags.executable_deleted {
                path(out, &program.executable, flags.executable_truncated, flags.executable_deleted);
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(b"in ");
            let (truncated, deleted) = (flags.working_directory_truncated, flags.working_directory_deleted);
            path(out, &program.working_directory, truncated, deleted);
            out.push(b')');
        });
        if exec.caps_gained != 0 {
            self.with(out, RED, |out| gained(out, exec.caps_gained));
        }
    }

    fn exit(self, out: &mut Vec<u8>, exit: &Exit) {
        let style = match (exit.status, &exit.cause) {
            (ExitStatus::Code(0), _) => Style::new(),
            (ExitStatus::Code(_), _) => YELLOW,
            (ExitStatus::Signal { .. } | ExitStatus::Unknown, _) => RED,
        };
        self.with(out, style, |out| death(out, exit));
        self.with(out, DIM, |out| {
            if exit.lifetime_ns != 0 || exit.usage.is_some() {
                out.extend_from_slice(b", ran ");
                duration(out, exit.lifetime_ns);
            }
            let Some(usage) = &exit.usage else { return };
            out.extend_from_slice(b", cpu ");
            duration(out, usage.user_ns.saturating_add(usage.system_ns));
            out.extend_from_slice(b", peak ");
            size(out, usage.peak_rss_bytes);
        });
    }

    /// Where the process lives, if that says more than "on this host".
    fn place(self, out: &mut Vec<u8>, process: &Process) {
        let Cgroup { container, unit, .. } = &*process.cgroup;
        if let Some(container) = container {
            self.with(out, DIM, |out| {
                let short = container.id.get(..12).unwrap_or(&container.id);
                put(out, format_args!("  [{} ", container.runtime.unwrap_or("container")));
                escape::text(out, short.as_bytes());
                out.push(b']');
            });
        } else if let Some(unit) = unit {
            self.with(out, DIM, |out| {
                out.extend_from_slice(b"  [");
                escape::text(out, unit.as_bytes());
                out.push(b']');
            });
        }
    }
}

/// The word of an action in its column: its name, or a shorter one.
const fn word(action: &Action) -> &'static str {
    match action {
        Action::Resources { .. } | Action::Group(_) => "uses",
        other => other.name(),
    }
}

fn fork(out: &mut Vec<u8>, process: &Process) {
    out.extend_from_slice(b"by ");
    someone(out, process.parent, process.parent_name.as_bytes());
    if process.kernel_thread {
        out.extend_from_slice(b", kernel thread");
    }
    if process.ns_pid != process.id.pid && process.ns_pid != 0 {
        put(out, format_args!(", pid {} in its namespace", process.ns_pid));
    }
}

/// The verdict, in words.
fn death(out: &mut Vec<u8>, exit: &Exit) {
    let (number, core) = match exit.status {
        // An exit code needs no cause, unless someone else made it: that is worth saying.
        ExitStatus::Code(code) => return put(out, format_args!("exit {code}")),
        ExitStatus::Signal { number, core } => (SignalName(number.into()), core),
        ExitStatus::Unknown => return out.extend_from_slice(b"ended unseen (exit record lost)"),
    };
    match &exit.cause {
        Cause::Oom(group) => {
            out.extend_from_slice(b"out of memory");
            memory_group(out, group.as_deref(), " in ");
        }
        Cause::Signal(from) => {
            put(out, format_args!("killed by {number} from "));
            sender(out, from);
        }
        Cause::Own => put(out, format_args!("killed by its own {number}")),
        Cause::Fault => put(out, format_args!("killed by {number} (own fault)")),
        Cause::Kernel => put(out, format_args!("killed by {number} from the kernel")),
        Cause::Unknown | Cause::RecordLost => put(out, format_args!("killed by {number} (sender not seen)")),
    }
    if core {
        out.extend_from_slice(b", core dumped");
    }
}

fn signal(out: &mut Vec<u8>, signal: &Signal) {
    put(out, format_args!("{}", SignalName(signal.number)));
    match &signal.origin {
        Origin::Process(from) => {
            out.extend_from_slice(b" from ");
            sender(out, from);
        }
        Origin::Kernel => out.extend_from_slice(b" from the kernel"),
        Origin::Fault => out.extend_from_slice(b" by its own fault"),
        Origin::Timer => out.extend_from_slice(b" from its own timer"),
    }
    if let Some(thread) = signal.thread {
        put(out, format_args!(" to thread {thread}"));
    }
    out.extend_from_slice(match signal.result {
        SignalResult::Delivered => b"".as_slice(),
        SignalResult::Ignored => b", ignored",
        SignalResult::Pending => b", already pending",
        SignalResult::Overflow => b", lost: queue full",
        SignalResult::LostInfo => b", queue full: without its details",
    });
}

fn oom(out: &mut Vec<u8>, oom: &Oom) {
    out.extend_from_slice(b"chosen by the out-of-memory killer");
    memory_group(out, oom.memory_cgroup.as_deref(), ", limit of ");
}

fn memory_group(out: &mut Vec<u8>, group: Option<&Cgroup>, before: &str) {
    let Some(group) = group else { return };
    out.extend_from_slice(before.as_bytes());
    match &group.path {
        Some(path) => escape::text(out, path.trim_start_matches('/').as_bytes()),
        None => put(out, format_args!("control group {}", group.id)),
    }
}

fn stall(out: &mut Vec<u8>, stall: &Stall) {
    put(out, format_args!("thread {} ", stall.thread));
    match stall.what {
        Waited::RunQueue(instead) => {
            out.extend_from_slice(b"waited ");
            duration(out, stall.waited_ns);
            put(out, format_args!(" for CPU {}", stall.cpu));
            if let Some(instead) = instead {
                out.extend_from_slice(b", where ");
                someone(out, instead.id, instead.name.as_bytes());
                out.extend_from_slice(b" ran");
            }
        }
        Waited::Uninterruptible => {
            let (has, still): (&[u8], &[u8]) = if stall.ongoing {
                (b"has slept ", b" uninterruptibly, and still does")
            } else {
                (b"slept ", b" uninterruptibly")
            };
            out.extend_from_slice(has);
            duration(out, stall.waited_ns);
            out.extend_from_slice(still);
        }
    }
}

/// `runq p50 <4us p99 <64us (210)`: upper ends of buckets, and how many waits.
fn latency(out: &mut Vec<u8>, latency: &Latency) {
    let GroupLatency { run_queue, voluntary, involuntary, uninterruptible, negative, missed } = latency.waits;
    put(out, format_args!("group {} in ", latency.group));
    duration(out, latency.interval_ns);
    for (name, waits) in
        [("runq", run_queue), ("sleep", voluntary), ("preempted", involuntary), ("disk", uninterruptible)]
    {
        let (Some(half), Some(most)) = (waits.quantile_ns(0.5), waits.quantile_ns(0.99)) else { continue };
        put(out, format_args!("; {name} p50 <"));
        duration(out, half);
        out.extend_from_slice(b" p99 <");
        duration(out, most);
        put(out, format_args!(" ({})", waits.count()));
    }
    for (name, count) in [("negative", negative), ("not followed", missed)] {
        if count > 0 {
            put(out, format_args!("; {count} {name}"));
        }
    }
}

fn lost(out: &mut Vec<u8>, gap: &Gap) {
    out.extend_from_slice(b"records lost:");
    for (index, lost) in gap.lost.iter().enumerate() {
        let cause = cause_of_loss(lost.cause);
        let comma = if index == 0 { "" } else { "," };
        put(out, format_args!("{comma} {} {} ({cause}", lost.count, lost.kind.name()));
        if let Some(cpu) = lost.cpu {
            put(out, format_args!(", CPU {cpu}"));
        }
        out.push(b')');
    }
}

fn resync(out: &mut Vec<u8>, resync: &Resync) {
    let after = match resync.reason {
        ResyncReason::Gap => "after the gap",
        ResyncReason::Sweep => "sweep",
    };
    put(out, format_args!("compared with the kernel's {} processes ({after}, ", resync.found));
    duration(out, resync.duration_ns);
    let differences = resync.drift.counts().into_iter().filter(|(_, count)| *count > 0);
    out.extend_from_slice(if resync.drift == Drift::default() { b"): no difference" } else { b"):" });
    for (index, (name, count)) in differences.enumerate() {
        put(out, format_args!("{} {count} {name}", if index == 0 { "" } else { "," }));
    }
}

fn gained(out: &mut Vec<u8>, mask: u64) {
    out.extend_from_slice(b", gained ");
    if mask & ALL_CAPABILITIES == ALL_CAPABILITIES {
        return out.extend_from_slice(b"all capabilities");
    }
    // More than four names push everything else off the screen.
    let count = mask.count_ones();
    if count > 4 {
        return put(out, format_args!("{count} capabilities"));
    }
    for (index, name) in capabilities(mask).enumerate() {
        put(out, format_args!("{}{name}", if index == 0 { "" } else { "+" }));
    }
}

fn sender(out: &mut Vec<u8>, sender: &Sender) {
    someone(out, sender.id, sender.name.as_bytes());
    put(out, format_args!(" (uid {})", sender.uid));
}

/// `bash[812]`
fn someone(out: &mut Vec<u8>, process: ProcId, name: &[u8]) {
    if !process.is_some() {
        return out.extend_from_slice(b"the kernel");
    }
    if name.is_empty() {
        out.push(b'?');
    }
    escape::text(out, name);
    put(out, format_args!("[{}]", process.pid));
}

fn path(out: &mut Vec<u8>, path: &[u8], truncated: bool, deleted: bool) {
    if truncated {
        out.extend_from_slice(b"...");
    }
    if path.is_empty() && !truncated {
        out.push(b'?');
    }
    escape::command_line(out, (!path.is_empty()).then_some(path).into_iter());
    if deleted {
        out.extend_from_slice(b" (deleted)");
    }
}

/// Whether the first argument names the executable, so that naming it again would be noise.
fn says_executable(program: &Program) -> bool {
    let base = |path: &[u8]| path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec();
    let first = program.arguments().next().unwrap_or_default();
    let first = first.strip_prefix(b"-").unwrap_or(first);
    if first.starts_with(b"/") {
        // Where /bin is a link to /usr/bin, both names are one.
        first == program.executable || program.executable.strip_prefix(b"/usr") == Some(first)
    } else {
        base(first) == base(&program.executable)
    }
}

/// `850us`, `1.24ms`, `12.5s`, `3m12s`, `5h07m`, `12d3h`.
pub(super) fn duration(out: &mut Vec<u8>, nanoseconds: u64) {
    const MICRO: u64 = 1_000;
    const MILLI: u64 = 1_000 * MICRO;
    const SECOND: u64 = 1_000 * MILLI;
    let seconds = nanoseconds / SECOND;
    match nanoseconds {
        0..MILLI => put(out, format_args!("{}us", nanoseconds / MICRO)),
        MILLI..SECOND => three_digits(out, nanoseconds / 10_000, "ms"),
        _ if seconds < 60 => three_digits(out, nanoseconds / (10 * MILLI), "s"),
        _ if seconds < 3_600 => put(out, format_args!("{}m{:02}s", seconds / 60, seconds % 60)),
        _ if seconds < 86_400 => put(out, format_args!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60)),
        _ => put(out, format_args!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24)),
    }
}

/// A number of hundredths with three digits that count: `1.24`, `12.4`, `124`.
fn three_digits(out: &mut Vec<u8>, hundredths: u64, unit: &str) {
    let whole = hundredths / 100;
    match whole {
        0..=9 => put(out, format_args!("{whole}.{:02}{unit}", hundredths % 100)),
        10..=99 => put(out, format_args!("{whole}.{}{unit}", hundredths / 10 % 10)),
        _ => put(out, format_args!("{whole}{unit}")),
    }
}

/// `512KiB`, `2.93MiB`, `1.50GiB`.
pub(super) fn size(out: &mut Vec<u8>, bytes: u64) {
    match bytes {
        0..0x10_0000 => put(out, format_args!("{}KiB", bytes >> 10)),
        0x10_0000..0x4000_0000 => three_digits(out, u64_share(bytes, 20), "MiB"),
        _ => three_digits(out, u64_share(bytes, 30), "GiB"),
    }
}

/// Hundredths of `bytes / 2^shift`.
const fn u64_share(bytes: u64, shift: u32) -> u64 {
    (bytes >> shift) * 100 + (((bytes & ((1 << shift) - 1)) * 100) >> shift)
}

fn pid(out: &mut Vec<u8>, pid: u32) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(pid);
    out.resize(out.len() + 7_usize.saturating_sub(text.len()), b' ');
    out.extend_from_slice(text.as_bytes());
}

fn pad(out: &mut Vec<u8>, text: &[u8], width: usize) {
    out.extend_from_slice(text);
    out.resize(out.len() + width.saturating_sub(text.len()), b' ');
}

fn escaped_padded(out: &mut Vec<u8>, bytes: &[u8], width: usize) {
    let before = out.len();
    escape::text(out, bytes);
    // One column per character is near enough: wide letters in a command name are rare.
    let written = out.get(before..).unwrap_or_default();
    let columns = written.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
    out.resize(out.len() + width.saturating_sub(columns), b' ');
}

pub(super) fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let shown = [
            (0, "0us"),
            (850_999, "850us"),
            (1_240_000, "1.24ms"),
            (999_999_999, "999ms"),
            (1_240_000_000, "1.24s"),
            (59_999_999_999, "59.9s"),
            (192_000_000_000, "3m12s"),
            (18_420_000_000_000, "5h07m"),
            (1_047_600_000_000_000, "12d3h"),
        ];
        for (nanoseconds, expected) in shown {
            assert_eq!(text(|out| duration(out, nanoseconds)), expected);
        }
    }

    #[test]
    fn sizes() {
        let shown = [
            (0, "0KiB"),
            (524_288, "512KiB"),
            (3_072_000, "2.92MiB"),
            (1 << 30, "1.00GiB"),
            (u64::MAX, "17179869183GiB"),
        ];
        for (bytes, expected) in shown {
            assert_eq!(text(|out| size(out, bytes)), expected);
        }
    }

    #[test]
    fn capabilities_gained() {
        assert_eq!(text(|out| gained(out, 1 << 13)), ", gained CAP_NET_RAW");
        assert_eq!(text(|out| gained(out, u64::MAX)), ", gained all capabilities");
        assert_eq!(text(|out| gained(out, 0xff)), ", gained 8 capabilities");
    }
}
