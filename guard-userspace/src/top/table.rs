//! The table: one line for each process or group.

use std::collections::HashMap;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::groups::Group;
use super::model::Row;
use super::order::{self, Item, Line, Sort, Sum, View};
use super::text;
use super::view::Scene;
use crate::show::compact::{short_duration, short_size};

/// Columns that the command or the group's name should have at least.
const NAME_COLUMNS: u16 = 20;

/// A column but the last one, which has the rest of the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Pid,
    Processes,
    User,
    Cpu,
    Rss,
    P50,
    P99,
    Restarts,
    Age,
    Threads,
    Files,
    Group,
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Processes => "PROCS",
            Self::User => "USER",
            Self::Cpu => "CPU%",
            Self::Rss => "RSS",
            Self::P50 => "RQ p50",
            Self::P99 => "RQ p99",
            Self::Restarts => "RST",
            Self::Age => "AGE",
            Self::Threads => "THR",
            Self::Files => "FILES",
            Self::Group => "GROUP",
        }
    }

    const fn width(self) -> u16 {
        match self {
            Self::Pid | Self::Rss => 7,
            Self::User => 8,
            Self::Cpu | Self::Processes | Self::Files => 5,
            Self::P50 | Self::P99 | Self::Age => 6,
            Self::Restarts | Self::Threads => 4,
            Self::Group => 24,
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }

    const fn sort(self) -> Option<Sort> {
        Some(match self {
            Self::Pid => Sort::Pid,
            Self::Cpu => Sort::Cpu,
            Self::Rss => Sort::Memory,
            Self::P99 => Sort::RunQueue,
            Self::Restarts => Sort::Restarts,
            Self::Age => Sort::Age,
            _ => return None,
        })
    }
}

/// The columns that a width has room for.
fn columns(view: View, width: u16) -> Vec<Column> {
    use Column::{Age, Cpu, Files, Group, P50, P99, Pid, Processes, Restarts, Rss, Threads, User};
    let mut columns = match view {
        View::Groups => vec![Processes, Cpu, Rss, P50, P99, Restarts, Age],
        View::Tree | View::List => vec![Pid, User, Cpu, Rss, P50, P99, Restarts, Age],
    };
    let taken = |columns: &[Column]| columns.iter().map(|column| column.width() + 1).sum::<u16>();
    for less in [User, P50, Age] {
        if taken(&columns) + NAME_COLUMNS > width {
            columns.retain(|column| *column != less);
        }
    }
    let more: &[Column] = if view == View::Groups { &[Threads] } else { &[Threads, Files, Group] };
    for column in more {
        // What is added to a wide screen must leave the commands room to be read.
        if taken(&columns) + column.width() + 1 + 2 * NAME_COLUMNS <= width {
            columns.push(*column);
        }
    }
    columns
}

/// Paints titles and lines.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let view = scene.state.wish.view;
    let columns = columns(view, area.width);
    titles(buffer, area, scene, &columns);
    let sums = if view == View::Groups { order::sums(scene.model) } else { HashMap::new() };
    let shown = scene.lines.iter().enumerate().skip(scene.state.first);
    for ((index, line), y) in shown.zip(area.top() + 1..area.bottom()) {
        let row = Rect { y, height: 1, ..area };
        match &line.item {
            Item::Process(id) => {
                if let Some(process) = scene.model.rows.get(id) {
                    process_line(buffer, row, scene, &columns, line, process);
                }
            }
            Item::Group(key) => group_line(buffer, row, scene, &columns, key, &sums),
        }
        if scene.selected == Some(index) && scene.state.focus == super::state::Focus::Table {
            buffer.set_style(row, scene.context.palette.selected());
        }
    }
    if scene.lines.is_empty() && area.height > 1 {
        let why = if scene.state.wish.filter.is_empty() {
            "no processes"
        } else {
            "nothing passes the filter (Esc: clear it)"
        };
        buffer.set_stringn(area.x, area.y + 1, why, area.width.into(), scene.context.palette.dim());
    }
}

fn titles(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, columns: &[Column]) {
    let palette = scene.context.palette;
    let row = Rect { height: 1, ..area };
    buffer.set_style(row, palette.bar());
    let mut x = area.x;
    for column in columns {
        let sorted = column.sort() == Some(scene.state.wish.sort());
        let arrow = if scene.state.wish.reverse { '▴' } else { '▾' };
        // The arrow takes the place of the gap in front of a right-aligned title.
        let title = if sorted { format!("{arrow}{}", column.title()) } else { column.title().to_owned() };
        let style = if sorted { palette.bar().patch(palette.bold()) } else { palette.bar() };
        put(buffer, x, area.y, *column, &title, style);
        x += column.width() + 1;
    }
    let name = if scene.state.wish.view == View::Groups { "GROUP" } else { "COMMAND" };
    buffer.set_stringn(x, area.y, name, area.right().saturating_sub(x).into(), palette.bar());
}

