//! Saved streams: what is read of a line, and what is written of that again.

use guard_core::event::Event;
use guard_userspace::clock::Stamp;
use guard_userspace::show::compact::CompactWriter;
use guard_userspace::show::escape::is_hidden;
use guard_userspace::show::json::{JsonWriter, Line, read};
use guard_userspace::show::when::Timestamps;
use guard_userspace::summary::Summary;

/// Reads each line. What is an event, written again, reads as the same event, and a summary as
/// the same summary.
pub fn run(data: &[u8]) {
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        match read(line) {
            Ok(Line::Event(stamp, event)) => again(&stamp, &event),
            Ok(Line::Summary(summary)) => same_summary(&summary),
            Err(error) => assert!(!error.to_string().chars().any(is_hidden), "{error:?}"),
        }
    }
}

fn again(stamp: &Stamp, event: &Event) {
    let written = shown(stamp, event);
    match read(&written) {
        Ok(Line::Event(read_stamp, read_event)) => {
            assert_eq!((&read_stamp, &*read_event), (stamp, event));
        }
        other => unreachable!("{other:?} of {}", String::from_utf8_lossy(&written)),
    }
}

/// The event's line as JSON; that and the one for people are single lines of visible text.
pub fn shown(stamp: &Stamp, event: &Event) -> Vec<u8> {
    let mut line = Vec::new();
    JsonWriter::new(*stamp).event(&mut line, stamp, event);
    assert_visible(&line);
    let mut compact = Vec::new();
    CompactWriter::new(Timestamps::Utc, false).event(&mut compact, stamp, event);
    assert_visible(&compact);
    line
}

fn assert_visible(line: &[u8]) {
    let body = line.strip_suffix(b"\n").map(std::str::from_utf8);
    let Some(Ok(text)) = body else { unreachable!("not one line of text: {line:?}") };
    assert!(!text.chars().any(is_hidden), "{text:?}");
}

fn same_summary(summary: &Summary) {
    let stamp = Stamp { boot: guard_core::ids::BootId(1), utc_offset_ns: 0 };
    let mut line = Vec::new();
    JsonWriter::new(stamp).summary(&mut line, &stamp, 1, summary);
    match read(&line) {
        Ok(Line::Summary(read)) => assert_eq!(read, *summary),
        other => unreachable!("{other:?} of {}", String::from_utf8_lossy(&line)),
    }
}
