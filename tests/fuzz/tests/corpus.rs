//! The corpora, without a fuzzer: every input that was ever interesting still holds.

use std::fs;
use std::path::Path;

use guard_fuzz::TARGETS;

/// Bytes that all corpora together may have.
const CORPORA_BYTES: u64 = 200 * 1024;

#[test]
fn every_input_of_the_corpora_holds() {
    let mut bytes = 0;
    for target in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let mut inputs = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            println!("{}", path.display());
            (target.run)(&input);
            bytes += input.len() as u64;
            inputs += 1;
        }
        assert!(inputs >= 10, "{}: {inputs} inputs are no corpus", target.name);
    }
    assert!(bytes <= CORPORA_BYTES, "{bytes} bytes: `cargo xtask fuzz --minimise`");
}
