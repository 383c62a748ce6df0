//! A number for each pid, in pages: pids that were given out one after the other lie side by side, so a busy host touches few
//! cache lines, and a lookup is two loads and no hash.

use rustc_hash::FxHashMap;

/// Pids in a page.
const PAGE: usize = 256;

/// The kernel gives out none beyond this (`PID_MAX_LIMIT`, 64 bits). Only a broken record has one.
const LIMIT: u32 = 1 << 22;

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// Numbers by pid. What no pid of a page has takes no room but 8 bytes for each page below the highest.
#[derive(Debug, Default)]
pub(super) struct Pids {
    pages: Vec<Option<Box<Page>>>,
    beyond: FxHashMap<u32, u32>,
}

#[derive(Debug)]
struct Page {
    numbers: [u32; PAGE],
    /// How many of them are not [`NONE`].
    used: u32,
}

impl Pids {
    /// The number of a pid, or [`NONE`].
    pub(super) fn get(&self, pid: u32) -> u32 {
        let (page, at) = place(pid);
        match self.pages.get(page) {
            Some(Some(page)) => page.numbers.get(at).copied().unwrap_or(NONE),
            _ if pid < LIMIT => NONE,
            _ => self.beyond.get(&pid).copied().unwrap_or(NONE),
        }
    }

    /// Gives a pid another number, or none.
    pub(super) fn set(&mut self, pid: u32, number: u32) {
        if pid >= LIMIT {
            match number {
                NONE => self.beyond.remove(&pid),
                number => self.beyond.insert(pid, number),
            };
            return;
        }
        let (page, at) = place(pid);
        if number != NONE && self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let Some(room) = self.pages.get_mut(page) else { return };
        if number == NONE && room.is_none() {
            return;
        }
        let numbers = room.get_or_insert_with(|| Box::new(Page { numbers: [NONE; PAGE], used: 0 }));
        let Some(old) = numbers.numbers.get_mut(at) else { return };
        numbers.used += u32::from(number != NONE);
        numbers.used -= u32::from(*old != NONE);
        *old = number;
        if numbers.used == 0 {
            *room = None;
        }
    }
}

const fn place(pid: u32) -> (usize, usize) {
    (pid as usize / PAGE, pid as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_go() {
        let mut pids = Pids::default();
        for pid in [0, 255, 256, 70_000, LIMIT - 1, LIMIT, u32::MAX] {
            assert_eq!(pids.get(pid), NONE);
            pids.set(pid, NONE);
            pids.set(pid, pid / 2);
            assert_eq!(pids.get(pid), pid / 2);
        }
        assert_eq!(pids.pages.iter().flatten().count(), 4);
        pids.set(256, 1);
        for pid in [0, 255, 256, 70_000, LIMIT - 1, LIMIT, u32::MAX] {
            pids.set(pid, NONE);
            assert_eq!(pids.get(pid), NONE);
        }
        assert_eq!((pids.pages.iter().flatten().count(), pids.beyond.len()), (0, 0), "no room for none");
    }
}
