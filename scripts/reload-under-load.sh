#!/usr/bin/env bash
# Reloads burdock again and again under load, HAProxy beside it, and reports what clients noticed; then kills workers.
#
#   scripts/reload-under-load.sh [--entries N,N...] [--reloads N] [--reload|--kill] [--only burdock|haproxy] [--record [FILE]] [BINARY]
#   scripts/reload-under-load.sh --all --record     10 k, 100 k, 1 M and 10 M entries: some 12 minutes, 6 GB of memory
#
# For each number of entries (default 10000) and each of burdock (BINARY: one that is built already) and the HAProxy that is installed: fills a stick table,
# every second entry for each of two servers. Two load generators ask for these keys at a steady rate, 2000 a second on kept connections and 400 with a
# connection for each request, and check on every answer that it came from the key's server. Meanwhile SIGUSR2 goes to the master
# N times (default 10; fewer when a subject takes longer than a minute for them), a second after the one before is over. Then the same load again, and
# SIGKILL for the worker instead (--reload, --kill: only one of the two). Reported:
#   failed, wrong  requests without an answer, and answers from another server than the key's
#   pinned         keys whose last answer came from another server: they stay there
#   lost           entries of the N that are not there with their server when the load is over
#   worst          latency of the slowest answer, from the moment when the request was due
#   MiB            memory of all processes (shared pages once) before, and at its peak
#   done           how many reloads or kills were followed by a worker with the whole table
#   pause          from the old worker's last accept to the new one's first (burdock says so in its log; HAProxy's workers accept side by side)
#   serves, whole  from the signal until another worker answers on the stats socket, and until it has all entries; a poll takes some 10 ms
#
# Both are configured as one would for this: the table in a peers section with the local peer in it (through which an HAProxy teaches its successor), `expose-fd
# listeners`, and somebody who starts them again 100 ms after they have ended, as systemd does with Restart=always. An HAProxy
# teaches only once it is sure that its own table is complete, some ten seconds after its start; that is waited for.
# Ends with 0 only if burdock failed no request (but those that died with a killed worker), used no wrong server and lost no entry.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

command_line="scripts/reload-under-load.sh $*"
sizes=10000 times=10 phases=(reload kill) only='' record='' binary=''
while [ $# -gt 0 ]; do
    case $1 in
    --entries) sizes=$2; shift 2 ;;
    --all) sizes=10000,100000,1000000,10000000; shift ;;
    --reloads) times=$2; shift 2 ;;
    --reload | --kill) phases=("${1#--}"); shift ;;
    --only) only=$2; shift 2 ;;
    --record)
        record=perf/records/$(date -u +%FT%H%M%SZ)-reload-under-load.txt
        shift
        case ${1:-} in *.txt) record=$1; shift ;; esac
        ;;
    -*) sed -n '2,24s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) binary=$(realpath "$1"); shift ;;
    esac
done
IFS=, read -ra sizes <<<"$sizes"

