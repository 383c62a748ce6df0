//! The first two lines: where, when and how; how much there is, and what was lost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use guard_core::event::LossCause;

use super::model::Model;
use super::order::View;
use super::text::{count, escaped, many};
use super::view::Scene;
use crate::show::compact::cause_of_loss;

/// Host, time, and how the table is arranged.
pub(super) fn title(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let Scene { model, state, context, .. } = scene;
    let view = match state.wish.view {
        View::Tree => "tree",
        View::List => "list",
        View::Groups => "groups",
    };
    let order = if state.wish.reverse { " reversed" } else { "" };
    let mut right = format!("{view} by {}{order}", state.wish.sort().name());
    if !state.wish.filter.is_empty() {
        right.push_str(&format!("  filter: {}", escaped(state.wish.filter.as_bytes())));
    }
    if !state.search.is_empty() {
        right.push_str(&format!("  search: {}", escaped(state.search.as_bytes())));
    }
    let paused = if state.paused { "PAUSED at " } else { "" };
    let left =
        format!("{}  {paused}{}  ", escaped(context.host.as_bytes()), context.time_of_day(model.now_ns));
    buffer.set_style(area, context.palette.bar());
    let line = Line::from(vec![Span::styled(left, context.palette.bold()), Span::raw(right)]);
    buffer.set_line(area.x, area.y, &line, area.width);
}

/// Processes, threads, events and losses.
pub(super) fn counts(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let Scene { model, state, context, .. } = scene;
    let kernel = model.rows.values().filter(|row| row.process.kernel_thread).count() as u64;
    let processes = model.rows.len() as u64 - kernel;
    let threads: u64 = model
        .rows
        .values()
        .filter(|row| !row.process.kernel_thread)
        .filter_map(|row| row.resources)
        .map(|resources| u64::from(resources.threads))
        .sum();
    let mut text = format!("  {}", many(processes, "process", "processes"));
    if threads > 0 {
        text.push_str(&format!(", {}", many(threads, "thread", "threads")));
    }
    if kernel > 0 {
        let how = if state.wish.kernel_threads { "" } else { ", hidden" };
        text.push_str(&format!(" (+{} of the kernel{how})", count(kernel)));
    }
    // In front: what was lost bears on everything else that is shown.
    let lost = match model.lost() {
        0 => Span::raw("0 lost"),
        _ => Span::styled(losses(model), context.palette.alarm()),
    };
    let events = Span::raw(format!(", {:.1} events/s", model.events_per_second));
    buffer.set_line(area.x, area.y, &Line::from(vec![lost, events, Span::raw(text)]), area.width);
}

/// `LOST 13: 12 ring full, 1 skipped by the kernel`
fn losses(model: &Model) -> String {
    let mut causes: Vec<(LossCause, u64)> = Vec::new();
    for loss in &model.losses {
        match causes.iter_mut().find(|(cause, _)| *cause == loss.cause) {
            Some((_, sum)) => *sum += loss.count,
            None => causes.push((loss.cause, loss.count)),
        }
    }
    let words = |(cause, sum): &(LossCause, u64)| format!("{} {}", count(*sum), cause_of_loss(*cause));
    let words: Vec<_> = causes.iter().map(words).collect();
    format!("LOST {}: {}", count(model.lost()), words.join(", "))
}
