//! Events made visible: a compact line for people, JSON for programs.

pub mod compact;
pub mod escape;
pub mod json;
mod resources;
pub mod when;

use guard_core::event::Event;

use crate::clock::Stamp;
use crate::summary::Summary;
use compact::CompactWriter;
use json::JsonWriter;

/// Turns events into lines.
#[derive(Debug)]
pub enum Renderer {
    /// For people.
    Compact(CompactWriter),
    /// For programs.
    Json(JsonWriter),
}

impl Renderer {
    /// Appends the event's line.
    pub fn event(&mut self, out: &mut Vec<u8>, stamp: &Stamp, event: &Event) {
        match self {
            Self::Compact(writer) => writer.event(out, stamp, event),
            Self::Json(writer) => writer.event(out, stamp, event),
        }
    }

    /// Appends the summary's line, if this form has one.
    pub fn summary(&mut self, out: &mut Vec<u8>, stamp: &Stamp, time_ns: u64, summary: &Summary) {
        match self {
            Self::Compact(_) => {}
            Self::Json(writer) => writer.summary(out, stamp, time_ns, summary),
        }
    }
}

/// The lowest `DIGITS` hexadecimal digits.
fn hex<const DIGITS: usize>(value: u128) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    let mut rest = value;
    for place in text.iter_mut().rev() {
        *place = escape::hex_digit(u8::try_from(rest & 15).unwrap_or_default());
        rest >>= 4;
    }
    text
}
