#!/usr/bin/env bash
# Compares burdock with HAProxy, nginx and a relay that parses nothing: installs what is missing, builds, measures.
# scripts/bench.sh --help tells scenarios and options; without any it takes about twenty minutes after the build.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

need python3 python3 haproxy haproxy nginx nginx strace strace wrk wrk
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || need ngx_stream_module libnginx-mod-stream
case " $* " in
    *" --help "* | *" -h "* | *" --readme"*) ;;
    *" --profile "*) need perf linux-perf; need_rust; say "building"; cargo build --release --workspace --quiet ;;
    *) need_rust; say "building"; cargo build --release --workspace --quiet ;;
esac
PATH=$PATH:/usr/sbin
ulimit -n "$(ulimit -Hn)"
exec python3 scripts/bench "$@"