need_rust
need haproxy haproxy socat socat
cd "$root"
[ -n "$binary" ] || cargo build --release --quiet -p burdock
cargo build --release --quiet -p burdock-perf
binary=${binary:-$root/target/release/burdock}
tools=$root/target/release
haproxy=$(PATH=$PATH:/usr/sbin:/sbin command -v haproxy)
folder=$(mktemp -d)
stats=$folder/stats.sock
pids=()
finish() {
    touch "$folder/over"
    [ ! -s "$folder/pid" ] || kill -TERM "$(cat "$folder/pid")" 2>/dev/null || true
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

# An address of our own and some ports on it; whoever has one of them makes the start fail, with a clear message.
ip=127.77.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
for server in one two; do
    port=8002
    [ $server = one ] || port=8003
    "$tools/backend" --listen "$ip:$port" --name $server &
    pids+=($!)
done

now_ms() { echo $(($(date +%s%N) / 1000000)); }
# Nothing when nobody answers.
command_to() { echo "$1" | socat -t 60 - "UNIX-CONNECT:$stats" 2>/dev/null || true; }
# "PID USED" of the worker that answers.
state() { command_to 'show info; show table' | awk '/^Pid: / { pid = $2 } /^# table: app,/ { sub(".*used:", ""); used = $0 } END { if (pid) print pid, used + 0 }'; }
is_up() { [ -n "$(state)" ]; }
# Whether an HAProxy has its own table for complete: the two lowest flags of the section.
is_sure() { (($(command_to 'show peers' | sed -n 's/.* flags=\(0x[0-9a-f]*\) resync_timeout.*/\1/p') % 4 == 3)); }
memory_kb() {
    local sum=0 pid kb
    for pid in $(family "$(cat "$folder/pid")"); do
        kb=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null || true)
        sum=$((sum + ${kb:-0}))
    done
    echo $sum
}
# Entries that are there with their server.
right_entries() {
    command_to 'show table app' | awk '/ key=k/ { want = substr($2, length($2)) % 2 + 1; for (i = 3; i <= NF; i++) if ($i == "server_id=" want) n++ } END { print n + 0 }'
}
field() { sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "$1"; }
both() { awk "BEGIN { print $(field "$folder/kept" "$1") + $(field "$folder/closed" "$1") }"; }
highest() { awk "BEGIN { a = $(field "$folder/kept" "$1"); b = $(field "$folder/closed" "$1"); printf \"%.1f\", (a > b ? a : b) / 1000 }"; }
# "MEDIAN WORST" of the numbers in a file; "- -" of none.
spread() { sort -n "$1" | awk '{ all[NR] = $1 } END { if (NR) print all[int((NR + 1) / 2)], all[NR]; else print "- -" }'; }

configure() { # ENTRIES PORT
    cat >"$folder/proxy.cfg" <<END
global
    stats socket $stats level admin expose-fd listeners
    stats timeout 1h
    log stderr format raw local0
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
peers here
    peer me $ip:$(($2 + 1))
frontend front
    bind $ip:$2
    default_backend app
backend app
    stick-table type string len 32 size $(($1 + $1 / 50 + 20000)) expire 1h peers here
    stick on req.cook(PHPSESSID)
    server one $ip:8002
    server two $ip:8003
END
}

# As systemd does with Restart=always.
keep_running() { # PROGRAM
    while [ ! -e "$folder/over" ]; do
        "$1" -W -L me -f "$folder/proxy.cfg" -p "$folder/pid" >>"$folder/log" 2>&1 || true
        sleep 0.1
    done
}

# One reload, or one kill: waits until another worker has the whole table, and notes how long that and its first answer took.
replace() { # PHASE ENTRIES
    local old start new used has_served='' patience=$((15000 + $2 / 50))
    read -r old _ <<<"$(state)"
    start=$(now_ms)
    if [ "$1" = kill ]; then kill -9 "$old"; else kill -USR2 "$(cat "$folder/pid")"; fi
    while [ $(($(now_ms) - start)) -lt $patience ]; do
        read -r new used <<<"$(state)" || true
        if [ -n "$new" ] && [ "$new" != "$old" ]; then
            [ -n "$has_served" ] || now_ms | awk "{ print \$1 - $start }" >>"$folder/serves"
            has_served=yes
            if [ "$used" -ge "$2" ]; then
                echo $(($(now_ms) - start)) >>"$folder/whole"
                return
            fi
            # What died with the worker does not come back.
            [ "$1" != kill ] || [ $(($(now_ms) - start)) -lt 2000 ] || return 0
        fi
        sleep 0.005
    done
}

