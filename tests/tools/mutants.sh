#!/usr/bin/env bash
# Mutation testing of the pure rooms `audit` and `client` and of the history that they judge by
# (`observe::history`): changes one thing after another in them, and tells which changes no test notices.
#
# A build of the whole crate for each of many hundred mutants would take a day. So this makes a crate of
# the pure rooms and their tests alone, below target/, where a mutant takes seconds.
# Several may run at once, each with a CARGO_TARGET_DIR of its own and a part: `mutants.sh --shard 0/2`.
# Wants cargo-mutants and cargo-nextest (`cargo install --locked cargo-mutants cargo-nextest`).
# usage: mutants.sh [ARGUMENT OF CARGO-MUTANTS…]     e.g. mutants.sh --file src/audit/texts.rs --list
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
crate=${CARGO_TARGET_DIR:-$root/target}/mutants/kmswatch
mkdir -p "$crate"
find "$crate" -mindepth 1 -maxdepth 1 ! -name target -exec rm -r {} +
mkdir -p "$crate"/{src/observe,src/report,tests,.config}
cd "$root"
cp -R Cargo.lock docs config .cargo "$crate"
cp -R src/{model,client,audit,config} "$crate/src"
cp src/observe/{state,resolution,work}.rs "$crate/src/observe"
# What the journal's entries say, which its tests read.
cp src/report/{events,text}.rs "$crate/src/report"
cp -R tests/{audit,scenarios,audit.rs,texts.rs} "$crate/tests"
# The other rooms' own tests cannot notice anything here.
sed -i '/^#\[cfg(test)\]/,$d' "$crate"/src/{model,config,observe,report}/*.rs
cp -R src/observe/history{,.rs} "$crate/src/observe"
# A property that a mutant breaks is mostly broken at once.
sed -i 's/cases: 96/cases: 16/' "$crate/tests/audit/properties.rs"

# All in one test binary: each mutant is compiled and linked once.
cat >"$crate/src/lib.rs" <<'END'
extern crate self as kmswatch;
pub mod audit;
pub mod client;
pub mod config;
pub mod model;
pub mod observe {
    pub mod history;
    pub mod resolution;
    pub mod state;
    pub mod work;
}
pub mod report {
    mod events;
    mod text;
    pub use events::event_message;
}
#[cfg(test)]
#[path = "../tests/audit.rs"]
mod audit_tests;
#[cfg(test)]
#[path = "../tests/texts.rs"]
mod texts_tests;
END

# The dependencies that these rooms name; nothing else of the manifest matters here.
dependencies() {
    local line name
    printf '[%s]\n' "$1"
    sed -n "/^\[$1\]/,/^\[/p" Cargo.toml | grep ' = ' | while read -r line; do
        name=${line%% =*}
        if grep -rqE "\b${name//-/_}::" "$crate/src" "$crate/tests"; then echo "$line"; fi
    done
}
{
    sed -n '/^\[package\]/,/^rust-version/p' Cargo.toml
    printf 'autotests = false\n'
    dependencies dependencies
    dependencies dev-dependencies
    printf '[profile.dev]\ndebug = 0\n[profile.dev.package."*"]\nopt-level = 1\n'
} >"$crate/Cargo.toml"
# The scenarios first: they notice most, and at once.
cat >"$crate/.config/nextest.toml" <<'END'
[profile.default]
default-filter = "test(/^(audit|client|observe|audit_tests|texts_tests)::/)"
[[profile.default.overrides]]
filter = "test(every_scenario) | test(/^(audit|client|observe)::/)"
priority = 1
[[profile.default.overrides]]
filter = "test(/properties::/)"
priority = -1
END

cd "$crate"
unset CARGO_TARGET_DIR
cargo nextest run --no-run --lib
exec cargo mutants --in-place --test-tool nextest --cargo-test-arg=--lib --timeout 90 --output .. "$@"
