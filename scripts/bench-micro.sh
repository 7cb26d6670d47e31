#!/usr/bin/env bash
# Runs the Criterion benches (benches/) and keeps their figures with machine, load, versions, commit and command in
# perf/records/<time>-criterion.txt. Each bench says in its head what it asks, and what its floor is.
#
#   scripts/bench-micro.sh              all, as long as Criterion finds right: some 20 minutes after the build
#   scripts/bench-micro.sh --quick      1 s of warm-up and 2 s of measurement a case: some 8 minutes
#   --benches http,stick                only these
#   --huge                              tables of 10 M entries, too (some 3 GB of memory)
#   --no-record                         leave nothing in perf/records/
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

command_line="scripts/bench-micro.sh $*"
benches=http,rules,patterns,stick,peers,timers,log options=() record=yes
while [ $# -gt 0 ]; do
    case $1 in
        --quick) options=(--warm-up-time 1 --measurement-time 2) ;;
        --benches) benches=$2; shift ;;
        --huge) export BURDOCK_BENCH_HUGE=1 ;;
        --no-record) record=no ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

need python3 python3
need_rust
said=$(mktemp "${TMPDIR:-/tmp}/burdock-micro.XXXXXX")
trap 'rm -f "$said"' EXIT
names=()
for bench in ${benches//,/ }; do names+=(--bench "$bench"); done
say "building"
cargo bench --quiet --no-run "${names[@]}"
load_before=$(cut -d' ' -f1 /proc/loadavg)
# One after the other, so that every figure is under the name of its bench.
for bench in ${benches//,/ }; do
    say "$bench"
    echo "= $bench" >>"$said"
    cargo bench --quiet --bench "$bench" -- --noplot "${options[@]}" | tee -a "$said"
done
file=/dev/null
[ $record = no ] || file=perf/records/$(date -u +%Y-%m-%dT%H%M%SZ)-criterion.txt
{
    echo "# $command_line"
    echo "# $(date -u +%FT%TZ), commit $(git describe --always --dirty 2>/dev/null || echo unknown), $(rustc --version)"
    echo "# $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, $(uname -sr), load $load_before before, $(cut -d' ' -f1 /proc/loadavg) after"
    echo "# Criterion's estimate of the time of one operation, and its interval of confidence (95 %)."
    python3 scripts/bench/micro.py "$said"
} | tee "$file"
[ $record = no ] || echo "recorded in $file"
