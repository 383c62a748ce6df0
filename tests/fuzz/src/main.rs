//! The fuzzer: libFuzzer's own command line, on the target that `GUARD_FUZZ_TARGET` names. Run it
//! by `cargo xtask fuzz`.

#![no_main]

use std::sync::LazyLock;

use guard_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("GUARD_FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        eprintln!("GUARD_FUZZ_TARGET={name}: no such target");
        std::process::exit(64)
    })
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
