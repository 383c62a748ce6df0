//! Process-supplied bytes made fit for a terminal.
//!
//! Names, paths and arguments are whatever a process chose: escape sequences that repaint the
//! screen, bidirectional overrides that reorder a line, invisible letters, bytes that are no text.
//! Everything that is not plainly visible is written as `\xNN` for each of its bytes.

/// Whether a character must not reach a terminal as it is: controls, line breaks, and characters
/// that are invisible or that change the order or the look of others.
#[must_use]
pub const fn is_hidden(letter: char) -> bool {
    matches!(letter,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'         // controls, C1 included
        | '\u{ad}' | '\u{34f}' | '\u{61c}'         // soft hyphen, grapheme joiner, Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers: blank letters
        | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' // invisible vowels and selectors
        | '\u{200b}'..='\u{200f}'                  // zero width, direction marks
        | '\u{2028}'..='\u{202e}'                  // separators, embeddings and overrides
        | '\u{2060}'..='\u{206f}'                  // invisible operators, isolates, deprecated formats
        | '\u{e000}'..='\u{f8ff}'                  // private use
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'     // variation selectors, byte order mark
        | '\u{fff0}'..='\u{fffb}'                  // specials, annotations
        | '\u{1d173}'..='\u{1d17a}'                // musical controls
        | '\u{e0000}'..='\u{10ffff}') // tags, selectors, private use
}

/// Appends the bytes; what a terminal should not get is `\xNN`, a backslash is doubled.
pub fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\') {
        out.extend_from_slice(bytes);
    } else {
        escape(out, bytes, |letter| letter == '\\');
    }
}

/// A message with what is hidden made visible; backslashes stay as they are.
#[must_use]
pub fn message(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape(&mut out, text.as_bytes(), |_letter| false);
    String::from_utf8_lossy(&out).into_owned()
}

/// The bytes as text for a message.
#[must_use]
pub fn display(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    text(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends arguments as a line that a shell (bash, zsh, ksh) would read back to the same bytes.
pub fn command_line<'a>(out: &mut Vec<u8>, arguments: impl Iterator<Item = &'a [u8]>) {
    for (index, argument) in arguments.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        quoted(out, argument);
    }
}

/// Appends one argument: bare where that is safe, else in `'...'`, and in `$'...'` where something
/// must be escaped.
fn quoted(out: &mut Vec<u8>, argument: &[u8]) {
    if !argument.is_empty() && argument.iter().all(|byte| is_bare(*byte)) {
        out.extend_from_slice(argument);
        return;
    }
    let visible = |argument: &str| !argument.contains('\'') && !argument.chars().any(is_hidden);
    if std::str::from_utf8(argument).is_ok_and(visible) {
        out.push(b'\'');
        out.extend_from_slice(argument);
        out.push(b'\'');
    } else {
        out.extend_from_slice(b"$'");
        escape(out, argument, |letter| letter == '\\' || letter == '\'');
        out.push(b'\'');
    }
}

/// ASCII that no shell treats specially within a word.
const fn is_bare(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b':' | b'=' | b'@' | b'%' | b'+' | b',')
}

/// Appends the bytes with `\xNN` for what is hidden or not UTF-8, and a backslash before each
/// character for which `backslashed` holds.
fn escape(out: &mut Vec<u8>, bytes: &[u8], backslashed: impl Fn(char) -> bool) {
    let mut buffer = [0; 4];
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => out.extend_from_slice(b"\\n"),
                '\t' => out.extend_from_slice(b"\\t"),
                letter if is_hidden(letter) => hexadecimal(out, letter.encode_utf8(&mut buffer).as_bytes()),
                letter => {
                    if backslashed(letter) {
                        out.push(b'\\');
                    }
                    out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        hexadecimal(out, chunk.invalid());
    }
}

/// Appends `\xNN` for every byte.
pub(super) fn hexadecimal(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.extend_from_slice(&[b'\\', b'x', hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
}

/// The lower-case digit of a value below 16.
pub(super) const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&[u8]]) -> String {
        let mut out = Vec::new();
        command_line(&mut out, arguments.iter().copied());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_hidden_passes() {
        assert_eq!(display(b"nginx"), "nginx");
        assert_eq!(display("z\u{fc}rich \u{65e5}\u{672c}".as_bytes()), "z\u{fc}rich \u{65e5}\u{672c}");
        assert_eq!(display(b"\x1b[2J\r\n\t\\x"), r"\x1b[2J\x0d\n\t\\x");
        assert_eq!(display("\u{9b}2J".as_bytes()), r"\xc2\x9b2J");
        assert_eq!(display("a\u{202e}b\u{2066}c".as_bytes()), r"a\xe2\x80\xaeb\xe2\x81\xa6c");
        assert_eq!(display(b"\xff\xfeok\xc3"), r"\xff\xfeok\xc3");
        for letter in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|letter| letter.is_control()) {
            assert!(is_hidden(letter), "{letter:?}");
        }
    }

    #[test]
    fn command_lines_can_be_pasted() {
        assert_eq!(line(&[b"ls", b"-la", b"/tmp"]), "ls -la /tmp");
        assert_eq!(line(&[b"sh", b"-c", b"echo $HOME; true"]), "sh -c 'echo $HOME; true'");
        assert_eq!(line(&[b"", b"a b", b"*"]), "'' 'a b' '*'");
        assert_eq!(
            line(&[b"it's", b"\x1b[31m", b"a\nb", b"\xff", b"c:\\"]),
            r"$'it\'s' $'\x1b[31m' $'a\nb' $'\xff' 'c:\'"
        );
    }

    #[test]
    fn a_shell_reads_the_same_bytes_back() {
        let arguments: [&[u8]; 6] =
            [b"a'b\\c", b"\x01\x02\x7f", b"\xff\xfe", "\u{202e}x".as_bytes(), b"", b"~!#&;"];
        let script = format!("printf '%s\\0' {}", line(&arguments));
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        let expected: Vec<u8> =
            arguments.iter().flat_map(|argument| [argument, &b"\0"[..]].concat()).collect();
        assert_eq!(output.stdout, expected);
    }
}
