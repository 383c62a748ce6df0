//! The page with the keys.

use ratatui::text::{Line, Span};

use super::view::Scene;

/// Keys and what they do; also part of `processguard top --help`.
pub const KEYS: [(&str, &str); 18] = [
    ("arrows  j k  Home End Page", "move"),
    ("Enter", "details of what is selected; again: back"),
    ("Esc", "back; clears the search, then the filter"),
    ("t", "tree: processes below their parents"),
    ("l", "list: processes one after the other"),
    ("g", "groups: containers, systemd units, control groups"),
    ("s  >  right, <  left", "sort by the next column, by the one before"),
    ("P  M", "sort by CPU, by memory"),
    ("r", "reverse the order"),
    ("/  n  N", "search name, arguments, pid, group; next, previous"),
    ("f", "filter processes and deaths by the same"),
    ("d, Tab", "to the deaths and back"),
    ("x", "deaths without those with exit code 0"),
    ("K", "show or hide the kernel's own threads"),
    ("space", "pause the screen; the kernel is watched on"),
    ("Ctrl-L  Ctrl-Z", "paint the screen again; suspend"),
    ("?", "this page"),
    ("q, Ctrl-C", "quit"),
];

/// What the columns mean.
const COLUMNS: [(&str, &str); 6] = [
    ("CPU%", "share of one CPU since the last sample"),
    ("RSS", "resident memory"),
    ("RQ p50 p99", "how long the threads of the process's group waited for a CPU,"),
    ("", "half of the times and 99 of 100 times at most, in the last 10 to 20 s"),
    ("RST", "restarts: the same executable ended and came again, in the same"),
    ("", "group or under the same parent"),
];

/// The page.
pub(super) fn text(scene: &Scene<'_>) -> Vec<Line<'static>> {
    let palette = scene.context.palette;
    let entry = |(key, does): &(&'static str, &'static str), width: usize| {
        Line::from(vec![Span::styled(format!(" {key:<width$} "), palette.bold()), Span::raw(*does)])
    };
    let mut lines = vec![Line::styled("KEYS", palette.bold())];
    lines.extend(KEYS.iter().map(|key| entry(key, 26)));
    lines.push(Line::styled("COLUMNS", palette.bold()));
    lines.extend(COLUMNS.iter().map(|column| entry(column, 10)));
    lines
}
