//! Finds in the kernel's type information what the programs need to know of it.

use guard_common::config::{HAS_GROUP_DEAD, HAS_PREPARE_EXEC, HAS_SWITCH_STATE, HAS_VICTIM_TASK};
use guard_common::layout::{ABSENT, FIELDS, Field, Layout};

use super::btf::Btf;

/// Size of a pointer: `css_set.subsys` is an array of them.
const POINTER_BYTES: u32 = 8;

/// Resolves all fields.
///
/// # Errors
/// The names of required fields that this kernel does not have.
pub(crate) fn resolve(btf: &Btf) -> Result<Layout, Vec<String>> {
    let mut layout = Layout::UNRESOLVED;
    let mut missing = Vec::new();
    for (entry, field) in layout.entries_mut().zip(FIELDS) {
        match place(btf, field) {
            Some(value) => *entry = value,
            None if field.required => missing.push(format!("{}.{}", field.structure, field.path)),
            None => {}
        }
    }
    if missing.is_empty() { Ok(layout) } else { Err(missing) }
}

fn place(btf: &Btf, field: &Field) -> Option<u32> {
    if let Some(enumeration) = field.structure.strip_prefix("enum ") {
        return btf.enumerator(enumeration, field.path)?.checked_mul(POINTER_BYTES);
    }
    if field.path.is_empty() {
        return btf.size(field.structure);
    }
    if let Some(path) = field.path.strip_prefix('#') {
        return Some(btf.member(field.structure, path)?.bits);
    }
    let place = field.path.split('|').find_map(|path| btf.member(field.structure, path))?;
    (!place.bit_field && place.bits % 8 == 0).then_some(place.bits / 8).filter(|&bytes| bytes != ABSENT)
}

/// What this kernel's hooks give: `HAS_*` flags. The prototypes decide, not the version, since
/// distributions port changes back.
pub(crate) fn hooks(btf: &Btf) -> u32 {
    let mut flags = 0;
    if btf.tracepoint("sched_process_exit").is_some_and(|parameters| parameters.len() > 1) {
        flags |= HAS_GROUP_DEAD;
    }
    let victim = btf.tracepoint("mark_victim").unwrap_or_default();
    if victim.first().is_some_and(|first| *first == Some("task_struct")) {
        flags |= HAS_VICTIM_TASK;
    }
    if btf.tracepoint("sched_prepare_exec").is_some() {
        flags |= HAS_PREPARE_EXEC;
    }
    if btf.tracepoint("sched_switch").is_some_and(|parameters| parameters.len() > 3) {
        flags |= HAS_SWITCH_STATE;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_required_field() {
        let layout = resolve(&Btf::running().unwrap()).unwrap();
        assert_ne!(layout.task_pid, ABSENT);
        assert_ne!(layout.task_pid, layout.task_tgid);
        assert_eq!(layout.upid_size, 16);
    }
}
