//! What the ring would hold: forks, execs and exits of a host on which processes spawn in turn.

use guard_common::wire::Task;

use crate::testkit;

/// Spawned processes alive at once.
pub(crate) const ALIVE: u32 = 50;

/// One in so many spawns runs what a policy adopts.
const ADOPTED: u32 = 100;

/// Pid of the first of those that stay; the pids below are used again and again.
const FIRST_PARENT: u32 = 40_000;

/// Records, one after the other.
pub(crate) struct Ring {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Ring {
    /// So many spawns by so many processes.
    pub(crate) fn new(spawns: u32, spawners: u32) -> Self {
        let mut ring = Self { bytes: vec![], ends: vec![] };
        for spawn in 0..spawns + ALIVE {
            if spawn < spawns {
                let child = spawned(spawn, spawners);
                ring.push(testkit::bytes(&testkit::fork(child)));
                let exec = testkit::exec(Task { comm: testkit::comm("cc1"), ..child })
                    .exe(if spawn % ADOPTED == 0 {
                        b"worker\0bin\0hot\0opt\0"
                    } else {
                        b"cc1\x0012\0x86_64-linux-gnu\0gcc\0libexec\0usr\0"
                    })
                    .cwd(b"build\0linux\0src\0user\0home\0")
                    .args(b"cc1\0-quiet\0-I\0include\0-O2\0-Wall\0fs/ext4/inode.c\0-o\0/tmp/ccXq81.s\0");
                ring.push(&exec.encode());
            }
            if let Some(spawn) = spawn.checked_sub(ALIVE) {
                let ended = Task { comm: testkit::comm("cc1"), ..spawned(spawn, spawners) };
                ring.push(testkit::bytes(&testkit::exit(ended, 0)));
            }
        }
        ring
    }

    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// The records from one to before another.
    pub(crate) fn records(&self, from: usize, to: usize) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.get(from..to).unwrap_or_default();
        let mut begin = from.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        ends.iter().filter_map(move |&end| self.bytes.get(std::mem::replace(&mut begin, end)..end))
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }
}

/// Those that stay.
pub(crate) fn population(population: u32) -> impl Iterator<Item = Task> {
    (0..population).map(|parent| task(FIRST_PARENT + parent, 10, 1, 1))
}

fn spawned(spawn: u32, spawners: u32) -> Task {
    let parent = FIRST_PARENT + spawn.wrapping_mul(2_654_435_761) % spawners;
    task(2_000 + spawn % 30_000, 1_000_000 + u64::from(spawn) * 1_000, parent, 10)
}

fn task(pid: u32, start_ns: u64, parent: u32, parent_start_ns: u64) -> Task {
    Task { parent: testkit::key(parent, parent_start_ns), cgroup_id: 77, ..testkit::task(pid, start_ns) }
}
