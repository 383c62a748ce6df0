//! Two services that can claim one process, or one port.

use super::load::Entry;
use super::overlap::Claimant;
use super::pairs;
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

/// Selectors that can take one process. Of each service, one other is told: mending that may mend all.
fn selectors(entries: &[Entry], reader: &mut Reader) {
    let claimants: Vec<Claimant<'_>> = entries.iter().filter_map(Claimant::new).collect();
    let found = pairs::find(&claimants);
    let pair = |one: usize, other: usize| claimants.get(one).zip(claimants.get(other));
    for (&later, (earlier, what)) in &found.both {
        let Some((one, other)) = pair(*earlier, later) else { continue };
        reader.say(
            claim(Code::Claim, one, other, "can claim one process")
                .label(format!("both take a process with {what}"))
                .help(
                    "give one of them a key that tells them apart, such as `unit`, `user` or `listens`, or narrow its `exe` or \
                     `command`",
                ),
        );
    }
    let mut contrived = found.contrived.iter().filter(|(later, _)| !found.both.contains_key(later));
    if let Some((&later, (earlier, what))) = contrived.next()
        && let Some((one, other)) = pair(*earlier, later)
    {
        let diagnostic = claim(Code::LooseClaim, one, other, "would both claim a process that has what both look for")
            .label(format!("such as one with {what}"))
            .help(
                "the first in order of name would get it; `^` and `$` at the ends of the expressions, or `unit` or `user`, tell them \
                 apart",
            );
        reader.say(more(diagnostic, contrived.map(|(later, _)| *later), &claimants));
    }
    let mut unknown = found.unknown.iter().filter(|(later, _)| !found.both.contains_key(later));
    if let Some((&later, (earlier, why))) = unknown.next()
        && let Some((one, other)) = pair(*earlier, later)
    {
        let diagnostic = claim(Code::UnsureClaim, one, other, "may claim one process: that cannot be ruled out")
            .label(*why)
            .help("the first in order of name would get it; `unit`, another `user` or `listens` tells them apart for certain");
        reader.say(more(diagnostic, unknown.map(|(later, _)| *later), &claimants));
    } else if let (true, Some((one, other))) = (found.rest, claimants.first().zip(claimants.last())) {
        let message = "these are too many similar selectors to compare each with each";
        let diagnostic = Diagnostic::new(Code::UnsureClaim, place(other).into(), message)
            .related(place(one).into(), "from this one on")
            .help("that two of them claim one process cannot be ruled out: `unit` tells them apart at once");
        reader.say(diagnostic);
    }
}

fn place(claimant: &Claimant<'_>) -> Spot {
    claimant.entry.keys.adopt.as_ref().map_or(claimant.entry.keys.service.spot, |adopt| adopt.at)
}

fn claim(code: Code, one: &Claimant<'_>, other: &Claimant<'_>, what: &str) -> Diagnostic {
    let message = format!("`{}` and `{}` {what}", one.entry.service.name, other.entry.service.name);
    Diagnostic::new(code, place(other).into(), message).related(place(one).into(), "the other one")
}

/// The same is to be said of these: a few are shown.
fn more(
    diagnostic: Diagnostic,
    others: impl Iterator<Item = usize>,
    claimants: &[Claimant<'_>],
) -> Diagnostic {
    /// Others that are shown.
    const SHOWN: usize = 4;
    let others: Vec<usize> = others.collect();
    let shown = others.iter().take(SHOWN).filter_map(|&number| claimants.get(number));
    let mut diagnostic =
        shown.fold(diagnostic, |diagnostic, one| diagnostic.related(place(one).into(), "this one, too"));
    if others.len() > SHOWN {
        diagnostic.message.push_str("; and so it is with others");
    }
    diagnostic
}
