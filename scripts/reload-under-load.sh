#!/usr/bin/env bash
# Reloads burdock again and again under load and reports what clients noticed.
#
#   scripts/reload-under-load.sh [--entries N] [--reloads N] [--binary PATH]
#
# Fills a stick table with N entries (default 10000), lets two load generators ask without a pause, one on kept connections and
# one on a connection for each request, each checking that every session stays on its server; sends SIGUSR2 N times (default 10) and
# reports failed requests, wrong servers, entries before and after, and how long each new worker took to take over.
# Ends with 0 only if nothing failed and nothing was lost.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

entries=10000 reloads=10 binary=
while [ $# -gt 0 ]; do
    case $1 in
    --entries) entries=$2; shift 2 ;;
    --reloads) reloads=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

need_rust
cd "$root"
cargo build --release --quiet -p burdock -p burdock-perf
binary=${binary:-$root/target/release/burdock}
tools=$root/target/release
folder=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# An address of our own and four ports on it; whoever has one of them makes the start fail, with a clear message.
ip=127.77.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
front=$ip:8000 stats=$ip:8001

cat >"$folder/proxy.cfg" <<END
global
    stats socket ipv4@$stats level admin
    stats timeout 1h
    log stdout format raw local0
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind $front
    default_backend app
backend app
    stick-table type string len 32 size $((entries + 20000)) expire 1h
    stick on req.cook(PHPSESSID)
    server one $ip:8002
    server two $ip:8003
END

for server in one two; do
    port=8002
    [ $server = one ] || port=8003
    "$tools/backend" --listen "$ip:$port" --name $server &
    pids+=($!)
done
"$binary" -W -f "$folder/proxy.cfg" -p "$folder/pid" >"$folder/log" 2>&1 &
master=$!
pids+=("$master")

# command TEXT: one command to the stats socket.
command() {
    exec 3<>"/dev/tcp/${stats%:*}/${stats#*:}"
    printf '%s\n' "$1" >&3
    cat <&3
    exec 3>&-
}
used() { command 'show table app' | sed -n 's/^# table:.*used:\([0-9]*\).*/\1/p;q'; }

for _ in $(seq 200); do
    (command 'show info' >/dev/null) 2>/dev/null && break
    sleep 0.05
done
command 'show info' | grep -q '^Pid:' || fail "burdock did not start: $(cat "$folder/log")"

say "filling the table with $entries entries"
exec 3<>"/dev/tcp/${stats%:*}/${stats#*:}"
{ cat <&3 >/dev/null & } 2>/dev/null
reader=$!
{
    echo prompt
    seq -f 'set table app key filler%.0f data.server_id 1' "$entries"
    echo quit
} >&3
wait $reader
exec 3>&-
# Every session gets its server from one connection, before several ask for it at once: two first requests may go two ways.
"$tools/load" --target "$front" --connections 1 --keys 500 --seconds 3 --warmup 0 >/dev/null
before=$(used)

say "load, and $reloads reloads"
seconds=$((reloads + 4))
"$tools/load" --target "$front" --connections 16 --keys 500 --seconds "$seconds" --warmup 1 >"$folder/kept" &
kept=$!
"$tools/load" --target "$front" --connections 4 --keys 400 --seed 7 --close --seconds "$seconds" --warmup 1 >"$folder/closed" &
closed=$!
sleep 2
for _ in $(seq "$reloads"); do
    kill -USR2 "$master"
    sleep 0.8
done
verdict=0
wait $kept || verdict=1
wait $closed || verdict=1
after=$(used)

say "kept connections"
cat "$folder/kept"
say "a connection for each request"
cat "$folder/closed"
say "reloads"
took=$(sed -n 's/.*Took over [0-9]* table entries in \([0-9]*\) us.*/\1/p' "$folder/log" | sort -n)
count=$(printf '%s\n' "$took" | grep -c . || true)
printf 'workers that took over   %s of %s reloads\n' "$count" "$reloads"
printf 'taking over, us          median %s, worst %s\n' \
    "$(printf '%s\n' "$took" | sed -n "$(((count + 1) / 2))p")" "$(printf '%s\n' "$took" | tail -1)"
printf 'entries                  %s before the load, %s after it\n' "$before" "$after"
printf 'master                   pid %s, in the pidfile %s\n' "$master" "$(cat "$folder/pid")"
[ "$count" = "$reloads" ] || verdict=1
[ "$after" -ge "$before" ] && [ "$after" -ge "$entries" ] || verdict=1
[ "$verdict" = 0 ] || fail "see above; the proxy said: $(tail -20 "$folder/log")"
