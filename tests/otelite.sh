#!/usr/bin/env bash
# Traces, metrics and logs in a backend that nobody here wrote: otelite (Apache-2.0), installed once below target/tools, which takes
# some ten minutes. The real processes on loopback; what the backend says afterwards is compared to what was sent
# (tests/python/otelite.py). Ends by itself.
#
#   tests/otelite.sh
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.1.156
tools="$PWD/target/tools"
if ! "$tools/bin/otelite" --version 2>/dev/null | grep -qF "$version"; then
    # Not optimized: it has little to do, and is built in a third of the time.
    CARGO_TARGET_DIR="$tools/build" cargo install --locked --debug --quiet --root "$tools" --version "$version" otelite
    rm -rf "$tools/build"
fi
cargo build --release --workspace --bins
export PYTHONDONTWRITEBYTECODE=1
exec python3 tests/python/otelite.py "$tools/bin/otelite" "$PWD/target/release"
