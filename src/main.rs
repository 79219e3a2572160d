//! The process: arguments → verb → exit code.
fn main() {}
