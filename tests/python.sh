#!/usr/bin/env bash
# Clients that nobody here wrote, from Python: one that knows the API by reflection alone (tests/python/reflection.py), and a producer
# with OpenTelemetry's own SDK whose spans are the parents of its deliveries (tests/python/telemetry.py). The packages are installed once
# below target/tools. Ends by itself.
#
#   tests/python.sh
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$PWD/target/tools/python"
if ! "$folder/bin/python" -c 'import grpc_reflection, opentelemetry.sdk, opentelemetry.proto' 2> /dev/null; then
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet grpcio==1.85.3 grpcio-reflection==1.85.1 opentelemetry-sdk==1.45.2 opentelemetry-proto==1.45.2
fi
cargo build --release --workspace --bins
export PYTHONDONTWRITEBYTECODE=1
timeout 300 "$folder/bin/python" tests/python/reflection.py target/release/sluice-control-plane
timeout 300 "$folder/bin/python" tests/python/telemetry.py target/release/sluice-control-plane target/release/sluice-node
