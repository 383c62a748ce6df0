//! Ring bytes to records: [`guard_common::decode`].

use guard_common::decode::{Record, decode};
use guard_common::wire::{Header, Plain};

/// Decodes the bytes as one record. Whatever they are, it does not panic; what it borrows lies
/// within them, and its fixed part is their beginning.
pub fn run(data: &[u8]) {
    let Ok(record) = decode(data) else { return };
    match record {
        Record::Fork(record) => begins(data, &record),
        Record::Exit(record) => begins(data, &record),
        Record::Signal(record) => begins(data, &record),
        Record::Oom(record) => begins(data, &record),
        Record::Listen(record) => begins(data, &record),
        Record::Snapshot(record) => begins(data, &record),
        Record::Stall(record) => begins(data, &record),
        Record::Exec(exec) => {
            begins(data, &exec.fixed);
            within(data, exec.exe.0);
            within(data, exec.cwd.0);
            within(data, exec.args);
            for path in [exec.exe, exec.cwd] {
                for component in path.components() {
                    within(path.0, component);
                    assert!(!component.is_empty() && !component.contains(&0), "{component:?}");
                }
            }
        }
        Record::Cgroup(cgroup) => {
            begins(data, &cgroup.fixed);
            within(data, cgroup.path);
        }
    }
    let kind = data.get(..4).and_then(|kind| kind.try_into().ok()).map(u32::from_ne_bytes);
    assert_eq!(kind, Some(record.kind().0), "the kind is the first word");
    assert!(data.len() >= size_of::<Header>(), "no record without a header");
}

/// The fixed part, encoded again, is what it was decoded from.
fn begins<T: Plain>(data: &[u8], fixed: &T) {
    // SAFETY: `Plain` promises a type without padding, so all its bytes are initialised; the
    // slice borrows from `fixed`.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(fixed).cast::<u8>(), size_of::<T>()) };
    assert!(data.starts_with(bytes), "the fixed part is not the beginning");
}

fn within(data: &[u8], part: &[u8]) {
    let (all, part) = (data.as_ptr_range(), part.as_ptr_range());
    assert!(all.start <= part.start && part.end <= all.end, "a part lies outside");
}
