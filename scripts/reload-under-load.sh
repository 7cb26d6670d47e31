#!/usr/bin/env bash
# Reloads burdock again and again under load, HAProxy beside it, and reports what clients noticed.
#
#   scripts/reload-under-load.sh [--entries N] [--reloads N] [--kill] [--only burdock|haproxy] [--record FILE] [BINARY]
#
# Fills a stick table with N entries (default 10000), half of them for each of two servers. Two load generators then ask for these keys at a
# steady rate, one on kept connections and one with a connection for each request, and check on every answer that it came from the key's
# server. Meanwhile SIGUSR2 goes to the master N times (default 10), or, with --kill, SIGKILL to the worker. Reported, for burdock (BINARY: one
# that is built already) and for the HAProxy that is installed: failed requests, wrong servers, keys that stay on a wrong server
# (pinned), entries lost, worst latency, memory before and at its peak, and how long until the new worker had the whole table.
# Ends with 0 only if burdock failed no request (but those that died with a killed worker), used no wrong server and lost no entry.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

entries=10000 reloads=10 kill= only= record= binary=
while [ $# -gt 0 ]; do
    case $1 in
    --entries) entries=$2; shift 2 ;;
    --reloads) reloads=$2; shift 2 ;;
    --kill) kill=yes; shift ;;
    --only) only=$2; shift 2 ;;
    --record) record=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    -*) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) binary=$1; shift ;;
    esac
done

need_rust
[ "$only" = burdock ] || need haproxy haproxy
cd "$root"
if [ -n "$binary" ]; then
    cargo build --release --quiet -p burdock-perf
else
    cargo build --release --quiet -p burdock -p burdock-perf
fi
binary=${binary:-$root/target/release/burdock}
tools=$root/target/release
haproxy=$(PATH=$PATH:/usr/sbin:/sbin command -v haproxy || true)
folder=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# An address of our own and some ports on it; whoever has one of them makes the start fail, with a clear message.
ip=127.77.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
for server in one two; do
    port=8002
    [ $server = one ] || port=8003
    "$tools/backend" --listen "$ip:$port" --name $server &
    pids+=($!)
done

# command TEXT: one command to the stats socket of the subject; nothing when nobody answers.
command_to() {
    (
        exec 3<>"/dev/tcp/${stats%:*}/${stats#*:}" && printf '%s\n' "$1" >&3 && cat <&3
    ) 2>/dev/null || true
}
used() { command_to 'show table' | sed -n 's/^# table: app,.*used:\([0-9]*\).*/\1/p'; }
worker() { command_to 'show info' | sed -n 's/^Pid: //p'; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
memory_kb() {
    local sum=0 pid kb
    for pid in $(family "$master"); do
        kb=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || true)
        sum=$((sum + ${kb:-0}))
    done
    echo $sum
}
field() { sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "$1"; }
both() { awk "BEGIN { print $(field "$folder/kept" "$1") + $(field "$folder/closed" "$1") }"; }
highest() { awk "BEGIN { a = $(field "$folder/kept" "$1"); b = $(field "$folder/closed" "$1"); printf \"%.1f\", (a > b ? a : b) / 1000 }"; }

configure() {
    cat >"$folder/proxy.cfg" <<END
global
    stats socket ipv4@$stats level admin
    stats timeout 1h
    log $ip:8009 local0
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
peers here
    peer me $ip:$1
frontend front
    bind $front
    default_backend app
backend app
    stick-table type string len 32 size $((entries + 20000)) expire 1h peers here
    stick on req.cook(PHPSESSID)
    server one $ip:8002
    server two $ip:8003
END
}

fill() {
    exec 3<>"/dev/tcp/${stats%:*}/${stats#*:}"
    { cat <&3 >/dev/null & } 2>/dev/null
    local reader=$!
    {
        echo prompt
        awk -v n="$entries" 'BEGIN { for (i = 0; i < n; i++) printf "set table app key k%025d data.server_id %d\n", i, i % 2 + 1 }'
        echo quit
    } >&3
    wait $reader
    exec 3>&-
}

# One reload, or one kill; appends to `took` the milliseconds until another worker had the whole table, if it has within 15 s.
replace() {
    local old start new
    old=$(worker)
    start=$(now_ms)
    if [ -n "$kill" ]; then kill -9 "$old" 2>/dev/null || true; else kill -USR2 "$master" 2>/dev/null || true; fi
    while [ $(($(now_ms) - start)) -lt 15000 ]; do
        new=$(worker)
        if [ -n "$new" ] && [ "$new" != "$old" ] && [ "$(used)" -ge "$entries" ]; then
            echo $(($(now_ms) - start)) >>"$folder/took"
            return
        fi
        command kill -0 "$master" 2>/dev/null || { [ -n "$new" ] || return; }
        sleep 0.005
    done
}

