//! Attaches two programs that do nothing to the scheduler's hooks, until Ctrl-C. For `cargo xtask bench`.

use guard_userspace::sensor::empty::EmptyScheduler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _attached = EmptyScheduler::attach()?;
    loop {
        std::thread::park();
    }
}
