//! Outlines as YAML: blocks, with short lists and maps on one line.

use super::Outline;

/// Columns of a line that short lists and maps may fill.
const WIDTH: usize = 110;

pub(super) fn document(outline: &Outline) -> String {
    let mut out = String::new();
    block(&mut out, outline, 0);
    out
}

fn block(out: &mut String, outline: &Outline, indent: usize) {
    match outline {
        Outline::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                out.push_str(&" ".repeat(indent));
                entry(out, &scalar(key), value, indent);
            }
        }
        Outline::List(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                element(out, item, indent);
            }
        }
        other => out.push_str(&format!("{}{}\n", " ".repeat(indent), line(other))),
    }
}

/// `key: value`, behind its indentation.
fn entry(out: &mut String, key: &str, value: &Outline, indent: usize) {
    out.push_str(key);
    out.push(':');
    let short = line(value);
    if indent + key.len() + short.len() + 2 <= WIDTH && fits(value) {
        out.push_str(&format!(" {short}\n"));
    } else {
        out.push('\n');
        block(out, value, indent + 2);
    }
}

/// `- value`, behind its indentation.
fn element(out: &mut String, item: &Outline, indent: usize) {
    let short = line(item);
    match item {
        Outline::Map(entries) if !entries.is_empty() && indent + short.len() + 2 > WIDTH => {
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(&if at == 0 { "- ".to_owned() } else { " ".repeat(indent + 2) });
                entry(out, &scalar(key), value, indent + 2);
            }
        }
        _ => out.push_str(&format!("- {short}\n")),
    }
}

/// Whether a value reads well on one line: no map in a map, besides empty ones.
fn fits(value: &Outline) -> bool {
    let nested = |value: &Outline| match value {
        Outline::Map(entries) => !entries.is_empty(),
        Outline::List(items) => items.iter().any(|item| matches!(item, Outline::Map(_))),
        Outline::Word(_) | Outline::Text(_) => false,
    };
    match value {
        Outline::Map(entries) => !entries.iter().any(|(_, value)| nested(value)),
        Outline::List(items) => !items.iter().any(nested),
        Outline::Word(_) | Outline::Text(_) => true,
    }
}

pub(super) fn line(outline: &Outline) -> String {
    match outline {
        Outline::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Outline::Map(entries) => {
            let parts: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}: {}", scalar(key), line(value))).collect();
            format!("{{ {} }}", parts.join(", "))
        }
        Outline::List(items) => {
            let parts: Vec<String> = items.iter().map(line).collect();
            format!("[{}]", parts.join(", "))
        }
        Outline::Word(word) => word.clone(),
        Outline::Text(text) => scalar(text),
    }
}

/// A text, quoted unless it is plainly one.
fn scalar(text: &str) -> String {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-+@=".contains(&byte));
    let known = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if first && rest && !known.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(letter),
            // Others are written by their number: what a terminal would act on, and what looks like something else.
            letter if u32::from(letter) <= 0xff => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter if u32::from(letter) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => out.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    out.push('"');
    out
}