# run NAME PROGRAM: one subject; adds a line to the table of results.
run() {
    name=$1 port=$([ "$1" = burdock ] && echo 8100 || echo 8200)
    front=$ip:$port stats=$ip:$((port + 1))
    configure $((port + 2))
    "$2" -W -L me -f "$folder/proxy.cfg" -p "$folder/pid" >"$folder/log" 2>&1 &
    master=$!
    pids+=("$master")
    wait_for 10 "$name to start" test -n "$(sleep 0.5; worker)" || fail "$name did not start: $(cat "$folder/log")"
    say "$name: filling the table with $entries entries"
    fill
    local before after memory_before memory_peak=0 kb seconds
    before=$(used)
    memory_before=$(memory_kb)
    seconds=$((reloads * 2 + 3 + entries / 500000 * reloads))
    say "$name: load, and $reloads $([ -n "$kill" ] && echo kills || echo reloads)"
    : >"$folder/took"
    "$tools/load" --target "$front" --connections 16 --rate 2000 --keys "$entries" --homes one,two --seconds "$seconds" --warmup 1 --json >"$folder/kept" &
    local kept=$!
    "$tools/load" --target "$front" --connections 8 --rate 400 --keys "$entries" --homes one,two --seed 7 --close --seconds "$seconds" --warmup 1 --json >"$folder/closed" &
    local closed=$!
    (
        while sleep 0.2; do memory_kb; done >"$folder/memory" 2>/dev/null
    ) &
    local sampler=$!
    sleep 2
    for _ in $(seq "$reloads"); do
        replace
        sleep 1
    done
    wait $kept || true
    wait $closed || true
    command kill $sampler 2>/dev/null || true
    wait $sampler 2>/dev/null || true
    memory_peak=$(sort -n "$folder/memory" | tail -1)
    after=$(used)
    after=${after:-0}
    local count median worst lost
    count=$(wc -l <"$folder/took")
    median=$(sort -n "$folder/took" | sed -n "$(((count + 1) / 2 + (count == 0)))p")
    worst=$(sort -n "$folder/took" | tail -1)
    lost=$((before > after ? before - after : 0))
    printf '%-8s %9d %8s %8s %6s %6s %9d %10s %9d %9d %4s/%-3s %8s %8s\n' "$name" "$entries" "$(both answers)" "$(both failed)" "$(both wrong_server)" \
        "$(both pinned)" "$lost" "$(highest max_us)" $((memory_before / 1024)) $((memory_peak / 1024)) "$count" "$reloads" "${median:--}" "${worst:--}" >>"$folder/table"
    if [ "$name" = burdock ]; then
        [ "$(both wrong_server)" = 0 ] && [ "$lost" = 0 ] && [ "$count" = "$reloads" ] || verdict=1
        [ -n "$kill" ] || [ "$(both failed)" = 0 ] || verdict=1
    fi
    command kill -TERM "$master" 2>/dev/null || true
    wait "$master" 2>/dev/null || true
}

verdict=0
printf '%-8s %9s %8s %8s %6s %6s %9s %10s %9s %9s %8s %8s %8s\n' subject entries answers failed wrong pinned lost worst,ms MiB MiB,peak replaced ms,median ms,worst >"$folder/table"
[ "$only" = haproxy ] || run burdock "$binary"
[ "$only" = burdock ] || run haproxy "$haproxy"

say "$([ -n "$kill" ] && echo "$reloads kills of the worker" || echo "$reloads reloads"); ms: from the signal until another worker answers and has the whole table"
cat "$folder/table"
if [ -n "$record" ]; then
    {
        printf '# %s, %s, %s cores, %s\n' "$(date -u +%FT%TZ)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(uname -sr)"
        printf '# burdock %s; %s; load average before and after it all: %s\n' "$(git rev-parse --short HEAD)" "$("$haproxy" -v 2>/dev/null | head -1)" "$(cut -d' ' -f1-3 /proc/loadavg)"
        printf '# scripts/reload-under-load.sh --entries %s --reloads %s%s\n' "$entries" "$reloads" "${kill:+ --kill}"
        cat "$folder/table"
    } >>"$record"
fi
[ "$verdict" = 0 ] || fail "see above; the log says: $(tail -5 "$folder/log")"
