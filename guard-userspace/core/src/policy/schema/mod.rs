//! The language as JSON Schema (draft 2020-12), which editors know.

use serde_json::{Map, Value as Json, json};

/// A schema that is being made.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    definitions: Map<String, Json>,
    /// In a `defaults:` document nothing has to be there.
    partial: bool,
}

impl Schema {
    /// Makes the definition once, and refers to it.
    pub(crate) fn define(&mut self, title: &str, make: impl FnOnce(&mut Self) -> Json) -> Json {
        let title = if self.partial { format!("defaults.{title}") } else { title.to_owned() };
        if !self.definitions.contains_key(&title) {
            // A definition that refers to itself finds it there.
            self.definitions.insert(title.clone(), Json::Null);
            let definition = make(self);
            self.definitions.insert(title.clone(), definition);
        }
        json!({ "$ref": format!("#/$defs/{}", title) })
    }

    /// The same, for what is the same in a `defaults:` document.
    pub(crate) fn define_once(&mut self, title: &str, make: impl FnOnce() -> Json) -> Json {
        if !self.definitions.contains_key(title) {
            self.definitions.insert(title.to_owned(), make());
        }
        json!({ "$ref": format!("#/$defs/{title}") })
    }

    pub(crate) const fn is_partial(&self) -> bool {
        self.partial
    }

    /// What `make` describes, without anything that has to be there.
    pub(crate) fn partially(&mut self, make: impl FnOnce(&mut Self) -> Json) -> Json {
        self.partial = true;
        let made = make(self);
        self.partial = false;
        made
    }

    /// The definitions.
    pub(crate) fn into_definitions(self) -> Json {
        Json::Object(self.definitions)
    }
}

#[cfg(test)]
mod tests;
