#!/usr/bin/env bash
# Makes the Python environment of the tests, with impacket, and prints the path of its interpreter.
# Costs nothing where it is there already. One caller installs, the others wait for it.
# usage: venv.sh [TARGET_DIRECTORY]      (default: target/ of this repo)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
target=${1:-${CARGO_TARGET_DIR:-$root/target}}
venv=$target/test-venv
packages=(impacket==0.13.1)

mkdir -p "$target"
exec 9>"$target/test-venv.lock"
flock 9
if [ "$(cat "$venv/complete" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet "${packages[@]}" >&2
    echo "${packages[*]}" >"$venv/complete"
fi
echo "$venv/bin/python"
