//! Recent deaths: when, who, after how long, why.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use guard_core::event::ExitStatus;

use super::model::Death;
use super::order;
use super::state::Focus;
use super::text::{escaped, lifetime};
use super::view::Scene;
use crate::show::compact::cause_of_death;

/// Where columns begin; time of day and pid stand in front.
const NAME: u16 = 17;
const RAN: u16 = 33;
const CAUSE: u16 = 40;

/// Paints the pane, the newest first.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    if area.height == 0 {
        return;
    }
    let Scene { model, state, context, .. } = scene;
    let palette = context.palette;
    let title = Rect { height: 1, ..area };
    buffer.set_style(title, palette.bar());
    let which = if state.failures_only { "CAUSE (exit code 0 left out)" } else { "CAUSE" };
    for (x, text) in [(0, "RECENT DEATHS"), (NAME, "NAME"), (RAN + 3, "RAN"), (CAUSE, which)] {
        let room = area.width.saturating_sub(x).into();
        buffer.set_stringn(area.x + x, area.y, text, room, palette.bar().patch(palette.bold()));
    }
    let deaths = order::deaths(model, &state.wish, state.failures_only);
    if deaths.is_empty() && area.height > 1 {
        buffer.set_stringn(area.x, area.y + 1, "none since the start", area.width.into(), palette.dim());
    }
    let focused = state.focus == Focus::Deaths;
    let selected = deaths.iter().position(|death| focused && Some(death.process.id) == state.death);
    // The selected one stays on the screen.
    let first = selected.map_or(0, |at| (at + 2).saturating_sub(area.height.into()));
    for ((index, death), y) in deaths.iter().enumerate().skip(first).zip(area.top() + 1..area.bottom()) {
        let row = Rect { y, height: 1, ..area };
        line(buffer, row, scene, death);
        if selected == Some(index) {
            buffer.set_style(row, palette.selected());
        }
    }
}

fn line(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, death: &Death) {
    let context = scene.context;
    let put = |buffer: &mut Buffer, x: u16, text: &str, width: u16, style: Style| {
        let width = width.min(area.right().saturating_sub(x));
        buffer.set_stringn(x, area.y, text, width.into(), style);
    };
    let pid = death.process.id.pid;
    let ran = lifetime(&death.exit);
    put(buffer, area.x, &context.time_of_day(death.time_ns), 8, context.palette.dim());
    put(buffer, area.x + 8, &format!("{pid:>8}"), 8, Style::new());
    put(
        buffer,
        area.x + NAME,
        &escaped(death.process.name.as_bytes()),
        RAN - NAME - 1,
        context.palette.bold(),
    );
    put(buffer, area.x + RAN, &format!("{ran:>6}"), 6, Style::new());
    let failed = death.exit.status != ExitStatus::Code(0);
    let style = if failed { context.palette.failure() } else { Style::new() };
    put(buffer, area.x + CAUSE, &cause_of_death(&death.exit), u16::MAX, style);
}
