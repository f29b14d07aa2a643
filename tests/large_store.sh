#!/usr/bin/env bash
# A control plane with 10,000 syncs and 10 million attempts: reports stored a second, and how long people wait for lists, syncs and
# figures while they are stored and afterwards. The real process on loopback; some 10 GB of disk and half an hour; ends by itself;
# exit code 0 only if the goals are met.
#
#   [LARGE_SYNCS=10000] [LARGE_ATTEMPTS=10000000] tests/large_store.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --workspace --bins
exec cargo run --release --package sluice-tests --example large_store
