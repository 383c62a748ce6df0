//! Two services that can claim one process, or one port.
//!
//! Selectors cannot be compared in general. What is told is certain enough: one selector asks for all that another asks for,
//! so whatever matches the narrower one matches both.

use std::collections::BTreeMap;

use super::load::Entry;
use crate::policy::model::{Adopt, Origin, Run, Selector};
use crate::policy::read::Reader;
use crate::policy::yaml::Spot;
use crate::policy::{Code, Diagnostic};

/// Tells them.
pub(super) fn check(entries: &[Entry], reader: &mut Reader) {
    ports(entries, reader);
    selectors(entries, reader);
}

/// Where a service says which ports are its own, and which these are.
fn own_ports(entry: &Entry) -> Option<(u16, u16, Spot)> {
    match &entry.service.origin {
        Origin::Run(Run { first_port: Some(first), instances, .. }) => {
            let more = u16::try_from(instances.max.saturating_sub(1)).unwrap_or(u16::MAX);
            let spot = entry.keys.run.as_ref()?.ports.as_ref()?.first.spot;
            Some((*first, first.saturating_add(more), spot))
        }
        Origin::Adopt(Adopt { matching: Selector { listens: Some(port), .. }, .. }) => {
            Some((*port, *port, entry.keys.adopt.as_ref()?.listens.as_ref()?.spot))
        }
        Origin::Run(_) | Origin::Adopt(_) => None,
    }
}

/// Ports that two services want. In order of their first port, so each is compared with those it can meet alone.
fn ports(entries: &[Entry], reader: &mut Reader) {
    let mut ranges: Vec<(u16, u16, Spot, &Entry)> = entries
        .iter()
        .filter_map(|entry| own_ports(entry).map(|(first, last, spot)| (first, last, spot, entry)))
        .collect();
    ranges.sort_by_key(|(first, last, _, entry)| (*first, *last, entry.service.name.clone()));
    // The range that reaches furthest so far meets the next one if any does.
    let mut furthest: Option<(u16, u16, Spot, &Entry)> = None;
    for range in ranges {
        let (first, last, spot, entry) = range;
        if let Some((_, reach, other_spot, other)) = furthest
            && first <= reach
            && !both_adopt(entry, other)
        {
            let message =
                format!("`{}` and `{}` both want port {first}", other.service.name, entry.service.name);
            let diagnostic = Diagnostic::new(Code::PortClaim, spot.into(), message)
                .label(range_text(first, last))
                .related(other_spot.into(), range_text(furthest.map_or(first, |range| range.0), reach))
                .help("`{port}` goes from `first` to `first` plus `instances.max` less 1: move one of them");
            reader.say(diagnostic);
        }
        if furthest.is_none_or(|(_, reach, ..)| last > reach) {
            furthest = Some(range);
        }
    }
}

/// Adopted services are compared by all that they select.
fn both_adopt(one: &Entry, other: &Entry) -> bool {
    matches!((&one.service.origin, &other.service.origin), (Origin::Adopt(_), Origin::Adopt(_)))
}

fn range_text(first: u16, last: u16) -> String {
    if first == last { format!("port {first}") } else { format!("ports {first} to {last}") }
}

/// What a selector asks for: each key with its value.
fn asked(selector: &Selector) -> Vec<(&'static str, String)> {
    let Selector { exe, command, user, cgroup, unit, container, listens } = selector;
    [
        ("exe", exe.clone()),
        ("command", command.clone()),
        ("user", user.clone()),
        ("cgroup", cgroup.clone()),
        ("unit", unit.clone()),
        // Ids can be given in part: 12 digits tell containers apart.
        ("container", container.as_ref().map(|id| id.chars().take(12).collect())),
        ("listens", listens.map(|port| port.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect()
}

/// Selectors of which one asks for all that another asks for: looked up by their parts, so that the time grows with the number of
/// services, not with its square.
fn selectors(entries: &[Entry], reader: &mut Reader) {
    let mut by_parts: BTreeMap<Vec<(&'static str, String)>, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if let Origin::Adopt(adopt) = &entry.service.origin {
            by_parts.entry(asked(&adopt.matching)).or_default().push(entry);
        }
    }
    for (parts, same) in &by_parts {
        for pair in same.windows(2) {
            if let [one, other] = pair {
                reader.say(claim(one, other, "the same selector"));
            }
        }
        // All smaller sets of these parts: there are at most 126.
        let Some(entry) = same.first() else { continue };
        for set in 1..(1_usize << parts.len()).saturating_sub(1) {
            let chosen = parts.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
            let chosen: Vec<_> = chosen.map(|(_, part)| part.clone()).collect();
            if let Some(wider) = by_parts.get(&chosen).and_then(|wider| wider.first()) {
                reader.say(claim(wider, entry, "all that this matches"));
            }
        }
    }
}

fn claim(wider: &Entry, entry: &Entry, label: &str) -> Diagnostic {
    let place = |entry: &Entry| entry.keys.adopt.as_ref().map_or(entry.keys.service.spot, |adopt| adopt.at);
    let message = format!("`{}` and `{}` can claim one process", wider.service.name, entry.service.name);
    Diagnostic::new(Code::Claim, place(entry).into(), message)
        .label(label)
        .related(place(wider).into(), "is matched by this, too")
        .help("give the wider one a key that tells them apart, such as `unit`, `user` or `listens`")
}
