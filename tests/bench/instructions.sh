#!/usr/bin/env bash
# Counts the instructions that one event costs, by callgrind, and compares them with instructions.tsv: a busy machine changes how
# long something takes, and not how much there is to do. Installs valgrind if it is missing.
#
#   tests/bench/instructions.sh            fails if a count is more than 3 % above what is stored
#   tests/bench/instructions.sh --store    stores the counts
set -euo pipefail
cd "$(dirname "$0")/../.."
stored=tests/bench/instructions.tsv
if ! command -v valgrind >/dev/null; then
    sudo=()
    if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
fi
cargo build --quiet --release --package sluice-pipeline --example hot_path
program=${CARGO_TARGET_DIR:-target}/release/examples/hot_path

# All instructions of a run.
all() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 | sed -n 's/.*Collected : //p'
}

# Those of one event: what 2,000 cost beyond 1,000, so that the start is not among them.
each() {
    local less more
    less=$(all "$1" 1000)
    more=$(all "$1" 2000)
    echo $(((more - less) / 1000))
}

fresh=$(for stage in parse match_type match_property render all; do printf '%s\t%s\n' "$stage" "$(each "$stage")"; done)
if [ "${1:-}" = --store ]; then
    echo "$fresh" | tee "$stored"
    exit
fi
echo "$fresh" | awk -v OFS='\t' '
    BEGIN { print "stage", "instructions", "stored", "" }
    NR == FNR { stored[$1] = $2; next }
    {
        verdict = "as stored"
        if (!($1 in stored) || $2 > stored[$1] * 1.03) { verdict = "MORE"; failed = 1 }
        else if ($2 < stored[$1] * 0.97) verdict = "fewer: store it (--store)"
        print $1, $2, stored[$1], verdict
    }
    END { exit failed }' "$stored" -