/// Writes a cell; figures end where their column ends.
fn put(buffer: &mut Buffer, x: u16, y: u16, column: Column, text: &str, style: Style) {
    let width = column.width();
    let used = u16::try_from(ratatui::text::Span::raw(text).width()).unwrap_or(width);
    let offset = if column.is_text() { 0 } else { width.saturating_sub(used) };
    buffer.set_stringn(x + offset, y, text, width.into(), style);
}

fn process_line(
    buffer: &mut Buffer,
    area: Rect,
    scene: &Scene<'_>,
    columns: &[Column],
    line: &Line,
    row: &Row,
) {
    let palette = scene.context.palette;
    let style = if line.context { palette.dim() } else { Style::new() };
    let mut x = area.x;
    for column in columns {
        let busy = *column == Column::Cpu && row.cpu_percent().is_some_and(|percent| percent >= 50.0);
        let style = if busy { palette.busy() } else { style };
        put(buffer, x, area.y, *column, &process_cell(scene, *column, row), style);
        x += column.width() + 1;
    }
    let room = |x: u16| usize::from(area.right().saturating_sub(x));
    let (x, y) = buffer.set_stringn(x, area.y, &line.branch, room(x), palette.dim());
    let style = if is_found(scene, line) { palette.found() } else { style };
    buffer.set_stringn(x, y, text::short_command(&row.process), room(x), style);
}

fn group_line(
    buffer: &mut Buffer,
    area: Rect,
    scene: &Scene<'_>,
    columns: &[Column],
    key: &Arc<str>,
    sums: &HashMap<Arc<str>, Sum>,
) {
    let Some(group) = scene.model.groups.get(key) else { return };
    let sum = sums.get(key).copied().unwrap_or_default();
    let mut x = area.x;
    for column in columns {
        put(buffer, x, area.y, *column, &group_cell(scene, *column, group, &sum), Style::new());
        x += column.width() + 1;
    }
    let line = Line { item: Item::Group(Arc::clone(key)), branch: String::new(), context: false };
    let style = if is_found(scene, &line) { scene.context.palette.found() } else { Style::new() };
    let room = area.right().saturating_sub(x).into();
    buffer.set_stringn(x, area.y, text::escaped(group.name.as_bytes()), room, style);
}

fn is_found(scene: &Scene<'_>, line: &Line) -> bool {
    let search = &scene.state.search;
    !search.is_empty() && order::matches(scene.model, &line.item, search)
}

fn process_cell(scene: &Scene<'_>, column: Column, row: &Row) -> String {
    let unknown = || "-".to_owned();
    let age = |start_ns| short_duration(scene.model.now_ns.saturating_sub(start_ns));
    match column {
        Column::Pid => row.process.id.pid.to_string(),
        Column::Processes => unknown(),
        Column::User => scene.context.users.name(row.process.uid),
        Column::Cpu => row.cpu_percent().map_or_else(unknown, text::percent),
        Column::Rss => row.resources.map_or_else(unknown, |resources| short_size(resources.rss_bytes)),
        Column::P50 => wait(scene.model.group(row), 0.5),
        Column::P99 => wait(scene.model.group(row), 0.99),
        Column::Restarts => scene.model.restarts(row).to_string(),
        Column::Age if row.process.id.start_ns == 0 => unknown(),
        Column::Age => age(row.process.id.start_ns),
        Column::Threads => row.resources.map_or_else(unknown, |resources| resources.threads.to_string()),
        Column::Files => row.resources.map_or_else(unknown, |resources| resources.open_files.to_string()),
        Column::Group => {
            scene.model.group(row).map_or_else(unknown, |group| text::escaped(group.name.as_bytes()))
        }
    }
}

fn group_cell(scene: &Scene<'_>, column: Column, group: &Group, sum: &Sum) -> String {
    let unknown = || "-".to_owned();
    match column {
        Column::Processes => group.processes.to_string(),
        Column::Cpu => sum.cpu_percent.map_or_else(unknown, text::percent),
        Column::Rss => sum.rss_bytes.map_or_else(unknown, short_size),
        Column::P50 => wait(Some(group), 0.5),
        Column::P99 => wait(Some(group), 0.99),
        Column::Restarts => sum.restarts.to_string(),
        Column::Age => short_duration(scene.model.now_ns.saturating_sub(sum.start_ns)),
        Column::Threads if sum.threads > 0 => sum.threads.to_string(),
        Column::Threads | Column::Pid | Column::User | Column::Files | Column::Group => unknown(),
    }
}

/// How long the group's threads waited for a CPU, as words.
fn wait(group: Option<&Group>, share: f64) -> String {
    group.and_then(|group| group.run_queue_ns(share)).map_or_else(|| "-".to_owned(), short_duration)
}
