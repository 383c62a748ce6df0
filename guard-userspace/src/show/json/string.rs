//! JSON strings: text as it is, bytes without loss.

use crate::show::escape::{hex_digit, hexadecimal, is_hidden};

/// Appends a quoted JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|letter| write_char(out, letter));
    }
    out.push(b'"');
}

/// Appends a quoted JSON string that [`to_bytes`] turns back into exactly these bytes.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    if bytes.iter().copied().all(is_plain) {
        out.extend_from_slice(bytes);
    } else {
        write_any(out, bytes);
    }
    out.push(b'"');
}

#[cold]
fn write_any(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(letter) = rest.chars().next() {
            if letter == '\\' && escaped_byte(rest).is_some() {
                out.extend_from_slice(br"\\x5c");
            } else {
                write_char(out, letter);
            }
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
        for byte in chunk.invalid() {
            out.push(b'\\');
            hexadecimal(out, &[*byte]);
        }
    }
}

/// What [`write_bytes`] made of bytes, once JSON's own escapes are undone, back into the bytes.
pub(super) fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let (byte, length) = escaped_byte(from).map_or((b'\\', 1), |byte| (byte, 4));
        bytes.push(byte);
        rest = from.get(length..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// The byte, if the text begins with `\xNN`.
fn escaped_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("\\x")?.as_bytes().first_chunk::<2>()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(value(digits[0])? << 4 | value(digits[1])?)
}

/// Whether a byte stands for itself in JSON and on a terminal.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn write_char(out: &mut Vec<u8>, letter: char) {
    match letter {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        '\n' => out.extend_from_slice(br"\n"),
        '\t' => out.extend_from_slice(br"\t"),
        '\r' => out.extend_from_slice(br"\r"),
        letter if is_hidden(letter) => {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let [high, low] = unit.to_be_bytes();
                out.extend_from_slice(b"\\u");
                out.extend([high >> 4, high & 15, low >> 4, low & 15].map(hex_digit));
            }
        }
        letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_bytes(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn spellings() {
        assert_eq!(json(b"nginx: worker"), r#""nginx: worker""#);
        assert_eq!(json(br#"s/\./"/"#), r#""s/\\./\"/""#);
        assert_eq!(json(b"\x1b[2J\n"), r#""\u001b[2J\n""#);
        assert_eq!(json(b"\xff\xfe"), r#""\\xff\\xfe""#);
        assert_eq!(json(br"\x41 \xZZ \x4"), r#""\\x5cx41 \\xZZ \\x4""#);
        assert_eq!(json("\u{202e}\u{e0041}".as_bytes()), r#""\u202e\udb40\udc41""#);
    }

    proptest! {
        #[test]
        fn any_bytes_return(bytes: Vec<u8>) {
            let text: String = serde_json::from_str(&json(&bytes)).unwrap();
            prop_assert_eq!(to_bytes(&text), bytes);
        }

        #[test]
        fn bytes_that_look_escaped_return(bytes in "[\\\\x0-9a-fg\\xff]{0,24}") {
            let bytes: Vec<u8> = bytes.chars().map(|letter| u8::try_from(letter).unwrap()).collect();
            let text: String = serde_json::from_str(&json(&bytes)).unwrap();
            prop_assert_eq!(to_bytes(&text), bytes);
        }

        #[test]
        fn any_text_returns_and_hides_nothing(text: String) {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            let json = String::from_utf8(out).unwrap();
            prop_assert!(!json.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
