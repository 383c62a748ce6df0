//! docs/policies.md: the reference of the language stands in it as the schema says it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use guard_core::policy;
use serde_json::Value;

/// What stands above the generated part.
const MARK: &str =
    "<!-- From here on this page is written by `BLESS=1 cargo test -p guard-core --test reference`. -->\n";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies.md")
}

/// One table for each map of the language.
fn reference(schema: &Value) -> String {
    let mut out = String::from("\n## All keys\n");
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    for (title, definition) in definitions.filter(|(title, _)| !title.starts_with("defaults.")) {
        let Some(properties) = definition["properties"].as_object() else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().replace('|', "\\|");
        let _ = writeln!(out, "\n### {title}\n\n{}\n", text(&definition["description"]));
        let _ = writeln!(out, "| key | default | meaning |\n| --- | --- | --- |");
        let required = definition["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in properties {
            let default = match &value["default"] {
                Value::Null if required.iter().any(|one| one == key) => "needed".to_owned(),
                Value::Null => String::new(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let _ = writeln!(out, "| `{key}` | {default} | {} |", text(&value["description"]));
        }
    }
    out
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let text = fs::read_to_string(page()).unwrap();
    let (above, below) = text.split_once(MARK).unwrap();
    let now = reference(&policy::schema());
    if std::env::var_os("BLESS").is_some() {
        fs::write(page(), format!("{above}{MARK}{now}")).unwrap();
    } else {
        assert!(below == now, "docs/policies.md is not what the schema says: BLESS=1 writes it anew");
    }
}
