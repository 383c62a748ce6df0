//! Which programs can be started by the loop itself: another thread costs a wake-up of a processor that sleeps, which on a virtual machine
//! is a tenth of a recovery.

use std::collections::HashMap;

use guard_core::policy::model::Run;
use guard_core::supervise::Subject;
use rustix::fs::statfs;

/// A program that was there within this time will be again, in nanoseconds: ten times what is usual.
const QUICK_NS: u64 = 5_000_000;

/// File systems that wait for nobody else: ext, XFS, Btrfs, tmpfs, overlay, squashfs, the initial root, F2FS, ZFS (`linux/magic.h`).
const LOCAL: [u64; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0x7371_7368,
    0x8584_58f6,
    0xf2f5_2010,
    0x2fc1_2fc1,
];

/// Instances whose program was there at once when it was started last.
#[derive(Debug, Default)]
pub(super) struct Quick {
    programs: HashMap<Subject, String>,
}

impl Quick {
    /// A start took so long, from the clone to the program.
    pub(super) fn note(&mut self, subject: &Subject, run: &Run, took_ns: u64) {
        let Some(program) = run.command.first() else { return };
        if self.is_quick(subject, run) && took_ns < QUICK_NS {
            return;
        }
        if took_ns < QUICK_NS && is_local(program) {
            self.programs.insert(subject.clone(), program.clone());
        } else {
            self.programs.remove(subject);
        }
    }

    pub(super) fn is_quick(&self, subject: &Subject, run: &Run) -> bool {
        self.programs.get(subject).is_some_and(|program| Some(program) == run.command.first())
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        self.programs.remove(subject);
    }
}

fn is_local(program: &str) -> bool {
    statfs(program).is_ok_and(|found| LOCAL.contains(&(found.f_type.cast_unsigned() & 0xffff_ffff)))
}
