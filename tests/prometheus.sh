#!/usr/bin/env bash
# What docs/ gives to those who have Prometheus, tried on a real one: the alert rules are checked and evaluated, every query of the
# dashboard is asked, and every metric of the list is scraped from the real processes (tests/python/prometheus.py). Takes promtool and
# prometheus from the path, else from Debian's package, unpacked below target/tools. Ends by itself.
#
#   tests/prometheus.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v prometheus promtool > /dev/null; then
    programs=$(dirname "$(command -v prometheus)")
else
    folder="$PWD/target/tools/debian"
    programs="$folder/usr/bin"
    if [ ! -x "$programs/promtool" ]; then
        mkdir -p "$folder"
        (cd "$folder" && apt-get download prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb)
    fi
fi
"$programs/promtool" check rules docs/prometheus/alerts.yaml
cargo build --release --workspace --bins
export PYTHONDONTWRITEBYTECODE=1
exec python3 tests/python/prometheus.py "$programs/prometheus" "$PWD/target/release"
