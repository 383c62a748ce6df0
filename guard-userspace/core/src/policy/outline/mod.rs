//! Policies written out: all that holds, in the language's own words.
//!
//! Reading the text of [`service`] gives the same [`Service`] back; a test holds it to that. [`Outline::leaves`] is what two
//! policies are compared by.

mod action;
mod check;
mod origin;
mod service;
mod words;
mod yaml;

pub use words::words;

use super::model::{self, Host, Service, Span};

/// A part of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outline {
    /// Keys and what stands under them, in the language's order.
    Map(Vec<(String, Outline)>),
    /// Values in a row.
    List(Vec<Outline>),
    /// A number, a quantity or a word of the language.
    Word(String),
    /// A text of the operator's, quoted where YAML needs it.
    Text(String),
}

impl Outline {
    /// As a YAML document, without the marker between documents.
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml::document(self)
    }

    /// Each value with the way to it, such as `checks.api.http.url`; lists count from 0.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, String)> {
        let mut leaves = Vec::new();
        self.collect("", &mut leaves);
        leaves
    }

    fn collect(&self, path: &str, leaves: &mut Vec<(String, String)>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self {
            Self::Map(entries) if entries.is_empty() => leaves.push((path.to_owned(), "{}".to_owned())),
            Self::List(items) if items.iter().all(|item| matches!(item, Self::Word(_) | Self::Text(_))) => {
                leaves.push((path.to_owned(), yaml::line(self)));
            }
            Self::Map(entries) => entries.iter().for_each(|(key, value)| value.collect(&below(key), leaves)),
            Self::List(items) => items
                .iter()
                .enumerate()
                .for_each(|(at, value)| value.collect(&below(&at.to_string()), leaves)),
            Self::Word(text) | Self::Text(text) => leaves.push((path.to_owned(), text.clone())),
        }
    }
}

/// A service as its whole document.
#[must_use]
pub fn service(service: &Service) -> Outline {
    service::outline(service)
}

/// One check, as it stands under its name in `checks`.
#[must_use]
pub fn check(check: &model::Check) -> Outline {
    check::check(check)
}

/// What holds for the host, as its document.
#[must_use]
pub fn host(host: &Host) -> Outline {
    let mut map = Keys::default();
    map.word("version", "processguard/v1");
    let mut inner = Keys::default();
    inner.maybe("budget", host.budget.map(word));
    let groups = host.groups.iter().map(|(name, budget)| (name.clone(), word(budget)));
    inner.filled("groups", groups.collect());
    map.put("host", inner.done());
    map.done()
}

/// Keys in the making.
#[derive(Debug, Default)]
struct Keys(Vec<(String, Outline)>);

impl Keys {
    fn put(&mut self, key: &str, value: Outline) {
        self.0.push((key.to_owned(), value));
    }

    fn word(&mut self, key: &str, value: impl ToString) {
        self.put(key, word(value));
    }

    fn text(&mut self, key: &str, value: impl Into<String>) {
        self.put(key, Outline::Text(value.into()));
    }

    fn span(&mut self, key: &str, value: Span) {
        self.word(key, model::span(value));
    }

    fn maybe(&mut self, key: &str, value: Option<Outline>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// A map that is left out if it is empty.
    fn filled(&mut self, key: &str, entries: Vec<(String, Outline)>) {
        if !entries.is_empty() {
            self.put(key, Outline::Map(entries));
        }
    }

    fn done(self) -> Outline {
        Outline::Map(self.0)
    }
}

fn word(value: impl ToString) -> Outline {
    Outline::Word(value.to_string())
}

fn nothing() -> Outline {
    Outline::Map(Vec::new())
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Outline {
    Outline::List(texts.into_iter().map(|text| Outline::Text(text.clone())).collect())
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> Vec<(String, Outline)> {
    labels.iter().map(|(name, value)| (name.clone(), Outline::Text(value.clone()))).collect()
}

/// A number as YAML reads it back.
fn percent(share: f64) -> String {
    model::Unit::Percent.exact(share)
}

/// One key and its value.
fn single(key: &str, value: Outline) -> Outline {
    Outline::Map(vec![(key.to_owned(), value)])
}
