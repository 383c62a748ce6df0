//! A small process of a large program, daemon or keeper: what the start needed, or a crowd of starts, and the work does not is let go.

use std::fs;

/// Gives back memory that the start used, and the pages of the program that only the start needed. They are pages of a
/// file: should one be needed after all, the kernel reads it again.
pub(super) fn slim() {
    give_back();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in program_text(&maps) {
        // SAFETY: pages of a file that are never written to: dropped, they come back as they were.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Has all threads share one heap: what the few beside the loop need for a moment would stay with each of them (1.7 MB with 100
/// services, measured). Before there is another thread.
pub(super) fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number that the allocator reads when a thread first asks it for memory.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Gives back memory of the allocator that is free.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is involved.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Mappings of code from files, and of what such a file begins with. Not those that can only be read by now: the linker
/// has written to them.
fn program_text(maps: &str) -> impl Iterator<Item = (usize, usize)> {
    maps.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (range, access) = (words.next()?, words.next()?);
        let (offset, path) = (words.next()?, words.nth(2)?);
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        let is_constant = access == "r-xp" || access == "r--p" && offset.bytes().all(|digit| digit == b'0');
        (is_constant && path.starts_with('/')).then(|| (start, end.saturating_sub(start)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_let_go() {
        let maps = "\
            55d0-55e0 r--p 00000000 fe:00 17 /usr/bin/processguard\n\
            55e0-56f0 r-xp 00010000 fe:00 17 /usr/bin/processguard\n\
            56f0-56f8 r--p 00120000 fe:00 17 /usr/bin/processguard\n\
            56f8-5700 rw-p 00120000 fe:00 17 /usr/bin/processguard\n\
            7000-7010 rw-p 00000000 00:00 0\n\
            7ffc-7ffe r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(program_text(maps).collect::<Vec<_>>(), [(0x55d0, 0x10), (0x55e0, 0x110)]);
        slim();
        assert!(fs::read_to_string("/proc/self/maps").is_ok(), "the code is still there");
    }
}
