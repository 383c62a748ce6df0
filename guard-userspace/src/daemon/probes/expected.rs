//! What a text must hold.

use guard_core::policy::model::Expected;
use regex::bytes::{Regex, RegexBuilder};

use super::verdict::Bad;

/// Bytes of memory that a compiled expression may take, and its cache: policies are read by root and written by others.
const SIZE: usize = 1 << 20;

/// Something to look for, ready.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    Text(&'a str),
    Pattern(Box<Regex>),
}

impl<'a> Wanted<'a> {
    pub(super) fn new(expected: &'a Expected) -> Result<Self, Bad> {
        match expected {
            Expected::Contains(text) => Ok(Self::Text(text)),
            Expected::Matches(pattern) => {
                let regex = RegexBuilder::new(pattern).size_limit(SIZE).dfa_size_limit(SIZE).build();
                let bad = |error| Bad::Own(format!("`{pattern}` is no regular expression: {error}"));
                regex.map(|regex| Self::Pattern(Box::new(regex))).map_err(bad)
            }
        }
    }

    /// Whether it is in these bytes, of which the first `before` were looked through already.
    pub(super) fn is_in(&self, bytes: &[u8], before: usize) -> bool {
        match self {
            Self::Text(text) => {
                let text = text.as_bytes();
                // What was looked through may end with its beginning.
                let from = (before + 1).saturating_sub(text.len()).min(before);
                let rest = bytes.get(from..).unwrap_or_default();
                text.is_empty() || rest.windows(text.len()).any(|window| window == text)
            }
            Self::Pattern(regex) => regex.is_match(bytes),
        }
    }
}

/// What these bytes lack, for a sentence: ``lacks `ready` ``.
pub(super) fn lacks(bytes: &[u8], expected: &Expected) -> Result<Option<String>, Bad> {
    Ok((!Wanted::new(expected)?.is_in(bytes, 0)).then(|| in_words(expected)))
}

pub(super) fn in_words(expected: &Expected) -> String {
    match expected {
        Expected::Contains(text) => format!("lacks `{}`", crate::show::escape::display(text.as_bytes())),
        Expected::Matches(pattern) => format!("does not match `{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_across_two_readings_is_found() {
        let expected = Expected::Contains("PONG".to_owned());
        let wanted = Wanted::new(&expected).unwrap();
        assert!(!wanted.is_in(b"+PO", 0));
        assert!(wanted.is_in(b"+PONG\r\n", 3));
        assert!(!wanted.is_in(b"PONG....", 7), "that was looked through");
        assert_eq!(lacks(b"+PING", &expected), Ok(Some("lacks `PONG`".to_owned())));
    }

    #[test]
    fn patterns_match_bytes() {
        let expected = Expected::Matches("^\\+P.NG\r$".to_owned());
        assert_eq!(lacks(b"+PONG\r", &expected), Ok(None));
        assert_eq!(lacks(b"\xff", &expected), Ok(Some("does not match `^\\+P.NG\r$`".to_owned())));
        let huge = Expected::Matches("(a{1000}){1000}".to_owned());
        let bad = lacks(b"", &huge).unwrap_err().to_string();
        assert!(bad.contains("exceeds size limit"), "{bad}");
    }
}
