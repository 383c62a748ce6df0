//! A request, taken apart and checked.

use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::daemon::door::Peer;

/// What was asked, by whom.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) peer: Peer,
    /// What stands in the path where the table has `{...}`, in order.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) last_event: Option<String>,
}

impl Call {
    /// What stands in the path, counted from 0.
    pub(super) fn part(&self, index: usize) -> Result<&str, Problem> {
        let part = self.path.get(index).map(String::as_str);
        part.ok_or_else(|| Problem::internal("the table of routes names a part of a path that is not there"))
    }

    /// The same, as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, index: usize) -> Result<T, Problem> {
        let part = self.part(index)?;
        part.parse()
            .map_err(|_| Problem::bad_request(format!("`{part}` in the path should be a whole number")))
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is true or false, false if it is not given.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!("{name}={other}: write true or false"))),
        }
    }

    /// A parameter that is a number, of which more than `most` is `most`.
    pub(super) fn limit(&self, name: &str, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(default) };
        let number = text.parse::<usize>();
        let number =
            number.map_err(|_| Problem::bad_request(format!("{name}={text}: write a whole number")))?;
        Ok(number.min(most))
    }

    /// The body, as a document. Where nothing has to be in it, nothing is like `{}`.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = if self.body.is_empty() { b"{}".as_slice() } else { &self.body };
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body: {error}")))
    }
}

/// A query's parameters. Each may stand there once.
pub(super) fn query(text: &str, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?);
        if !known.contains(&name.as_str()) {
            let can = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Problem::bad_request(format!("no parameter is named `{name}`; there is {can}")));
        }
        if parameters.iter().any(|(given, _)| *given == name) {
            return Err(Problem::bad_request(format!("the parameter `{name}` is given twice")));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

/// `%41` to `A`; UTF-8 only.
pub(super) fn decoded(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or_else(|| Problem::bad_request("a `%` without two hexadecimal digits"))?);
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad_request("what is escaped with `%` is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let known = ["service", "limit"];
        let parameters = query("service=a%2Db+c&limit=", &known).unwrap();
        assert_eq!(parameters, [("service".into(), "a-b c".into()), ("limit".into(), String::new())]);
        for bad in ["other=1", "limit=1&limit=2", "service=%4", "service=%zz", "service=%ff"] {
            assert_eq!(query(bad, &known).unwrap_err().status, 400, "{bad}");
        }
        assert_eq!(query("", &[]).unwrap(), []);
    }
}
