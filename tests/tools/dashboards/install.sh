#!/usr/bin/env bash
# Installs what checks the dashboards from npm, and prints the folder. Costs nothing where it is there
# already. One caller installs, the others wait for it.
# usage: install.sh [TARGET_DIRECTORY]      (default: target/ of this repo)
set -euo pipefail

root=$(cd "$(dirname "$0")/../../.." && pwd)
target=${1:-${CARGO_TARGET_DIR:-$root/target}}
folder=$target/test-node
# The types of Grafana's first version that writes schemaVersion 39, the one that the dashboards have.
packages=(@grafana/schema@10.4.19 typescript@5.9.3 yaml@2.8.1)

mkdir -p "$folder"
exec 9>"$target/test-node.lock"
flock 9
if [ "$(cat "$folder/complete" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{ "private": true, "type": "module" }' >"$folder/package.json"
    (cd "$folder" && npm install --silent --no-audit --no-fund --no-package-lock --save-exact "${packages[@]}" >&2)
    echo "${packages[*]}" >"$folder/complete"
fi
echo "$folder"
