#!/usr/bin/env bash
# The full counts: the store, the schedule, the push protocol and the producers against their models, a thousand nodes with
# a hundred thousand syncs; then the real processes: 200 kills over 50,000 events, 50 power cuts, faults of the disk and of the
# clock; and an export of Amplitude's shape streamed through a node that is killed on the way. What arrives is compared to the
# event. Then clients from Python, and telemetry in backends that are not ours: a Prometheus, and otelite, whose installation
# takes ten minutes the first time. Prints the seeds and figures; SLUICE_SEED repeats a run. Ends by itself.
#
#   tests/full.sh [--soak] [--waiting] [--large] [EXPORT.ndjson.gz]
#
#   --soak      then ten minutes at half load (tests/soak.sh; SOAK_SECONDS)
#   --waiting   then two million waiting retries (tests/waiting.sh; WAITING_COUNT)
#   --large     then a control plane with 10,000 syncs and 10 million attempts (tests/large_store.sh; LARGE_ATTEMPTS)
#   EXPORT      without a file: the 1,000 events of tests/data, repeated
set -euo pipefail
soak= waiting= large= export=
for argument in "$@"; do
    case "$argument" in
    --soak) soak=1 ;;
    --waiting) waiting=1 ;;
    --large) large=1 ;;
    -*) echo "usage: tests/full.sh [--soak] [--waiting] [--large] [EXPORT.ndjson.gz]" >&2 && exit 2 ;;
    *) export=$(realpath "$argument") ;;
    esac
done
cd "$(dirname "$0")/.."
export SLUICE_EXPORT="$export" SLUICE_FULL=1 SLUICE_SEED="${SLUICE_SEED:-$(date +%s)}"
export PROPTEST_RNG_SEED="$SLUICE_SEED"
# Thirty programs are linked: optimised each by itself, as a whole they would take an hour.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
echo "seed $SLUICE_SEED"
cargo test --release --package sluice-pipeline --test pipeline
cargo test --release --package sluice-node --test spool_model --test spool_bounds --test spool_damage --test spool_journal
cargo test --release --package sluice-control-plane --lib session::model
cargo test --release --package sluice-control-plane --lib store::attempts
cargo test --release --package sluice-control-plane --lib feed::simulation -- --nocapture
cargo build --release --workspace --bins
# One after the other: they time what they kill by what has been delivered, and share two cores at most.
for test in producers lanes hostile faults kill kill_control_plane power_cut disk clock outages; do
    cargo test --release --package sluice-tests --test "$test" -- --nocapture --test-threads 1
done
tests/python.sh
tests/prometheus.sh
tests/otelite.sh
data-plane/freemarker/tests/oracle/install.sh
data-plane/freemarker/tests/oracle/differential.sh --count 20000
if [ -n "$soak" ]; then tests/soak.sh; fi
if [ -n "$waiting" ]; then tests/waiting.sh; fi
if [ -n "$large" ]; then tests/large_store.sh; fi
