//! Every key of the language has an effect: for each of them one value is changed, and the plans change.

mod table;

use std::collections::BTreeSet;

use guard_core::policy::{self, PolicySet, Source};
use guard_core::rehearse::{self, Scenario};
use table::{NOT_SHARED, ROWS, Row};

/// A world in which something happens to every part of a policy.
const WORLD: &str = include_str!("world.scenario.yaml");

fn load(text: &str) -> Result<PolicySet, String> {
    let loaded = policy::load(&[Source { name: "policy", bytes: text.as_bytes() }]);
    let wrong: Vec<&str> = loaded.diagnostics.iter().map(|wrong| wrong.message.as_str()).collect();
    loaded.set.ok_or_else(|| format!("{}\n{text}", wrong.join("; ")))
}

fn scenario(row: &Row) -> Result<Scenario, String> {
    let text = format!("{WORLD}{}", row.world);
    let read = rehearse::read(Source { name: "world", bytes: text.as_bytes() });
    read.scenario.ok_or_else(|| format!("{:#?}", read.diagnostics))
}

/// All that a supervisor wants, asks and tells.
fn effects(text: &str, scenario: &Scenario) -> Result<String, String> {
    let set = load(text)?;
    let mut out = String::new();
    rehearse::play_before(&set, scenario, &mut |effect| out.push_str(&format!("{effect:?}\n")));
    Ok(out)
}

/// A template with the first or the second of each `<one|other>`.
fn filled(template: &str, second: bool) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, choice)) = rest.split_once('<') {
        let (one, behind) = choice.split_once('|').unwrap_or((choice, ""));
        let (other, after) = behind.split_once('>').unwrap_or((behind, ""));
        out.push_str(before);
        out.push_str(if second { other } else { one });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A row's documents: `+` begins a line of the service, `NEXT` another document.
fn documents(body: &str, as_defaults: bool) -> String {
    let (first, others) = body.split_once(" NEXT ").unwrap_or((body, ""));
    let mut lines: Vec<String> = first.split(" ++ ").map(str::to_owned).collect();
    let origin = ["run:", "adopt:"].into_iter().find(|key| lines.iter().any(|line| line.starts_with(key)));
    let head = "version: processguard/v1\n";
    let mut text = if as_defaults {
        // Whether it is started or found, each service says itself.
        let own = origin.map_or("run: { command: [/bin/app] }".to_owned(), |key| format!("{key} {{}}"));
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        format!("{head}defaults:\n{lines}---\n{head}service: app\n{own}\n")
    } else {
        if origin.is_none() {
            lines.push("run: { command: [/bin/app] }".to_owned());
        }
        format!("{head}service: app\n{}\n", lines.join("\n"))
    };
    for other in others.split(" NEXT ").filter(|other| !other.is_empty()) {
        text.push_str(&format!("---\n{head}{}\n", other.replace(" ++ ", "\n")));
    }
    text
}

#[test]
fn each_key_changes_what_is_decided() {
    let mut faults = Vec::new();
    for row in ROWS {
        let scenario = scenario(row).unwrap();
        let one = effects(&documents(&filled(row.body, false), false), &scenario);
        let other = effects(&documents(&filled(row.body, true), false), &scenario);
        match (one, other) {
            (Ok(one), Ok(other)) if one != other => {}
            (Ok(_), Ok(_)) => faults.push(format!("{}: no effect", row.key)),
            (Err(error), _) | (_, Err(error)) => faults.push(format!("{}: {error}", row.key)),
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), ROWS.len(), faults.join("\n"));
}

#[test]
fn each_default_means_what_the_key_does() {
    let mut faults = Vec::new();
    for row in ROWS.iter().filter(|row| !row.body.contains(" NEXT ") && !NOT_SHARED.contains(&row.key)) {
        let scenario = scenario(row).unwrap();
        let own = effects(&documents(&filled(row.body, true), false), &scenario);
        let shared = effects(&documents(&filled(row.body, true), true), &scenario);
        if own != shared {
            faults.push(format!("{}: {:?}", row.key, shared.err()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_key_of_the_schema_is_in_the_table() {
    let schema = policy::schema();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut keys = BTreeSet::new();
    for (title, definition) in definitions {
        if let Some(properties) = definition["properties"].as_object()
            && !title.starts_with("defaults.")
        {
            keys.extend(properties.keys().map(|key| format!("{title}.{key}")));
        }
    }
    // There is one version; a name and a kind of document are what all else is about.
    let known = ["service.version", "service.service", "defaults-document.version", "host-document.version"];
    keys.retain(|key| !known.contains(&key.as_str()));
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.key.to_owned()).collect();
    let missing: Vec<&String> = keys.difference(&rows).collect();
    let unknown: Vec<&String> = rows.difference(&keys).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "no row: {missing:#?}\nno key: {unknown:#?}");
}
