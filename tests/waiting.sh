#!/usr/bin/env bash
# Two million deliveries that wait for their second round: memory, files, the time of a restart, and whether they come when they
# are due, with the real processes on loopback. Takes about as many seconds as there are thousands of them and 5 GB of disk at
# most; ends by itself; exit code 0 only if the goals are met.
#
#   [WAITING_COUNT=2000000] [WAITING_OFFSET_SECONDS=…] tests/waiting.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --workspace --bins
exec cargo run --release --package sluice-tests --example waiting
