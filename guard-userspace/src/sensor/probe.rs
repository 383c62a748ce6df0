//! What this kernel and these privileges allow.

use rustix::thread::{CapabilitySet, capabilities};

use super::Error;

/// Capabilities that the sensor needs, and what for.
const NEEDED: [(CapabilitySet, &str); 2] =
    [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")];

/// The capabilities that are missing. CAP_SYS_ADMIN includes both, as the kernel has it.
pub(crate) fn missing_capabilities() -> Vec<&'static str> {
    let Ok(own) = capabilities(None) else { return NEEDED.iter().map(|(_, name)| *name).collect() };
    if own.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED.iter().filter(|(one, _)| !own.effective.contains(*one)).map(|(_, name)| *name).collect()
}

/// # Errors
/// If capabilities are missing.
pub(crate) fn require_privileges() -> Result<(), Error> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(Error::Privilege(missing)) }
}

/// Before 5.11 maps are charged to the locked-memory limit. Failing is harmless after that.
pub(crate) fn lift_memory_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}
