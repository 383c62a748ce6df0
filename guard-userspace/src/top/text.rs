//! What processes supply, made fit for the screen; and figures as words.

use guard_core::event::{Exit, Process};

use crate::show::compact::short_duration;
use crate::show::escape;

/// Bytes, as text without anything hidden.
pub(super) fn escaped(bytes: &[u8]) -> String {
    escape::display(bytes)
}

/// The command line that a shell would read back; of a kernel thread its name in brackets.
pub(super) fn command(process: &Process) -> String {
    let name = process.name.as_bytes();
    if process.kernel_thread {
        return format!("[{}]", escaped(name));
    }
    match &process.program {
        Some(program) if !program.args.is_empty() => {
            let mut out = Vec::new();
            escape::command_line(&mut out, program.arguments());
            if program.flags.args_truncated {
                out.extend_from_slice(b" ...");
            }
            String::from_utf8_lossy(&out).into_owned()
        }
        _ => escaped(name),
    }
}

/// The command line for a place that is narrow: without the directory of the program.
pub(super) fn short_command(process: &Process) -> String {
    let command = command(process);
    // A path that a shell reads bare; what is quoted stays whole.
    let end = command.find(' ').unwrap_or(command.len());
    match command.get(..end).and_then(|program| program.rfind('/')) {
        Some(slash) if command.starts_with('/') && slash + 1 < end => {
            command.get(slash + 1..).unwrap_or(&command).to_owned()
        }
        _ => command,
    }
}

/// How long a process ran.
pub(super) fn lifetime(exit: &Exit) -> String {
    if exit.lifetime_ns == 0 { "-".to_owned() } else { short_duration(exit.lifetime_ns) }
}

/// A share of one CPU, in at most five letters.
pub(super) fn percent(percent: f64) -> String {
    if percent < 99.95 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

/// A number with commas between its thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One and many: `1 process`, `2 processes`.
pub(super) fn many(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Pieces of a text, each at most so many columns wide. Letters that are wider than one column take
/// the place that they need.
pub(super) fn pieces(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut pieces = Vec::new();
    let (mut piece, mut columns) = (String::new(), 0);
    for letter in text.chars() {
        let more = ratatui::text::Span::raw(letter.encode_utf8(&mut [0; 4]).to_owned()).width();
        if columns + more > width && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            columns = 0;
        }
        piece.push(letter);
        columns += more;
    }
    if !piece.is_empty() || pieces.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(
            (percent(0.04), percent(99.94), percent(99.96)),
            ("0.0".into(), "99.9".into(), "100".into())
        );
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
    }

    #[test]
    fn long_texts_are_cut_by_columns() {
        assert_eq!(pieces("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(pieces("日本語", 4), ["日本", "語"]);
        assert_eq!(pieces("", 4), [""]);
    }
}
