//! Programs from exec records.

use guard_common::decode::{self, Path};
use guard_common::wire::{
    EXEC_ARGS_UNREADABLE, EXEC_CWD_DELETED, EXEC_CWD_TRUNCATED, EXEC_EXE_DELETED, EXEC_EXE_TRUNCATED,
};

use crate::event::{Program, ProgramFlags};

/// What an exec record says about the new program.
pub(crate) fn of(exec: &decode::Exec<'_>) -> Program {
    let fixed = &exec.fixed;
    let has = |flag| fixed.flags & flag != 0;
    let flags = ProgramFlags {
        args_truncated: fixed.args_bytes < fixed.args_total || has(EXEC_ARGS_UNREADABLE),
        executable_truncated: has(EXEC_EXE_TRUNCATED),
        working_directory_truncated: has(EXEC_CWD_TRUNCATED),
        executable_deleted: has(EXEC_EXE_DELETED),
        working_directory_deleted: has(EXEC_CWD_DELETED),
    };
    // A directory without components is the root; an executable without is one whose path could
    // not be walked.
    let mut working_directory = join(exec.cwd, flags.working_directory_truncated);
    if working_directory.is_empty() && !flags.working_directory_truncated {
        working_directory.push(b'/');
    }
    Program {
        executable: join(exec.exe, flags.executable_truncated),
        inode: fixed.exe_inode,
        device: fixed.exe_device,
        working_directory,
        args: exec.args.to_vec(),
        args_count: fixed.args_count,
        flags,
    }
}

/// Joins components with slashes. A truncated path gets no leading one: what precedes its first
/// component is not the root.
fn join(path: Path<'_>, truncated: bool) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.0.len() + 1);
    for component in path.components() {
        if !(truncated && joined.is_empty()) {
            joined.push(b'/');
        }
        joined.extend_from_slice(component);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_from_the_root_down() {
        for (raw, truncated, expected) in [
            (&b"bash\0bin\0usr\0"[..], false, &b"/usr/bin/bash"[..]),
            (b"", false, b""),
            (b"c\0b\0", true, b"b/c"),
            (b"caf\xc3\xa9 \x1b[31m\0srv\0", false, b"/srv/caf\xc3\xa9 \x1b[31m"),
        ] {
            assert_eq!(join(Path(raw), truncated), expected);
        }
    }

    #[test]
    fn a_directory_without_components_is_the_root() {
        let record = crate::testkit::exec(crate::testkit::task(7, 70)).exe(b"").cwd(b"");
        let program = of(&record.decoded());
        assert_eq!(program.working_directory, b"/");
        assert_eq!(program.executable, b"");
    }

    #[test]
    fn incomplete_arguments_are_marked() {
        let whole = crate::testkit::exec(crate::testkit::task(7, 70)).args(b"ls\0-l\0");
        assert!(!of(&whole.decoded()).flags.args_truncated);
        assert_eq!(of(&whole.decoded()).arguments().collect::<Vec<_>>(), [&b"ls"[..], b"-l"]);
        let mut cut = whole.clone();
        cut.fixed.args_total += 1;
        assert!(of(&cut.decoded()).flags.args_truncated);
        let mut unreadable = whole;
        unreadable.fixed.flags = EXEC_ARGS_UNREADABLE;
        assert!(of(&unreadable.decoded()).flags.args_truncated);
    }
}
