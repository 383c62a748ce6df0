//! Who holds the primary role, of services that can take it over from each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::model::Service;

use super::saved::SavedRole;
use super::shared::Slot;

/// The primary roles of a host. Each has one holder at most.
#[derive(Debug, Default)]
pub(super) struct Roles {
    roles: Vec<Role>,
    of: BTreeMap<Slot, usize>,
    /// Who names whom as a standby.
    standbys: BTreeSet<(Slot, Slot)>,
}

/// The role of services that are connected by their failovers.
#[derive(Debug)]
struct Role {
    members: Vec<Slot>,
    holder: Option<Slot>,
    /// The last one that was given out. A fence that has seen a token refuses all that are smaller.
    token: u64,
    /// The holder's own.
    given: u64,
}

impl Roles {
    /// Finds the roles anew. One that somebody held before stays with its holder; a new one belongs to the service that
    /// names standbys and is named by none; of several, or if they name each other, to the first in order of name. Gives the new
    /// holders.
    pub(super) fn connect<'a>(
        &mut self,
        services: impl Iterator<Item = (Slot, &'a Service)> + Clone,
        slots: &BTreeMap<Arc<str>, Slot>,
    ) -> Vec<(Slot, u64)> {
        let old = std::mem::take(self);
        let mut group: BTreeMap<Slot, Slot> = BTreeMap::new();
        for (slot, service) in services.clone() {
            let standbys = service.failover.iter().flat_map(|failover| &failover.standbys);
            for standby in standbys.filter_map(|name| slots.get(name.as_str())) {
                self.standbys.insert((slot, *standby));
                let one = *group.entry(slot).or_insert(slot);
                let other = *group.entry(*standby).or_insert(*standby);
                group.values_mut().filter(|of| **of == other).for_each(|of| *of = one);
            }
        }
        let mut members: BTreeMap<Slot, Vec<Slot>> = BTreeMap::new();
        group.iter().for_each(|(&slot, &of)| members.entry(of).or_default().push(slot));
        let mut new = vec![];
        for members in members.into_values() {
            let before = members.iter().find_map(|slot| old.role(*slot));
            let is_standby = |slot: Slot| self.standbys.iter().any(|(_, standby)| *standby == slot);
            let first = services
                .clone()
                .filter(|(slot, service)| members.contains(slot) && service.failover.is_some())
                .min_by_key(|(slot, _)| is_standby(*slot));
            let (holder, token, given) = match before {
                Some(role) => (role.holder.filter(|holder| members.contains(holder)), role.token, role.given),
                None => (first.map(|(slot, _)| slot), 1, 1),
            };
            if before.is_none() {
                new.extend(holder.map(|holder| (holder, token)));
            }
            self.of.extend(members.iter().map(|&slot| (slot, self.roles.len())));
            self.roles.push(Role { members, holder, token, given });
        }
        new
    }

    /// The roles as they are saved, by the names of their services.
    pub(super) fn saved(&self, name: impl Fn(Slot) -> Option<String> + Copy) -> Vec<SavedRole> {
        let saved = self.roles.iter().map(|role| SavedRole {
            members: role.members.iter().copied().filter_map(name).collect(),
            holder: role.holder.and_then(name),
            token: role.token,
            given: role.given,
        });
        saved.collect()
    }

    /// The roles as they were saved, until [`Roles::connect`] finds them anew.
    pub(super) fn remember(&mut self, saved: &[SavedRole], slot: impl Fn(&str) -> Option<Slot> + Copy) {
        for role in saved {
            let members: Vec<Slot> = role.members.iter().filter_map(|name| slot(name)).collect();
            let holder = role.holder.as_deref().and_then(slot);
            self.of.extend(members.iter().map(|&member| (member, self.roles.len())));
            self.roles.push(Role { members, holder, token: role.token, given: role.given });
        }
    }

    fn role(&self, slot: Slot) -> Option<&Role> {
        self.roles.get(*self.of.get(&slot)?)
    }

    fn role_mut(&mut self, slot: Slot) -> Option<&mut Role> {
        self.roles.get_mut(*self.of.get(&slot)?)
    }

    /// Who holds the role that this service can have.
    pub(super) fn holder(&self, slot: Slot) -> Option<Slot> {
        self.role(slot)?.holder
    }

    /// With which token this service holds the role, if it does.
    pub(super) fn held_with(&self, slot: Slot) -> Option<u64> {
        self.role(slot).filter(|role| role.holder == Some(slot)).map(|role| role.given)
    }

    /// A token that is larger than any before.
    pub(super) fn next_token(&mut self, slot: Slot) -> u64 {
        self.role_mut(slot).map_or(0, |role| {
            role.token += 1;
            role.token
        })
    }

    /// Nobody holds the role.
    pub(super) fn vacate(&mut self, slot: Slot) {
        if let Some(role) = self.role_mut(slot) {
            role.holder = None;
        }
    }

    /// This service holds the role.
    pub(super) fn give(&mut self, slot: Slot, token: u64) {
        if let Some(role) = self.role_mut(slot) {
            (role.holder, role.given) = (Some(slot), token);
        }
    }

    /// Whether the policy of `primary` says that this service can stand by for it.
    pub(super) fn stands_by(&self, slot: Slot, primary: Slot) -> bool {
        self.standbys.contains(&(primary, slot))
    }

    /// All that can have the same role.
    pub(super) fn peers(&self, slot: Slot) -> &[Slot] {
        self.role(slot).map_or(&[], |role| &role.members)
    }
}
