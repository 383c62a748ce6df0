//! Makes processes do things, and writes the truth about them: see `guard_tests::workload`.

use std::process::ExitCode;

fn main() -> ExitCode {
    guard_tests::workload::main()
}
