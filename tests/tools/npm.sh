#!/usr/bin/env bash
# Installs from npm what tests/tools/NAME/package-lock.json says, and prints the folder. Costs nothing where
# it is there already. One caller installs, the others wait for it.
# usage: npm.sh NAME [TARGET_DIRECTORY]      (default: target/ of this repo)
#
# dashboards: the types of Grafana's first version that writes schemaVersion 39, the one they have.
# page: axe-core, which finds what bars people with a screen reader or a keyboard.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
wanted=$tools/$1
target=${2:-${CARGO_TARGET_DIR:-$tools/../../target}}
folder=$target/test-node/$1

mkdir -p "$target"
exec 9>"$target/test-node-$1.lock"
flock 9
if ! cmp -s "$wanted/package-lock.json" "$folder/complete"; then
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$wanted/package.json" "$wanted/package-lock.json" "$folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund >&2)
    mv "$folder/package-lock.json" "$folder/complete"
fi
realpath "$folder"
