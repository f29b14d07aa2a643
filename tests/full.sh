#!/usr/bin/env bash
# The full counts, with the real processes: streams an export of Amplitude's shape through a node that is killed on the way,
# and compares what arrives, to the event. Ends by itself.
#
#   tests/full.sh [EXPORT.ndjson.gz]     without a file: the 1,000 events of tests/data, repeated
set -euo pipefail
cd "$(dirname "$0")/.."
export SLUICE_EXPORT="${1:-}" SLUICE_FULL=1
if [ -n "$SLUICE_EXPORT" ]; then SLUICE_EXPORT=$(realpath "$SLUICE_EXPORT"); fi
cargo build --release --workspace --bins
cargo test --release --package sluice-tests --test kill -- --nocapture
