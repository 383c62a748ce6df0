//! Who listens on which TCP port now, of the host's own network: for the inventory, on demand alone, since it reads the descriptors
//! of every process.

use std::collections::{BTreeMap, HashMap};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process};

/// Ports by pid, each list in order.
///
/// # Errors
/// If /proc cannot be read.
pub(super) fn ports() -> Result<BTreeMap<u32, Vec<u16>>, procfs::ProcError> {
    let mut sockets = HashMap::new();
    let mut add = |entries: Vec<TcpNetEntry>| {
        let listening = entries.into_iter().filter(|entry| entry.state == TcpState::Listen);
        sockets.extend(listening.map(|entry| (entry.inode, entry.local_address.port())));
    };
    add(procfs::net::tcp()?);
    // A host without IPv6 has no such file.
    add(procfs::net::tcp6().unwrap_or_default());
    let mut ports: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
    // A process may end while it is looked at: what it has left is nobody's.
    for process in procfs::process::all_processes()?.flatten() {
        let mut own = ports_of(&process, &sockets);
        if !own.is_empty() {
            own.sort_unstable();
            own.dedup();
            ports.insert(process.pid.cast_unsigned(), own);
        }
    }
    Ok(ports)
}

fn ports_of(process: &Process, sockets: &HashMap<u64, u16>) -> Vec<u16> {
    let Ok(descriptors) = process.fd() else { return vec![] };
    let port = |target: FDTarget| match target {
        FDTarget::Socket(inode) => sockets.get(&inode).copied(),
        _ => None,
    };
    descriptors.flatten().filter_map(|descriptor| port(descriptor.target)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(ports().unwrap()[&std::process::id()].contains(&port));
    }
}
