//! What the tests use from npm, of the versions that `tests/tools/NAME/package-lock.json` says. Include it with
//! `#[path = "peers/npm.rs"] mod npm;`, beside `program`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::said;

/// Where the lists of packages are, and what uses them.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools")
}

/// Installs the packages of `tests/tools/NAME` once, and tells where they are.
pub fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/");
    said(Command::new(tools().join("npm.sh")).arg(name).arg(target)).into()
}
