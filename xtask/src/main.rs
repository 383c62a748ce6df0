//! Set-up, build, test and measurement commands.
fn main() {}
