#!/usr/bin/env bash
# Clients that nobody here wrote: one that knows the API by reflection alone, in Python and as `buf curl` (tests/python/reflection.py),
# and a producer with OpenTelemetry's own SDK whose spans are the parents of its deliveries (tests/python/telemetry.py). The packages are
# installed once below target/tools. Ends by itself.
#
#   tests/python.sh [FOLDER]    FOLDER holds the built programs; without it they are built in release
set -euo pipefail
cd "$(dirname "$0")/.."
programs=${1:-}
if [ -z "$programs" ]; then
    cargo build --release --workspace --bins
    programs=target/release
fi
folder=target/tools/python
if [ ! -x "$folder/bin/python" ]; then python3 -m venv "$folder"; fi
"$folder/bin/pip" install --quiet --disable-pip-version-check \
    grpcio==1.76.0 grpcio-reflection==1.76.0 opentelemetry-sdk==1.45.2 opentelemetry-proto==1.45.2 buf-bin==1.75.0
export PYTHONDONTWRITEBYTECODE=1
timeout 300 "$folder/bin/python" tests/python/reflection.py "$programs/sluice-control-plane" "$folder/bin/buf"
timeout 300 "$folder/bin/python" tests/python/telemetry.py "$programs/sluice-control-plane" "$programs/sluice-node"
