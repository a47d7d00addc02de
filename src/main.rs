//! The `kmswatch` binary: the exit code only.

fn main() {}
