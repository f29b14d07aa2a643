#!/usr/bin/env bash
# Ten minutes at half of what this machine can carry, with the real processes on loopback: memory flat, files flat, nothing left
# at the end. Ends by itself; exit code 0 only if all of it holds.
#
#   [SOAK_SECONDS=600] tests/soak.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --workspace --bins
exec cargo run --release --package sluice-tests --example soak
