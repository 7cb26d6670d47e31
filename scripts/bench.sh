#!/usr/bin/env bash
# Compares burdock with HAProxy (one thread), nginx (one worker) and a relay that parses nothing, on this machine, in turns.
#
#   --scenario a,b,...   a keep-alive on both sides    b a server connection for each request (http-server-close)
#                        c b and stick on a cookie     d2 a client connection for each request, server connections kept
#                        f TCP                         r a and a hundred rules (burdock and haproxy only)
#                        (default: all but r)
#   --subjects s,...     of burdock haproxy nginx relay, or a path to another burdock or HAProxy binary (default: those four)
#   --rounds N           rounds, each of them every subject in turn (default 3)
#   --seconds S          of each measurement (default 3)
#   --rate R             requests a second of the latency measurement (default 2000)
#   --connections N      clients of the throughput measurement (default 64)
#   --keys N             cookies in scenario c (default 100000)
#   --no-record          leave no record in perf/records/
#
# CPU is the time that the kernel charged to the subject's processes (/proc/PID/schedstat) while the load generator measured,
# divided by the answers. Latencies count from when a request was due (open loop). Where there are two cores or more, the
# subject has core 0 and everything else core 1. All subjects but the relay write one log line a request to the same syslog port.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

command_line="scripts/bench.sh $*"
scenarios=(a b c d2 f) subjects=(burdock haproxy nginx relay)
rounds=3 seconds=3 rate=2000 connections=64 keys=100000 record=yes
while [ $# -gt 0 ]; do
    case $1 in
        --scenario) IFS=, read -ra scenarios <<<"$2" ;;
        --subjects) IFS=, read -ra subjects <<<"$2" ;;
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --rate) rate=$2 ;;
        --connections) connections=$2 ;;
        --keys) keys=$2 ;;
        --no-record) record=no; shift; continue ;;
        *) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift 2
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/burdock-bench.XXXXXX")
results=$dir/results.jsonl
: >"$results"
helpers=() subject_pid=
end() { # PID: ends a process and its children by pid
    local all
    mapfile -t all < <(family "$1")
    kill -TERM "${all[@]}" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
cleanup() {
    local pid
    for pid in $subject_pid "${helpers[@]}"; do end "$pid"; done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need jq jq
for subject in "${subjects[@]}"; do
    case $subject in
        haproxy) need haproxy haproxy ;;
        nginx)
            need nginx nginx
            [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || [[ " ${scenarios[*]} " != *" f "* ]] ||
                need ngx_stream_module libnginx-mod-stream
            ;;
    esac
done
need_rust
PATH=$PATH:/usr/sbin
say "building"
cargo build --release --workspace --quiet
bin=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/release

on_subject_core=() on_other_core=()
if [ "$(nproc)" -ge 2 ] && command -v taskset >/dev/null; then
    on_subject_core=(taskset -c 0) on_other_core=(taskset -c 1)
fi

listen=127.0.0.80:8180 server1=127.0.0.81:8181 server2=127.0.0.82:8181 closing=127.0.0.81:8182 syslog=127.0.0.81:5514
"${on_other_core[@]}" "$bin/backend" --listen $server1 --listen-close $closing --name s1 --syslog $syslog & helpers+=($!)
"${on_other_core[@]}" "$bin/backend" --listen $server2 --name s2 & helpers+=($!)

answers() { "$bin/load" --target "$1" --connections 1 --warmup 0 --seconds 0.02; }
wait_for 5 "the servers" answers $server1
wait_for 5 "the servers" answers $server2

fill() { # TEMPLATE: a configuration with this run's addresses
    sed -e "s/@LISTEN@/$listen/; s/@SERVER1@/$server1/; s/@SERVER2@/$server2/; s/@SYSLOG@/$syslog/; s|@DIR@|$dir|" "$1"
}

start() { # SUBJECT SCENARIO: sets subject_pid; 1 where the subject has no such scenario
    local run=("${on_subject_core[@]}")
    case $1 in
        relay)
            case $2 in
                a | f) run+=("$bin/relay" --listen $listen --target $server1) ;;
                b) run+=("$bin/relay" --listen $listen --target $closing --server-close) ;;
                *) return 1 ;;
            esac
            ;;
        nginx)
            [ $2 != f ] || [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || return 1
            fill "perf/configs/$2.nginx" >"$dir/subject.conf"
            run+=(nginx -e stderr -p "$dir" -c "$dir/subject.conf")
            ;;
        *)
            fill "perf/configs/$2.cfg" >"$dir/subject.conf"
            local program=$1
            [ "$1" != burdock ] || program=$bin/burdock
            if ! "$program" -c -f "$dir/subject.conf" >"$dir/subject.log" 2>&1; then
                echo "  $2  $1 does not offer this: $(grep -m1 ALERT "$dir/subject.log" | sed 's/.*] : //')"
                return 1
            fi
            run+=("$program" -db -f "$dir/subject.conf")
            ;;
    esac
    "${run[@]}" >"$dir/subject.log" 2>&1 &
    subject_pid=$!
}

