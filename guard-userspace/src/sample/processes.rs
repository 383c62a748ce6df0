//! What all processes use, in one pass of the kernel over their threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use guard_common::decode;
use guard_common::wire::{UNKNOWN, Usage};
use guard_core::ids::ProcId;
use guard_core::resources::Resources;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::sensor::{Error, bpf};

/// Bytes read at once: all that the kernel gathers before it gives them (8 pages, in `bpf_iter.c`).
const CHUNK: usize = 32 * 1024;

/// Reads the resources of processes, again and again. Its memory is used again.
#[derive(Debug)]
pub struct Sampler {
    /// The link of the iterator's program: each opening is a pass.
    iterator: OwnedFd,
    bytes: Vec<u8>,
}

impl Sampler {
    pub(crate) const fn new(iterator: OwnedFd) -> Self {
        Self { iterator, bytes: Vec::new() }
    }

    /// Replaces the contents of `into` by the resources of all watched processes, or of all on the host if there is
    /// no watch set, ordered by pid. A process of which all threads have ended is not among them, reaped or not.
    ///
    /// # Errors
    /// If the kernel refuses to let its threads be read.
    pub fn sample(&mut self, into: &mut Vec<Resources>) -> Result<(), Error> {
        self.bytes.clear();
        let failed = |error: io::Error| Error::system("read the resources of processes", error);
        let pass = bpf::open_iterator(self.iterator.as_fd()).map_err(failed)?;
        read(&pass, &mut self.bytes).map_err(|error| failed(error.into()))?;
        add_up(&self.bytes, into);
        // More descriptors than the kernel program counts are rare, and so may cost more.
        into.retain_mut(|resources| resources.open_files != u32::MAX || count_files(resources).is_some());
        Ok(())
    }
}

fn read(file: &File, bytes: &mut Vec<u8>) -> rustix::io::Result<()> {
    loop {
        bytes.reserve(CHUNK);
        match rustix::io::read(file, spare_capacity(bytes)) {
            Ok(0) => return Ok(()),
            // Again: a million threads were passed over without a record.
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes one of the records of all threads of a process. They come in the order of thread ids, and a thread may have
/// a lower one than its leader.
fn add_up(bytes: &[u8], into: &mut Vec<Resources>) {
    into.clear();
    into.extend(records(bytes).filter(leads).map(|usage| of(&usage)));
    if !into.is_sorted_by_key(|resources| resources.id) {
        into.sort_unstable_by_key(|resources| resources.id);
    }
    for usage in records(bytes).filter(|usage| !leads(usage)) {
        let id = ProcId::from(usage.key);
        let at = into.binary_search_by_key(&id, |resources| resources.id).ok();
        if let Some(resources) = at.and_then(|at| into.get_mut(at)) {
            add(resources, &usage);
        }
    }
}

fn records(mut bytes: &[u8]) -> impl Iterator<Item = Usage> {
    std::iter::from_fn(move || {
        let (usage, rest) = decode::usage(bytes).ok()?;
        bytes = rest;
        Some(usage)
    })
}

const fn leads(usage: &Usage) -> bool {
    usage.key.tid == usage.key.tgid
}

fn of(usage: &Usage) -> Resources {
    Resources {
        id: ProcId::from(usage.key),
        time_ns: usage.time_ns,
        cpu_ns: usage.runtime_ns,
        run_delay_ns: known(usage.run_delay_ns),
        rss_bytes: usage.rss_bytes,
        swap_bytes: usage.swap_bytes,
        open_files: usage.open_files,
        open_files_limit: known(usage.open_files_limit),
        threads: usage.threads,
        read_bytes: known(usage.read_bytes),
        write_bytes: known(usage.write_bytes),
        cgroup_id: usage.cgroup_id,
        cgroup_hierarchy: usage.cgroup_hierarchy,
    }
}

fn add(sum: &mut Resources, usage: &Usage) {
    let add = |sum: Option<u64>, more| sum.zip(known(more)).map(|(sum, more)| sum.saturating_add(more));
    sum.cpu_ns = sum.cpu_ns.saturating_add(usage.runtime_ns);
    sum.run_delay_ns = add(sum.run_delay_ns, usage.run_delay_ns);
    sum.read_bytes = add(sum.read_bytes, usage.read_bytes);
    sum.write_bytes = add(sum.write_bytes, usage.write_bytes);
    // Zero unless the leader has ended; all threads share them.
    sum.rss_bytes = sum.rss_bytes.max(usage.rss_bytes);
    sum.swap_bytes = sum.swap_bytes.max(usage.swap_bytes);
    sum.open_files = sum.open_files.max(usage.open_files);
}

/// All bits set is how the kernel says "no limit" and the record "not known".
fn known(number: u64) -> Option<u64> {
    (number != UNKNOWN).then_some(number)
}

fn count_files(resources: &mut Resources) -> Option<()> {
    let count = super::process(resources.id)?.fd_count().ok()?;
    resources.open_files = u32::try_from(count).ok()?;
    Some(())
}
