//! Pages of metrics: the text format 0.0.4 of Prometheus, and OpenMetrics, as far as samples go.
//!
//! ```text
//! requests_total{code="200",path="/a\"b"} 1027 1395066363000 # {trace="x"} 1
//! ^ name         ^ labels                 ^ value ^ time     ^ exemplar
//! {"requests.total",code="200"} 1027
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A line that should be a sample and is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the page is no sample: {what}")]
pub(super) struct Error {
    line: usize,
    what: &'static str,
}

/// The sum of a metric's samples that have all of these labels; `None` if there is no such sample. Lines of other metrics need
/// not be well written.
pub(super) fn sum(page: &str, metric: &str, labels: &BTreeMap<String, String>) -> Result<Option<f64>, Error> {
    let mut sum = None;
    for (number, line) in page.lines().enumerate() {
        let line = line.trim_start_matches([' ', '\t']);
        if !line.contains(metric) || line.starts_with('#') {
            continue;
        }
        let read = sample(line, metric, labels).map_err(|what| Error { line: number + 1, what })?;
        if let Some(value) = read {
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    Ok(sum)
}

/// The value of one sample, if it is of this metric with these labels.
fn sample(line: &str, metric: &str, wanted: &BTreeMap<String, String>) -> Result<Option<f64>, &'static str> {
    let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
    let (mut name, rest) = line.split_at(end);
    if !name.is_empty() && name != metric {
        return Ok(None);
    }
    let mut found = 0;
    let mut quoted;
    let mut rest = rest.trim_start_matches([' ', '\t']);
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = label(rest)?;
            rest = after;
            match label {
                Label::Pair(key, value) if wanted.get(&*key).is_some_and(|wanted| *wanted == *value) => {
                    found += 1
                }
                Label::Pair(..) => {}
                Label::Name(text) => {
                    quoted = text;
                    name = &quoted;
                }
            }
        }
    }
    if name != metric || found < wanted.len() {
        return Ok(None);
    }
    let value = rest.split_whitespace().next().ok_or("it has no value")?;
    value.parse().map(Some).map_err(|_| "its value is no number")
}

/// What stands between braces.
enum Label<'a> {
    Pair(Cow<'a, str>, Cow<'a, str>),
    /// The metric's name, in quotes.
    Name(Cow<'a, str>),
}

fn label(text: &str) -> Result<(Label<'_>, &str), &'static str> {
    let (key, rest) = match text.strip_prefix('"') {
        Some(inside) => {
            let (key, rest) = string(inside)?;
            let rest = rest.trim_start_matches([' ', '\t']);
            if !rest.starts_with('=') {
                return Ok((Label::Name(key), rest));
            }
            (key, rest)
        }
        None => {
            let end = text.find('=').ok_or("a label has no value")?;
            let (key, rest) = text.split_at(end);
            (Cow::Borrowed(key.trim_end_matches([' ', '\t'])), rest)
        }
    };
    let value = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t']);
    let (value, rest) = string(value.strip_prefix('"').ok_or("a label's value has no quotes")?)?;
    Ok((Label::Pair(key, value), rest))
}

/// What follows an opening quote, up to the closing one, without its escapes; and what comes then.
fn string(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    const OPEN: &str = "a quote is not closed";
    let end = text.find(['"', '\\']).ok_or(OPEN)?;
    let (plain, rest) = text.split_at(end);
    if let Some(rest) = rest.strip_prefix('"') {
        return Ok((Cow::Borrowed(plain), rest));
    }
    let mut value = plain.to_owned();
    let mut letters = rest.chars();
    loop {
        match letters.next().ok_or(OPEN)? {
            '"' => return Ok((Cow::Owned(value), letters.as_str())),
            '\\' => match letters.next().ok_or(OPEN)? {
                'n' => value.push('\n'),
                letter @ ('"' | '\\') => value.push(letter),
                // As Prometheus reads it.
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = r#"# HELP requests_total All requests of requests_total.
# TYPE requests_total counter
requests_total{code="200",path="/a\"b\\\n"} 1000 1395066363000
requests_total { code = "500" , } 3.5
requests_total{code="503"} 1e1 # {trace_id="abc"} 0.5 123.4
requests_total_created{code="200"} garbage
other{of="requests_total"} 7
up 1
  down	0
{"dotted.name",code="200"} 5
inf +Inf
nan NaN
broken{ 1
valueless{a="b"}
lone{a="b} 1
# EOF
"#;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn samples_are_summed() {
        let sum = |metric, pairs: &[_]| sum(PAGE, metric, &labels(pairs));
        assert_eq!(sum("requests_total", &[]), Ok(Some(1013.5)));
        assert_eq!(sum("requests_total", &[("code", "200")]), Ok(Some(1000.0)));
        assert_eq!(sum("requests_total", &[("path", "/a\"b\\\n"), ("code", "200")]), Ok(Some(1000.0)));
        assert_eq!(sum("requests_total", &[("code", "500")]), Ok(Some(3.5)));
        assert_eq!(sum("requests_total", &[("code", "404")]), Ok(None));
        assert_eq!(sum("requests", &[]), Ok(None));
        assert_eq!((sum("up", &[]), sum("down", &[])), (Ok(Some(1.0)), Ok(Some(0.0))));
        assert_eq!(sum("dotted.name", &[("code", "200")]), Ok(Some(5.0)));
        assert_eq!(sum("inf", &[]), Ok(Some(f64::INFINITY)));
        assert!(sum("nan", &[]).unwrap().unwrap().is_nan());
    }

    #[test]
    fn what_is_no_sample_is_said() {
        let error = |metric| sum(PAGE, metric, &BTreeMap::new()).unwrap_err().to_string();
        assert_eq!(error("broken"), "line 13 of the page is no sample: a label has no value");
        assert_eq!(error("valueless"), "line 14 of the page is no sample: it has no value");
        assert_eq!(error("lone"), "line 15 of the page is no sample: a quote is not closed");
        assert_eq!(
            error("requests_total_created"),
            "line 6 of the page is no sample: its value is no number"
        );
    }

    proptest! {
        #[test]
        fn garbage_is_no_danger(page in r#"(m|\{|\}|"|\\|=|,| |\n|1|#|a|é){0,60}"#) {
            let _any = sum(&page, "m", &BTreeMap::new());
            let _any = sum(&page, "m", &labels(&[("a", "1")]));
        }

        #[test]
        fn what_is_written_is_read(value in "\\PC*", number in -1e9..1e9f64) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let page = format!("m{{a=\"{escaped}\"}} {number}\n");
            prop_assert_eq!(sum(&page, "m", &labels(&[("a", &value)])), Ok(Some(number)));
        }
    }
}
