//! The screen: what stands where. Each pane has a file of its own.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::model::Model;
use super::order::{self, Line};
use super::state::{Focus, Page, Purpose, State};
use super::{deaths, details, header, help, table};
use crate::clock::Stamp;
use crate::names::Users;

/// The smallest screen that everything has its place on.
pub(super) const SMALLEST: (u16, u16) = (60, 12);

/// Height from which on there is room for deaths below the table.
const ROOM_FOR_DEATHS: u16 = 18;

/// What is the same for every picture, or nearly.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The host's name.
    pub(super) host: String,
    pub(super) users: Users,
    pub(super) stamp: Stamp,
    /// Seconds that local time is ahead of UTC.
    pub(super) zone_s: i64,
    pub(super) palette: Palette,
}

impl Context {
    /// The time of day, `HH:MM:SS`.
    pub(super) fn time_of_day(&self, boot_ns: u64) -> String {
        let local_s = self.stamp.unix_ns(boot_ns).div_euclid(1_000_000_000) + self.zone_s;
        let second = local_s.rem_euclid(86_400);
        format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
    }

    /// The time of day with milliseconds.
    pub(super) fn precise_time_of_day(&self, boot_ns: u64) -> String {
        let milliseconds = self.stamp.unix_ns(boot_ns).div_euclid(1_000_000).rem_euclid(1_000);
        format!("{}.{milliseconds:03}", self.time_of_day(boot_ns))
    }
}

/// How things are set off. Colours only repeat what words and weight say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// Whether colours may be used.
    pub(super) color: bool,
}

impl Palette {
    pub(super) fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The line that keys act on.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What the search found.
    pub(super) fn found(self) -> Style {
        self.colored(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    pub(super) fn alarm(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn failure(self) -> Style {
        self.colored(Color::Red)
    }

    pub(super) fn busy(self) -> Style {
        self.colored(Color::Green).add_modifier(Modifier::BOLD)
    }

    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }
}

/// Everything that a pane may look at.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) model: &'a Model,
    pub(super) state: &'a State,
    pub(super) lines: &'a [Line],
    /// Index of the selected line.
    pub(super) selected: Option<usize>,
    pub(super) context: &'a Context,
}

/// Paints the screen, and tells the state how much fits on it.
pub(super) fn draw(buffer: &mut Buffer, model: &Model, state: &mut State, context: &Context) {
    let area = buffer.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return too_small(buffer);
    }
    let lines = order::lines(model, &state.wish);
    let selected = state.settle(&lines);
    let [title, counts, body, status] = split(area);
    match state.page.clone() {
        Page::Table => {
            let (above, below) = table_and_deaths(body, state.focus);
            state.page_lines =
                usize::from(if state.focus == Focus::Table { above } else { below }.height) - 1;
            state.first = first_line(state.first, selected.unwrap_or(0), usize::from(above.height) - 1);
            let scene = Scene { model, state, lines: &lines, selected, context };
            table::draw(buffer, above, &scene);
            deaths::draw(buffer, below, &scene);
        }
        page => {
            let scene = Scene { model, state, lines: &lines, selected, context };
            let text = match &page {
                Page::Details(item) => details::text(&scene, item, body.width),
                _ => help::text(&scene),
            };
            (state.page_lines, state.scroll_limit) = (body.height.into(), limit(text.len(), body));
            state.scroll = state.scroll.min(state.scroll_limit);
            for (line, y) in text.iter().skip(state.scroll).zip(body.top()..body.bottom()) {
                buffer.set_line(body.x, y, line, body.width);
            }
        }
    }
    let scene = Scene { model, state, lines: &lines, selected, context };
    header::title(buffer, title, &scene);
    header::counts(buffer, counts, &scene);
    status_line(buffer, status, &scene);
}

