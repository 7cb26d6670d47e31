#!/bin/bash
# Fifteen minutes (and one for the end) of good and hostile traffic with reloads, dying servers and ten thousand connections, under a memory watch.
# scripts/soak.sh [--minutes N] [--connections N] …; scripts/soak.py --help lists all. The record goes to perf/records/.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet
ulimit -n "$(ulimit -Hn)"
exec python3 -B scripts/soak.py "$@"