measure() { # SUBJECT SCENARIO ROUND
    local load=("${on_other_core[@]}" "$bin/load" --target $listen --json --seconds "$seconds" --seed "$3") pids busy quiet
    [ "$2" != d2 ] || load+=(--close)
    [ "$2" != c ] || load+=(--keys "$keys")
    start "$1" "$2" || return 0
    wait_for 5 "$1 to serve scenario $2" answers $listen || { cat "$dir/subject.log"; exit 1; }
    pids=$(family $subject_pid | paste -sd,)
    busy=$("${load[@]}" --connections "$connections" --pid "$pids") || true
    quiet=$("${load[@]}" --connections "$connections" --rate "$rate") || true
    end $subject_pid
    subject_pid=
    jq -cn --arg scenario "$2" --arg subject "$1" --argjson round "$3" --argjson busy "$busy" --argjson quiet "$quiet" \
        '{$scenario, $subject, $round, $busy, $quiet}' >>"$results"
    jq -rn --arg scenario "$2" --arg subject "$1" --arg round "$3" --argjson busy "$busy" --argjson quiet "$quiet" \
        '"  \($scenario)  round \($round)  \($subject): \($busy.cpu_us) us CPU a request, \($busy.per_second) a second, p99 \($quiet.p99_us) us at the fixed rate"
         + (if $busy.failed + $quiet.failed + $busy.bad_status + $quiet.bad_status + $busy.wrong_server + $quiet.wrong_server > 0
            then "  (FAULTS: \($busy) \($quiet))" else "" end)'
}

load_before=$(cut -d' ' -f1 /proc/loadavg)
awk -v load="$load_before" -v cores="$(nproc)" 'BEGIN { exit load > cores / 4 ? 0 : 1 }' &&
    echo "note: the machine is not idle (load $load_before); ratios mean more than figures"
say "measuring: ${rounds} rounds of ${#subjects[@]} subjects, ${seconds} s twice each"
for scenario in "${scenarios[@]}"; do
    [ -e "perf/configs/$scenario.cfg" ] || fail "no scenario $scenario"
    for ((round = 1; round <= rounds; round++)); do
        for subject in "${subjects[@]}"; do measure "$subject" "$scenario" "$round"; done
    done
done

# Medians over the rounds; the ratio is to HAProxy where it takes part.
jq -s '
    def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
        else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    def summary: map({
        scenario: .[0].scenario, subject: .[0].subject, rounds: length,
        cpu_us: (map(.busy.cpu_us) | median), cpu_us_min: (map(.busy.cpu_us) | min), cpu_us_max: (map(.busy.cpu_us) | max),
        per_second: (map(.busy.per_second) | median),
        p50_us: (map(.quiet.p50_us) | median), p99_us: (map(.quiet.p99_us) | median), p99_9_us: (map(.quiet.p99_9_us) | median),
        faults: (map(.busy, .quiet | .failed + .bad_status + .wrong_server) | add)});
    group_by(.scenario) | map(group_by(.subject) | summary
        | (map(select(.subject == "haproxy")) | .[0].cpu_us) as $base
        | map(. + {cpu_ratio: (if $base then .cpu_us / $base else null end)}) | sort_by(.cpu_us)) | add' \
    "$results" >"$dir/summary.json"

say "result (medians; CPU in us a request, its range over the rounds, and as a part of HAProxy's; latencies at $rate a second)"
{
    echo "scenario subject cpu range ratio per_second p50 p99 p99.9 faults"
    jq -r 'def r(n): if . == null then "-" else . * pow(10; n) | round / pow(10; n) end;
        .[] | [.scenario, (.subject | split("/") | last), (.cpu_us | r(1)), "\(.cpu_us_min | r(1))..\(.cpu_us_max | r(1))",
        (.cpu_ratio | r(2)), (.per_second | round), .p50_us, .p99_us, .p99_9_us, .faults] | join(" ")' "$dir/summary.json"
} | column -t

version_of() { # SUBJECT
    case $1 in
        burdock) "$bin/burdock" -v ;;
        nginx) nginx -v ;;
        relay) echo "this tree" ;;
        *) "$1" -v ;;
    esac 2>&1 | head -1
}
if [ $record = yes ]; then
    file=perf/records/$(date -u +%Y-%m-%dT%H%M%SZ)-bench.json
    versions=$(for subject in "${subjects[@]}"; do jq -n --arg s "$subject" --arg v "$(version_of "$subject")" '{($s): $v}'; done | jq -s add)
    jq -n --arg date "$(date -u +%FT%TZ)" --arg command "$command_line" --arg commit "$(git describe --always --dirty 2>/dev/null || echo unknown)" \
        --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" --arg cores "$(nproc)" --arg kernel "$(uname -sr)" --arg load "$load_before" \
        --argjson versions "$versions" --slurpfile summary "$dir/summary.json" --slurpfile rounds "$results" \
        '{$date, $command, $commit, machine: {$cpu, cores: ($cores | tonumber), $kernel, load_before: ($load | tonumber)}, $versions, summary: $summary[0],
          rounds: ($rounds | map({scenario, subject, round, cpu_us: .busy.cpu_us, per_second: .busy.per_second,
              p50_us: .quiet.p50_us, p99_us: .quiet.p99_us, p99_9_us: .quiet.p99_9_us, max_us: .quiet.max_us}))}' >"$file"
    echo "recorded: $file"
fi
jq -e 'all(.[]; .faults == 0)' "$dir/summary.json" >/dev/null || fail "some requests failed: see above"