# Load, and reloads or kills meanwhile; adds a line to the table of results.
phase() { # NAME PHASE ENTRIES
    local name=$1 phase=$2 entries=$3 before peak lost begun attempts=0 done_count
    before=$(memory_kb)
    say "$name, $entries entries: load, and $times times $phase"
    rm -f "$folder/stop"
    for file in serves whole pause memory; do : >"$folder/$file"; done
    : >"$folder/log"
    "$tools/load" --target "$front" --connections 16 --rate 2000 --keys "$entries" --homes one,two --seconds 600 --until "$folder/stop" --json >"$folder/kept" &
    local kept=$!
    "$tools/load" --target "$front" --connections 8 --rate 400 --keys "$entries" --homes one,two --seed 7 --close --seconds 600 --until "$folder/stop" --json >"$folder/closed" &
    local closed=$!
    (
        while sleep "$((entries > 1000000)).3"; do memory_kb; done >"$folder/memory" 2>/dev/null
    ) &
    local sampler=$!
    sleep 2
    begun=$SECONDS
    while [ $attempts -lt "$times" ] && [ $((SECONDS - begun)) -lt 60 ]; do
        attempts=$((attempts + 1))
        replace "$phase" "$entries"
        sleep 1
    done
    touch "$folder/stop"
    wait $kept || true
    wait $closed || true
    kill $sampler 2>/dev/null || true
    wait $sampler 2>/dev/null || true
    peak=$(sort -n "$folder/memory" | tail -1)
    lost=$((entries - $(right_entries)))
    done_count=$(wc -l <"$folder/whole")
    sed -n 's/.*Took over .* in \([0-9]*\) us.*/\1/p' "$folder/log" | awk '{ printf "%.2f\n", $1 / 1000 }' >"$folder/pause"
    printf '%-7s %-6s %8d %8s %6s %6s %6s %8s %8s %6d %6d %5s %13s %13s %13s\n' "$name" "$phase" "$entries" "$(both answers)" "$(both failed)" "$(both wrong_server)" \
        "$(both pinned)" "$lost" "$(highest max_us)" $((before / 1024)) $((peak / 1024)) "$done_count/$attempts" \
        "$(spread "$folder/pause")" "$(spread "$folder/serves")" "$(spread "$folder/whole")" | tee -a "$folder/table"
    if [ "$name" = burdock ]; then
        [ "$(both wrong_server)" = 0 ] && [ "$lost" = 0 ] && [ "$done_count" = "$attempts" ] || verdict=1
        [ "$phase" = kill ] || [ "$(both failed)" = 0 ] || verdict=1
        [ $verdict = 0 ] || cp "$folder/log" "${TMPDIR:-/tmp}/reload-under-load.log"
    fi
}

run() { # NAME PROGRAM ENTRIES
    local port=$((8100 + RANDOM % 800 * 2)) keeper
    front=$ip:$port
    configure "$3" "$port"
    rm -f "$folder/over"
    : >"$folder/log"
    keep_running "$2" &
    keeper=$!
    wait_for 60 "$1 to start" is_up || fail "$1 did not start: $(cat "$folder/log")"
    say "$1: filling the table with $3 entries"
    "$tools/peer" --do fill --socket "$stats" --table app --entries "$3" --prefix k
    [ "$(right_entries)" = "$3" ] || fail "$1 does not have the $3 entries that it was told: $(state)"
    [ "$1" = burdock ] || wait_for 60 "$1 to be sure of its table" is_sure
    for what in "${phases[@]}"; do phase "$1" "$what" "$3"; done
    touch "$folder/over"
    kill -TERM "$(cat "$folder/pid")" 2>/dev/null || true
    wait $keeper || true
}

verdict=0 began=$SECONDS load_before=$(cut -d' ' -f1-3 /proc/loadavg)
printf '%-7s %-6s %8s %8s %6s %6s %6s %8s %8s %6s %6s %5s %13s %13s %13s\n' \
    '' '' '' '' '' '' '' '' worst '' MiB '' 'pause, ms' 'serves, ms' 'whole, ms' \
    subject after entries answers failed wrong pinned lost ms MiB peak 'done' 'median worst' 'median worst' 'median worst' | tee "$folder/table"
for size in "${sizes[@]}"; do
    [ "$only" = haproxy ] || run burdock "$binary" "$size"
    [ "$only" = burdock ] || run haproxy "$haproxy" "$size"
done

say "all of it, in $((SECONDS - began)) s"
cat "$folder/table"
if [ -n "$record" ]; then
    {
        printf '# %s, %s, %s cores, %s\n' "$(date -u +%FT%TZ)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(uname -sr)"
        printf '# burdock %s; %s; load average before it all: %s\n' "$(git rev-parse --short HEAD)" "$("$haproxy" -v | head -1)" "$load_before"
        printf '# %s\n' "$command_line"
        cat "$folder/table"
    } >>"$record"
    say "recorded in $record"
fi
[ "$verdict" = 0 ] || fail "see above; the log of it is ${TMPDIR:-/tmp}/reload-under-load.log"
