//! Groups of processes: a container, else a systemd unit, else a control group.
//!
//! Each has a watch group's number in the kernel, under which its waits for a CPU are counted.

use std::collections::HashMap;
use std::sync::Arc;

use guard_common::limits::WATCH_GROUPS;
use guard_core::event::Cgroup;
use guard_core::latency::{GroupLatency, Histogram};
use guard_core::resources::GroupResources;
use rustc_hash::FxHashMap;

/// How much of the past the distribution of waits covers: between one and two of these, in
/// nanoseconds. Short enough to follow the load, long enough for a 99th percentile.
const WINDOW_NS: u64 = 10_000_000_000;

/// The number that groups share for which there is none left.
const SHARED: u16 = (WATCH_GROUPS - 1) as u16;

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What people call it.
    pub(super) name: Arc<str>,
    /// Path of the control group that stands for it; empty if that is not known.
    pub(super) path: Arc<str>,
    /// Living processes.
    pub(super) processes: u32,
    /// Its watch group in the kernel; 0: none yet.
    pub(super) number: u16,
    /// What it uses as a whole.
    pub(super) resources: Option<GroupResources>,
    waits: Waits,
}

/// Waits for a CPU, lately.
#[derive(Clone, Debug, Default)]
struct Waits {
    now: Histogram,
    /// As it was one to two windows ago.
    base: Histogram,
    /// As it was up to one window ago, and when.
    next: Histogram,
    next_ns: u64,
}

/// The key of a control group, and the path that it was made of.
#[derive(Clone, Debug)]
struct Known {
    path: Option<Box<str>>,
    key: Arc<str>,
}

/// All groups, by their key: what does not change while a group exists.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// Keys of control groups, by hierarchy and id.
    keys: FxHashMap<(u32, u64), Known>,
    /// Numbers that are in use, one bit each.
    taken: Numbers,
}

impl Groups {
    /// The key of a control group's group, which is made if it is new.
    pub(super) fn key(&mut self, cgroup: &Cgroup) -> Arc<str> {
        let place = (cgroup.hierarchy, cgroup.id);
        if let Some(known) = self.keys.get(&place)
            && known.path == cgroup.path
            && self.groups.contains_key(&known.key)
        {
            return Arc::clone(&known.key);
        }
        let Identity { key, name, path } = identity(cgroup);
        self.keys.insert(place, Known { path: cgroup.path.clone(), key: Arc::clone(&key) });
        self.groups.entry(Arc::clone(&key)).or_insert_with(|| Group {
            name,
            path,
            processes: 0,
            number: 0,
            resources: None,
            waits: Waits::default(),
        });
        key
    }

    pub(super) fn get(&self, key: &str) -> Option<&Group> {
        self.groups.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    /// A process came (1) or went (-1).
    pub(super) fn count(&mut self, key: &str, change: i32) {
        if let Some(group) = self.groups.get_mut(key) {
            group.processes = group.processes.saturating_add_signed(change);
        }
    }

    /// The group's watch group, given now if it has none. The first thousand or so have one of
    /// their own; those that come when none is left share the last.
    pub(super) fn number(&mut self, key: &str) -> u16 {
        let Some(group) = self.groups.get_mut(key) else { return 0 };
        if group.number == 0 {
            group.number = self.taken.take().unwrap_or(SHARED);
        }
        group.number
    }

    /// Forgets groups without processes, and frees their numbers.
    pub(super) fn drop_empty(&mut self) {
        let taken = &mut self.taken;
        self.groups.retain(|_, group| {
            if group.processes == 0 {
                taken.free(group.number);
            }
            group.processes > 0
        });
        let groups = &self.groups;
        self.keys.retain(|_, known| groups.contains_key(&known.key));
    }

    /// Takes in what the kernel counted so far for each watch group.
    pub(super) fn waited(&mut self, now_ns: u64, latency: &dyn Fn(u16) -> GroupLatency) {
        for group in self.groups.values_mut().filter(|group| group.number != 0) {
            group.waits.take(now_ns, latency(group.number).run_queue);
        }
    }

    /// Takes in what the control group at a path uses as a whole.
    pub(super) fn used(&mut self, path: &str, resources: GroupResources) {
        for group in self.groups.values_mut().filter(|group| *group.path == *path) {
            group.resources = Some(resources);
        }
    }
}

impl Group {
    /// How long, in nanoseconds, a thread of the group waited for a CPU at most, in the given share
    /// of its waits lately. `None` if it did not wait.
    pub(super) fn run_queue_ns(&self, share: f64) -> Option<u64> {
        self.waits.now.since(&self.waits.base).quantile_ns(share)
    }
}

impl Waits {
    fn take(&mut self, now_ns: u64, total: Histogram) {
        if self.next_ns == 0 {
            // What a former owner of the number waited is not ours.
            (self.base, self.next, self.next_ns) = (total, total, now_ns);
        }
        if now_ns.saturating_sub(self.next_ns) >= WINDOW_NS {
            (self.base, self.next, self.next_ns) = (self.next, total, now_ns);
        }
        self.now = total;
    }
}

/// What a control group's path makes of it.
struct Identity {
    key: Arc<str>,
    name: Arc<str>,
    path: Arc<str>,
}

fn identity(cgroup: &Cgroup) -> Identity {
    let path = cgroup.path.as_deref().unwrap_or_default();
    // The group itself may have groups below it: the path ends with what names it.
    let up_to = |part: &str| {
        let end = path.find(part).map(|at| at + part.len());
        let end = end.and_then(|end| path.get(end..)?.find('/').map(|more| end + more));
        path.get(..end.unwrap_or(path.len())).unwrap_or(path)
    };
    if let Some(container) = &cgroup.container {
        let id = &*container.id;
        let name = format!("{} {}", container.runtime.unwrap_or("container"), id.get(..12).unwrap_or(id));
        return Identity { key: id.into(), name: name.into(), path: up_to(id).into() };
    }
    if let Some(unit) = &cgroup.unit {
        let path = up_to(&format!("/{unit}"));
        return Identity { key: path.into(), name: (&**unit).into(), path: path.into() };
    }
    let name = match &cgroup.path {
        Some(path) => (&**path).into(),
        None => format!("control group {}", cgroup.id).into(),
    };
    Identity { key: Arc::clone(&name), name, path: path.into() }
}

/// Numbers of watch groups from 1 to below [`SHARED`], each given once.
#[derive(Clone, Debug)]
struct Numbers {
    taken: [u64; WATCH_GROUPS as usize / 64],
}

impl Default for Numbers {
    fn default() -> Self {
        let mut numbers = Self { taken: [0; WATCH_GROUPS as usize / 64] };
        for reserved in [0, SHARED] {
            numbers.set(reserved, true);
        }
        numbers
    }
}

impl Numbers {
    fn take(&mut self) -> Option<u16> {
        let word = self.taken.iter().position(|word| *word != u64::MAX)?;
        let bit = self.taken.get(word)?.trailing_ones();
        let number = u16::try_from(word * 64 + bit as usize).ok()?;
        self.set(number, true);
        Some(number)
    }

