//! What processes use: a task iterator that visits every thread.
//!
//! One record a thread. What the threads of a process share is in its leader's record, or, once the leader has ended
//! before the others, in each of theirs; userspace adds up the rest.

use core::ffi::c_void;
use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_map_lookup_percpu_elem, bpf_seq_write};
use guard_common::config::WATCH;
use guard_common::layout::ABSENT;
use guard_common::limits::{FILES_WORDS, SUMMED_CPUS};
use guard_common::wire::{UNKNOWN, Usage};

use crate::config::{config, offset};
use crate::maps::CPU_PLACES;
use crate::read::{Kernel, Typed, Untyped};
use crate::{task, watch};

/// Bytes of a page. The sensor is built for x86-64.
const PAGE_BYTES: u64 = 4096;

/// `RLIMIT_NOFILE` of `asm-generic/resource.h`, times the size of a `struct rlimit`.
const OPEN_FILES_LIMIT: u32 = 7 * 16;

/// The kernel's memory counters (`MM_FILEPAGES` to `MM_SHMEMPAGES` in `mm_types_task.h`): pages of files, anonymous
/// ones, those that are swapped out, shared ones.
const COUNTERS: usize = 4;

/// Writes a record of a thread, unless its process is over or not watched.
#[inline(always)]
pub(crate) fn write(ctx: *mut c_void) {
    // As in `snapshot`.
    let ctx = Typed::at(ctx as u64);
    let task = ctx.follow(8);
    if task.address() == 0 {
        return;
    }
    if config!(watch) & WATCH != 0 && watch::group(task::tgid(task)) == 0 {
        return;
    }
    let signal = task.follow(offset!(task_signal));
    if signal.read::<u32>(offset!(signal_live)) == 0 {
        return;
    }
    let seq = ctx.follow(0).follow(0);
    // SAFETY: integers; zeros are valid.
    let mut usage: Usage = unsafe { core::mem::zeroed() };
    fill(&mut usage, task, signal);
    // SAFETY: the helper copies the record out.
    unsafe { bpf_seq_write(seq.address() as *mut _, (&raw const usage).cast(), size_of::<Usage>() as u32) };
}

#[inline(always)]
fn fill(usage: &mut Usage, task: Typed, signal: Typed) {
    usage.key = task::key(task);
    // SAFETY: a helper without arguments.
    usage.time_ns = unsafe { bpf_ktime_get_boot_ns() };
    usage.runtime_ns = task.read(offset!(task_runtime));
    usage.run_delay_ns = optional(task, offset!(task_run_delay));
    usage.read_bytes = optional(task, offset!(task_read_bytes));
    usage.write_bytes = optional(task, offset!(task_write_bytes));
    let leads = usage.key.tid == usage.key.tgid;
    if leads {
        usage.threads = signal.read(offset!(signal_nr_threads));
        usage.open_files_limit = signal.read(offset!(signal_rlim) + OPEN_FILES_LIMIT);
        let cgroup = task::cgroup(task);
        usage.cgroup_id = task::cgroup_id(cgroup);
        usage.cgroup_hierarchy = task::cgroup_hierarchy(cgroup);
        usage.runtime_ns += signal.read::<u64>(offset!(signal_runtime));
        if offset!(signal_read_bytes) != ABSENT {
            usage.read_bytes += signal.read::<u64>(offset!(signal_read_bytes));
            usage.write_bytes += signal.read::<u64>(offset!(signal_write_bytes));
        }
    }
    // A leader that has ended has given up its memory and its files: the others still have them.
    if leads || task.follow(offset!(task_group_leader)).follow(offset!(task_mm)).address() == 0 {
        let pages = pages(task.follow(offset!(task_mm)));
        let [file, anonymous, swapped, shared] = pages;
        usage.rss_bytes = (file + anonymous + shared) * PAGE_BYTES;
        usage.swap_bytes = swapped * PAGE_BYTES;
        usage.open_files = open_files(task.follow(offset!(task_files)));
    }
}

/// The memory counters, in pages. They can be below zero for a moment.
#[inline(always)]
fn pages(mm: Typed) -> [u64; COUNTERS] {
    let mut pages = [0; COUNTERS];
    if mm.address() == 0 {
        return pages;
    }
    if offset!(mm_rss_counts) != ABSENT {
        // The verifier of these kernels does not follow types into an array of typedefs.
        let counts = Untyped::at(mm.address() + u64::from(offset!(mm_rss_counts)));
        for (index, pages) in pages.iter_mut().enumerate() {
            *pages = counts.read(8 * index as u32);
        }
    } else {
        per_cpu_pages(&mut pages, mm);
    }
    pages.map(|pages: u64| if (pages as i64) < 0 { 0 } else { pages })
}

/// Since 6.2, each counter is one number and a small one on each CPU that is not yet added to it. On many CPUs the
/// small ones are a large part, and all of a small process.
#[inline(always)]
fn per_cpu_pages(pages: &mut [u64; COUNTERS], mm: Typed) {
    let counter = |index: usize| offset!(mm_rss) + index as u32 * offset!(percpu_counter_size);
    let mut places = [0_u64; COUNTERS];
    for (index, (pages, place)) in pages.iter_mut().zip(&mut places).enumerate() {
        *pages = mm.read(counter(index) + offset!(percpu_counter_count));
        if offset!(percpu_counter_counters) != ABSENT {
            *place = mm.read(counter(index) + offset!(percpu_counter_counters));
        }
    }
    let (map, key) = (&raw const CPU_PLACES, 0_u32);
    // An address in a map of one value for each CPU, and where it is on each CPU: their difference is what any such
    // address is off by. Neither number can be had from the verifier's pointers but by reading them as memory.
    let common: u64 = Untyped::at(number(&(map as u64))).read(offset!(bpf_array_pptrs));
    for cpu in 0..SUMMED_CPUS {
        // SAFETY: the map exists, the key is its only one.
        let place = unsafe { bpf_map_lookup_percpu_elem(map as *mut _, (&raw const key).cast(), cpu) };
        if place.is_null() {
            return;
        }
        let off = number(&(place as u64)).wrapping_sub(common);
        for (pages, place) in pages.iter_mut().zip(&places) {
            let more: i32 = Untyped::at(place.wrapping_add(off)).read(0);
            *pages = pages.wrapping_add(i64::from(more) as u64);
        }
    }
}

/// A pointer's value, as a number to calculate with.
#[inline(always)]
fn number(pointer: &u64) -> u64 {
    Untyped::at(core::ptr::from_ref(pointer) as u64).read(0)
}

/// Counts the open descriptors: bits of the process's bitmap of them. `u32::MAX` if it is too long.
#[inline(always)]
fn open_files(files: Typed) -> u32 {
    if files.address() == 0 {
        return 0;
    }
    let table = files.follow(offset!(files_fdt));
    let words = table.read::<u32>(offset!(fdtable_max_fds)).div_ceil(u64::BITS);
    if words > FILES_WORDS {
        return u32::MAX;
    }
    let bitmap = Untyped::at(table.read(offset!(fdtable_open_fds)));
    let mut count = 0;
    for word in 0..FILES_WORDS {
        if word >= words {
            break;
        }
        count += bitmap.read::<u64>(8 * word).count_ones();
    }
    count
}

#[inline(always)]
fn optional(structure: Typed, offset: u32) -> u64 {
    if offset == ABSENT { UNKNOWN } else { structure.read(offset) }
}
