//! The kernel's set of watched processes: named at the start, grown by the fork hook afterwards.

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use guard_common::wire::Snapshot;

use super::{Error, Watch};

/// Puts the named processes in, before the programs are attached: their children to come are
/// followed from the first on.
pub(crate) fn insert_named(ebpf: &mut Ebpf, watch: &Watch) -> Result<(), Error> {
    let (Watch::Pids(named) | Watch::Trees(named)) = watch else { return Ok(()) };
    insert(&mut open(ebpf)?, named)
}

/// Checks that the named processes exist, and puts in the descendants that they have already.
pub(crate) fn insert_descendants(
    ebpf: &mut Ebpf,
    watch: &Watch,
    snapshots: &[Snapshot],
) -> Result<(), Error> {
    let (Watch::Pids(named) | Watch::Trees(named)) = watch else { return Ok(()) };
    let exists = |pid| snapshots.iter().any(|snapshot| snapshot.task.key.tgid == pid);
    if let Some(absent) = named.iter().find(|&&pid| !exists(pid)) {
        return Err(Error::NoProcess(*absent));
    }
    if matches!(watch, Watch::Pids(_)) {
        return Ok(());
    }
    let mut watched = open(ebpf)?;
    let mut parents = named.clone();
    while let Some(parent) = parents.pop() {
        let tasks = snapshots.iter().map(|snapshot| &snapshot.task);
        let children: Vec<u32> =
            tasks.filter(|task| task.parent.tgid == parent).map(|task| task.key.tgid).collect();
        insert(&mut watched, &children)?;
        parents.extend(children);
    }
    Ok(())
}

type Set<'a> = HashMap<&'a mut MapData, u32, u32>;

fn open(ebpf: &mut Ebpf) -> Result<Set<'_>, Error> {
    HashMap::try_from(ebpf.map_mut("WATCHED").ok_or(Error::NoObject)?)
        .map_err(|error| Error::system("open the watch set", error))
}

fn insert(watched: &mut Set<'_>, pids: &[u32]) -> Result<(), Error> {
    pids.iter()
        .try_for_each(|pid| watched.insert(pid, 0, 0))
        .map_err(|error| Error::system("fill the watch set", error))
}