/// A picture as text, with room for every line, `width` columns wide.
pub(super) fn once(model: &Model, state: &mut State, context: &Context, width: u16) -> String {
    let lines = order::lines(model, &state.wish);
    let shown_deaths = order::deaths(model, &state.wish, state.failures_only).len();
    let height = u16::try_from(lines.len() + shown_deaths + 4).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, width.max(SMALLEST.0), height);
    let mut buffer = Buffer::empty(area);
    let body = Rect::new(0, 2, area.width, height - 2);
    let table_height = u16::try_from(lines.len() + 1).unwrap_or(body.height).min(body.height);
    let above = Rect { height: table_height, ..body };
    let below = Rect { y: above.bottom(), height: body.height - table_height, ..body };
    let scene = Scene { model, state, lines: &lines, selected: None, context };
    header::title(&mut buffer, Rect { height: 1, ..area }, &scene);
    header::counts(&mut buffer, Rect { y: 1, height: 1, ..area }, &scene);
    table::draw(&mut buffer, above, &scene);
    deaths::draw(&mut buffer, below, &scene);
    text_of(&buffer)
}

/// The letters of a buffer, without styles.
pub(super) fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut x = buffer.area.left();
        while let Some(cell) = buffer.cell((x, y)).filter(|_| x < buffer.area.right()) {
            line.push_str(cell.symbol());
            // A wide letter covers the cells behind its own.
            let width = ratatui::text::Span::raw(cell.symbol()).width();
            x += u16::try_from(width.max(1)).unwrap_or(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn split(area: Rect) -> [Rect; 4] {
    let row = |y| Rect { y, height: 1, ..area };
    let body = Rect { y: area.y + 2, height: area.height - 3, ..area };
    [row(area.y), row(area.y + 1), body, row(area.bottom() - 1)]
}

/// The pane that has the focus gets the room; deaths are never more than a glance otherwise.
fn table_and_deaths(body: Rect, focus: Focus) -> (Rect, Rect) {
    let deaths = match focus {
        Focus::Deaths => body.height * 2 / 3,
        Focus::Table if body.height + 3 < ROOM_FOR_DEATHS => 0,
        Focus::Table => (body.height / 4).clamp(4, 12) + 1,
    };
    let above = Rect { height: body.height - deaths, ..body };
    (above, Rect { y: above.bottom(), height: deaths, ..body })
}

/// The first line of the table, so that the selected one is on the screen.
fn first_line(first: usize, selected: usize, height: usize) -> usize {
    first.min(selected).max((selected + 1).saturating_sub(height.max(1)))
}

fn limit(lines: usize, body: Rect) -> usize {
    lines.saturating_sub(body.height.into())
}

fn too_small(buffer: &mut Buffer) {
    let area = buffer.area;
    let (width, height) = SMALLEST;
    let needs = format!("needs {width}x{height}");
    let has = format!("this is {}x{}", area.width, area.height);
    let lines = ["processguard top", &needs, &has, "q: quit"];
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        buffer.set_stringn(area.x, y, line, area.width.into(), Style::new());
    }
}

fn status_line(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let palette = scene.context.palette;
    let width = usize::from(area.width);
    if let Some(prompt) = &scene.state.prompt {
        let (name, hint) = match prompt.purpose {
            Purpose::Search => ("search: ", "  (Enter: done, Esc: none, then n N: next, previous)"),
            Purpose::Filter => ("filter by name, pid or group: ", "  (Enter: done, Esc: none)"),
        };
        let text = super::text::escaped(prompt.text.as_bytes());
        let (x, y) = buffer.set_stringn(area.x, area.y, name, width, palette.bold());
        let (x, y) = buffer.set_stringn(x, y, &text, area.right().saturating_sub(x).into(), Style::new());
        // The cursor of the terminal stays hidden; this is where the next letter goes.
        let (x, y) = buffer.set_stringn(x, y, " ", area.right().saturating_sub(x).into(), palette.bar());
        buffer.set_stringn(x, y, hint, area.right().saturating_sub(x).into(), palette.dim());
        return;
    }
    if let Some(notice) = &scene.state.notice {
        buffer.set_stringn(area.x, area.y, notice, width, palette.bold());
        return;
    }
    let keys = match (&scene.state.page, scene.state.focus) {
        (Page::Table, Focus::Table) => {
            "? help  q quit  Enter details  / search  f filter  s sort  t l g view  d deaths  space pause"
        }
        (Page::Table, Focus::Deaths) => {
            "? help  q quit  Enter details  x failures only  d or Esc back to the table"
        }
        _ => "q quit  Esc or Enter back  up down PgUp PgDn scroll",
    };
    buffer.set_stringn(area.x, area.y, keys, width, palette.dim());
}
