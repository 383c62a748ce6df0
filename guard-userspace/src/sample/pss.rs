//! The proportional set size: memory where each shared page counts as a share.
//!
//! The kernel walks the whole address space for it, which takes 0.3 to 9 ms, so it is read on demand only.

use std::{fs, io};

use guard_core::ids::ProcId;

/// Why a proportional set size is not known.
#[derive(Debug, thiserror::Error)]
pub enum PssError {
    /// The process has ended.
    #[error("process {} has ended", .0.pid)]
    Ended(ProcId),
    /// The file cannot be read.
    #[error("cannot read /proc/{}/smaps_rollup", id.pid)]
    Read {
        /// The process.
        id: ProcId,
        /// What the system said.
        source: io::Error,
    },
    /// The process has no memory of its own: a kernel thread, or one that is about to end.
    #[error("process {} has no memory of its own", .0.pid)]
    NoMemory(ProcId),
}

/// The proportional set size of a process, in bytes, from `/proc/PID/smaps_rollup`.
///
/// # Errors
/// If the process has ended or has no memory, or the file cannot be read.
pub fn pss(id: ProcId) -> Result<u64, PssError> {
    let ended = || PssError::Ended(id);
    super::process(id).ok_or_else(ended)?;
    let read = fs::read_to_string(format!("/proc/{}/smaps_rollup", id.pid));
    // Still the same one: then the file was its own.
    super::process(id).ok_or_else(ended)?;
    match read {
        Ok(text) => parse(&text).ok_or(PssError::NoMemory(id)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(PssError::NoMemory(id)),
        Err(source) => Err(PssError::Read { id, source }),
    }
}

/// The line `Pss:`, which is in KiB.
fn parse(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        let text = "55d0a000-7ffd000 ---p 00000000 00:00 0   [rollup]\n\
            Rss:                3060 kB\nPss:                 744 kB\nPss_Dirty:           264 kB\n";
        assert_eq!(parse(text), Some(744 * 1024));
        for text in ["", "Rss: 1 kB\n", "Pss: many kB\n", "Pss: 99999999999999999999 kB\n", "Pss: 1 MB\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_of_the_process_that_is_meant() {
        let me = procfs::process::Process::myself().unwrap();
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
        let id = ProcId { pid: std::process::id(), start_ns: me.stat().unwrap().starttime * tick_ns };
        let pss = pss(id).unwrap();
        let rss = me.statm().unwrap().resident * 4096;
        assert!(pss > 0 && pss <= rss + (4 << 20), "{pss} of {rss}");
        let earlier = ProcId { start_ns: id.start_ns - 2 * tick_ns, ..id };
        assert!(matches!(super::pss(earlier), Err(PssError::Ended(ended)) if ended == earlier));
        let kernel = procfs::process::Process::new(2).unwrap().stat().unwrap().starttime * tick_ns;
        assert!(matches!(super::pss(ProcId { pid: 2, start_ns: kernel }), Err(PssError::NoMemory(_))));
    }
}