    fn free(&mut self, number: u16) {
        if number != 0 && number != SHARED {
            self.set(number, false);
        }
    }

    fn set(&mut self, number: u16, taken: bool) {
        let Some(word) = self.taken.get_mut(usize::from(number) / 64) else { return };
        let bit = 1 << (number % 64);
        *word = if taken { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use guard_core::event::Container;

    use super::*;

    fn cgroup(id: u64, path: &str, unit: Option<&str>, container: Option<&str>) -> Cgroup {
        Cgroup {
            id,
            hierarchy: 0,
            path: Some(path.into()),
            container: container.map(|id| Container { id: id.into(), runtime: Some("docker") }),
            unit: unit.map(Into::into),
        }
    }

    #[test]
    fn a_container_then_a_unit_then_a_path() {
        let id = "0123456789abcdef".repeat(4);
        let mut groups = Groups::default();
        let docker = format!("/system.slice/docker-{id}.scope");
        let scope = format!("docker-{id}.scope");
        let inner = format!("{docker}/init");
        let key = groups.key(&cgroup(1, &docker, Some(&scope), Some(&id)));
        assert_eq!(groups.key(&cgroup(2, &inner, Some(&scope), Some(&id))), key, "a group within it");
        let group = groups.get(&key).unwrap();
        assert_eq!((&*group.name, &*group.path), ("docker 0123456789ab", &*docker));

        let key = groups.key(&cgroup(3, "/system.slice/nginx.service/sub", Some("nginx.service"), None));
        let group = groups.get(&key).unwrap();
        assert_eq!((&*group.name, &*group.path), ("nginx.service", "/system.slice/nginx.service"));

        let key = groups.key(&cgroup(4, "/jobs/batch", None, None));
        assert_eq!(&*groups.get(&key).unwrap().name, "/jobs/batch");
        let unknown = Cgroup { id: 5, ..Cgroup::default() };
        assert_eq!(&*groups.key(&unknown), "control group 5");
    }

    #[test]
    fn numbers_are_given_once_and_come_back() {
        let mut groups = Groups::default();
        let keys: Vec<_> = (0..u64::from(WATCH_GROUPS))
            .map(|id| groups.key(&cgroup(id, &format!("/{id}"), None, None)))
            .collect();
        for key in &keys {
            groups.count(key, 1);
        }
        let numbers: Vec<_> = keys.iter().map(|key| groups.number(key)).collect();
        assert_eq!(numbers[..1022], (1..1023).collect::<Vec<u16>>());
        assert_eq!(numbers[1022..], [SHARED, SHARED]);
        groups.count(&keys[6], -1);
        groups.drop_empty();
        assert!(groups.get(&keys[6]).is_none());
        let key = groups.key(&cgroup(9999, "/new", None, None));
        assert_eq!(groups.number(&key), 7);
    }

    #[test]
    fn waits_are_those_of_lately_and_not_of_a_former_owner() {
        let total = |waits: u64, bucket: usize| {
            let mut latency = GroupLatency::default();
            latency.run_queue.buckets[3] = 1000;
            latency.run_queue.buckets[bucket] += waits;
            latency
        };
        let mut groups = Groups::default();
        let key = groups.key(&cgroup(1, "/x", None, None));
        groups.number(&key);
        let mut at = |second: u64, latency: GroupLatency| {
            groups.waited(second * 1_000_000_000, &|_| latency);
            groups.get(&key).unwrap().run_queue_ns(0.5)
        };
        assert_eq!(at(1, total(0, 3)), None);
        assert_eq!(at(2, total(10, 5)), Some(64_000));
        assert_eq!(at(12, total(10, 5)), Some(64_000));
        assert_eq!(at(22, total(10, 5)), None, "two windows later it is forgotten");
    }
}
