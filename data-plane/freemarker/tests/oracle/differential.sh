#!/usr/bin/env bash
# Renders random templates with this engine and with Apache FreeMarker, and compares. Arguments are those of the
# `differential` example; `--help` shows them. Prints its seed, which is a new one each time unless `--seed` gives one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../../.."
cargo build --release --quiet -p sluice-freemarker --example ndjson --example differential
built=${CARGO_TARGET_DIR:-target}/release/examples
exec "$built/differential" --engine "$built/ndjson" --reference "$here/run.sh" "$@"
