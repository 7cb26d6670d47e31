#!/usr/bin/env bash
# Compares the peers of burdock with those of HAProxy (one thread each), on this machine, in turns.
#
#   --subjects s,...     of burdock haproxy, or a path to another binary (default: those two)
#   --entries N          entries of the table (default 1000000)
#   --rounds N           rounds, each of them every subject in turn (default 3)
#   --no-record          leave no record in perf/records/
#   --readme RECORD      measure nothing: put the figures of this record into README.md
#
# A node `a` is given N entries of its own over its stats socket. Then, a round:
#   live     a peer connects and is pushed all of them as live updates: entries a second, CPU an entry
#   taught   the same peer asks for a lesson, five times
#   pair     a node `b` of the same kind starts and learns them all, three times: seconds from its first entry to its last, seen by looking
#            every 2 ms; CPU an entry of both (a's: with its part of the start of the session). HAProxy 2.6 has slow lessons and fast ones,
#            so the median and both ends are given, and the ratio to its fastest
#   lag      from `set table` on the stats socket to the update at a peer, idle: the median (the command is part of it)
#   p99      requests at a fixed rate through `a`: idle, while it teaches without a pause, while it learns without a pause. A machine that others
#            share takes its cores away for milliseconds now and then, which only ever adds: so it is the lower quartile of the p99 of
#            quarters of a second, of all rounds, idle as busy
# Then it says of each goal whether it is met, records all in perf/records/ and ends with status 1 if one is missed. Three
# rounds with a million entries take 5 minutes where nothing else runs.
# CPU is the time that the kernel charged to the subject's processes (/proc/PID/schedstat). Where there are two cores or more,
# the node `a` has core 0 and everything else core 1; the peer of the last part only runs there when the load generator and the
# server do not want the core (SCHED_IDLE), or their waiting for it would be measured. On a machine that does other work,
# compare what is counted by CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

command_line="scripts/bench-peers.sh $*"
subjects=(burdock haproxy) entries=1000000 rounds=3 lessons=3 record=yes stopped=() readme=
while [ $# -gt 0 ]; do
    case $1 in
        --subjects) IFS=, read -ra subjects <<<"$2" ;;
        --entries) entries=$2 ;;
        --rounds) rounds=$2 ;;
        --no-record) record=no; shift; continue ;;
        --readme) readme=$2 ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift 2
done

# RECORD: what README.md says of peers, between its two marks.
rewrite_readme() {
    local text
    text=$(jq -r --arg record "$1" '
        def r($digits): . as $n | pow(10; $digits) as $p | ($n * $p | round) / $p;
        def m: . / 1e6 | r(1);
        (.summary[] | select(.subject | test("haproxy"))) as $h | (.summary[] | select(.subject | test("haproxy") | not)) as $b
        | def row($title; f): "| \($title) | \($b | f) | \($h | f) |";
        "Peers, one core each: medians of \($b.rounds) rounds, ranges in brackets (\(.machine.cpu), \(.machine.cores) cores, load before \(.machine.load_before), commit",
        "\(.commit); `\($record)`).", "",
        "| | burdock | HAProxy \(.versions.haproxy | capture("version (?<v>[0-9]+[.][0-9]+)").v) |", "|---|---|---|",
        row("live updates, million a second"; "\(.live_per_second | m) (\(.live_per_second_range | map(m) | join("–")))"),
        row("CPU a live update, ns"; .live_cpu_ns | r(0)),
        row("entries of a lesson taught, million a second"; .taught_per_second | m),
        row("CPU an entry taught, ns"; .taught_cpu_ns | r(0)),
        row("a lesson of \(.entries / 1e6 | r(1)) M entries between two nodes, s"; "\(.pair_seconds | r(2)) (\(.pair_seconds_range | map(r(2)) | join("–")))"),
        row("CPU an entry learnt, ns"; "\(.learnt_cpu_ns | r(0)) (\(.learnt_cpu_ns_range | map(r(0)) | join("–")))"),
        row("from a command on the stats socket to the update at a peer, median, µs"; .lag_p50_us),
        row("p99 of requests while it teaches without a pause, of its idle one"; .p99_teaching_ratio | r(1)),
        row("p99 of requests while it learns without a pause, of its idle one"; .p99_learning_ratio | r(1))' "$1")
    TEXT=$text perl -0pi -e 's/(<!-- bench-peers.sh --readme: begin -->\n).*(<!-- bench-peers.sh --readme: end -->)/$1$ENV{TEXT}\n$2/s' README.md
    echo "README.md has the figures of $1"
}
if [ -n "$readme" ]; then
    need jq jq perl perl
    rewrite_readme "$readme"
    exit
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/burdock-peers.XXXXXX")
results=$dir/results.jsonl
: >"$results"
declare -A running=()
end() { # NAME: ends the process that was started under this name, and its children
    [ -n "${running[$1]:-}" ] || return 0
    end_family "${running[$1]}"
    unset "running[$1]"
}
cleanup() {
    local name
    [ ${#stopped[@]} -eq 0 ] || kill -CONT "${stopped[@]}" 2>/dev/null || true
    for name in "${!running[@]}"; do end "$name"; done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need jq jq socat socat haproxy haproxy chrt util-linux
build_release
peer=("${on_other_core[@]}" "$bin/peer")
idle_peer=(chrt --idle 0 "${peer[@]}")
http=127.0.0.90:8190 http_b=127.0.0.93:8190 server=127.0.0.91:8191 peers_a=127.0.0.90:7190 peers_b=127.0.0.91:7190 nobody=127.0.0.92:7190
"${on_other_core[@]}" "$bin/backend" --listen $server --name s1 & running[backend]=$!

node() { # SUBJECT NAME PRIORITY...: starts a node
    local program=$1 name=$2 threads= listen=$http
    shift 2
    case $program in
        burdock) program=$bin/burdock ;;
        *haproxy*) threads=" nbthread 1" ;;
    esac
    [ "$name" = a ] || listen=$http_b
    cat >"$dir/$name.cfg" <<END
global
 localpeer $name
 maxconn 1000
 stats socket $dir/$name.sock level admin
$threads
peers mesh
 peer a $peers_a
 peer b $peers_b
 peer sink $nobody
defaults
 mode http
 timeout client 30s
 timeout server 30s
 timeout connect 5s
frontend www
 bind $listen
 default_backend app
backend app
 stick-table type string len 32 size $((entries + 10000)) expire 1h peers mesh
 stick on req.cook(S)
 server s1 $server
END
    "$@" "$program" -db -f "$dir/$name.cfg" >"$dir/$name.log" 2>&1 &
    running[$name]=$!
    wait_for 10 "node $name" ask "$dir/$name.sock" "show info" || { cat "$dir/$name.log"; exit 1; }
}
pids() { family "${running[$1]}" | paste -sd,; }
cpu_ns() { # NAME
    local pid sum=0
    for pid in $(family "${running[$1]}"); do sum=$((sum + $(cut -d' ' -f1 "/proc/$pid/schedstat"))); done
    echo $sum
}
load() { "${on_other_core[@]}" "$bin/load" --target $http --json --seconds 3 --rate 1000 --connections 8 --slice 0.25; }

# SUBJECT: how a node b learns all that a has. While b starts, a is stopped: so nothing of the lesson is missed. The memory that b takes
# is touched before: who gets pages that a hypervisor has still to find waits microseconds for each, whoever it is.
pair() {
    local before_a
    "${peer[@]}" --do touch --mib $((entries / 1000)) >/dev/null
    read -ra stopped < <(pids a | tr , ' ')
    kill -STOP "${stopped[@]}"
    node "$1" b "${on_other_core[@]}"
    before_a=$(cpu_ns a)
    "${peer[@]}" --do watch --socket "$dir/b.sock" --table app --entries "$entries" --pid "$(pids b)" --wake "$(pids a)" >"$dir/watched" ||
        fail "the lesson did not arrive"
    stopped=()
    jq -c --argjson n "$entries" --argjson a $(($(cpu_ns a) - before_a)) \
        '{seconds, taught_cpu_ns_each: ($a / $n), learnt_cpu_ns_each: .cpu_ns_each}' "$dir/watched" >>"$dir/pairs"
    end b
}

under_load() { # ARGUMENTS of the peer...: what the load generator says while that peer keeps the node busy
    local pid said
    "${idle_peer[@]}" "$@" >/dev/null 2>&1 & pid=$!
    said=$(load) || true
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    echo "$said"
}

measure() { # SUBJECT ROUND
    local session=(--target $peers_a --dialled a --name sink) live taught learnt lag idle teaching learning n
    node "$1" a "${on_subject_core[@]}"
    "${peer[@]}" --do fill --socket "$dir/a.sock" --table app --entries "$entries" >/dev/null
    live=$("${peer[@]}" --do live "${session[@]}" --entries "$entries" --pid "$(pids a)")
    taught=$("${peer[@]}" --do lesson "${session[@]}" --pid "$(pids a)" --repeat 5)
    : >"$dir/pairs"
    for ((n = 0; n < lessons; n++)); do pair "$1"; done
    learnt=$(jq -sc . "$dir/pairs")
    lag=$("${peer[@]}" --do lag "${session[@]}" --socket "$dir/a.sock" --table app --entries 1000)
    idle=$(load) || true
    teaching=$(under_load --do lesson "${session[@]}" --repeat 1000000)
    learning=$(under_load --do teach "${session[@]}" --entries "$entries" --seconds 10)
    end a
    jq -cn --arg subject "$1" --argjson round "$2" --argjson live "$live" --argjson taught "$taught" --argjson pairs "$learnt" --argjson lag "$lag" \
        --argjson idle "$idle" --argjson teaching "$teaching" --argjson learning "$learning" \
        'def figures: {whole_p99_us: .p99_us, slices_p99_us};
            {$subject, $round, $live, $taught, $pairs, $lag, requests: {idle: ($idle | figures), teaching: ($teaching | figures),
            learning: ($learning | figures), failed: ($idle.failed + $teaching.failed + $learning.failed)}}' |
        tee -a "$results"
}

load_before=$(cut -d' ' -f1 /proc/loadavg)
say "measuring: $rounds rounds, $entries entries (load before: $load_before)"
for ((round = 1; round <= rounds; round++)); do
    for subject in "${subjects[@]}"; do measure "$subject" "$round"; done
done

jq -s '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    def low: sort | .[(length - 1) / 4 | floor];
    group_by(.subject) | map({
        subject: .[0].subject, rounds: length,
        live_per_second: (map(.live.per_second) | median), live_cpu_ns: (map(.live.cpu_ns_each) | median),
        taught_per_second: (map(.taught.per_second) | median), taught_cpu_ns: (map(.taught.cpu_ns_each) | median),
        live_per_second_range: (map(.live.per_second) | [min, max]),
        pair_seconds: (map(.pairs[].seconds) | median), pair_seconds_range: (map(.pairs[].seconds) | [min, max]),
        pair_taught_cpu_ns: (map(.pairs[].taught_cpu_ns_each) | median), learnt_cpu_ns: (map(.pairs[].learnt_cpu_ns_each) | median),
        learnt_cpu_ns_range: (map(.pairs[].learnt_cpu_ns_each) | [min, max]),
        lag_p50_us: (map(.lag.p50_us) | median),
        p99_idle_us: (map(.requests.idle.slices_p99_us[]) | low), p99_teaching_us: (map(.requests.teaching.slices_p99_us[]) | low),
        p99_learning_us: (map(.requests.learning.slices_p99_us[]) | low), failed: (map(.requests.failed) | add)}
        | . + {p99_teaching_ratio: (.p99_teaching_us / .p99_idle_us), p99_learning_ratio: (.p99_learning_us / .p99_idle_us)})
    | (map(select(.subject | test("haproxy")))[0]) as $base
    | map(. + (if $base == null then {} else {ratios: {
        live_per_second: (.live_per_second / $base.live_per_second), live_cpu: (.live_cpu_ns / $base.live_cpu_ns),
        taught_per_second: (.taught_per_second / $base.taught_per_second), taught_cpu: (.taught_cpu_ns / $base.taught_cpu_ns),
        pair_seconds: (.pair_seconds / $base.pair_seconds), pair_seconds_to_fastest: (.pair_seconds / $base.pair_seconds_range[0]),
        pair_taught_cpu: (.pair_taught_cpu_ns / $base.pair_taught_cpu_ns),
        learnt_cpu: (.learnt_cpu_ns / $base.learnt_cpu_ns)}} end))' "$results" >"$dir/summary.json"
say "result (medians; ratios to HAProxy)"
jq . "$dir/summary.json"
jq 'def goal(what; value; limit; met): {goal: what, value: value, limit: limit, met: (value != null and met)};
    map(select(.subject | test("haproxy") | not) | {subject, goals: [
        goal("entries a second of a lesson taught, of HAProxy"; .ratios.taught_per_second; ">= 2"; .ratios.taught_per_second >= 2),
        goal("time of a lesson between two nodes, of HAProxy"; .ratios.pair_seconds; "<= 0.5"; .ratios.pair_seconds <= 0.5),
        goal("time of a lesson between two nodes, of HAProxy'"'"'s fastest"; .ratios.pair_seconds_to_fastest; "<= 0.5"; .ratios.pair_seconds_to_fastest <= 0.5),
        goal("live updates a second, of HAProxy"; .ratios.live_per_second; ">= 5"; .ratios.live_per_second >= 5),
        goal("CPU a live update, of HAProxy"; .ratios.live_cpu; "< 1"; .ratios.live_cpu < 1),
        goal("CPU an entry taught, of HAProxy"; .ratios.taught_cpu; "< 1"; .ratios.taught_cpu < 1),
        goal("CPU an entry learnt, of HAProxy"; .ratios.learnt_cpu; "< 1"; .ratios.learnt_cpu < 1),
        goal("median lag in microseconds"; .lag_p50_us; "< 300"; .lag_p50_us < 300),
        goal("p99 of requests while teaching, of idle"; .p99_teaching_ratio; "<= 1.5"; .p99_teaching_ratio <= 1.5),
        goal("p99 of requests while learning, of idle"; .p99_learning_ratio; "<= 1.5"; .p99_learning_ratio <= 1.5),
        goal("failed requests"; .failed; "0"; .failed == 0)]})' "$dir/summary.json" >"$dir/goals.json"
say "goals"
jq -r '.[] | .subject as $subject | .goals[] | "\(if .met then "met   " else "MISSED" end)  \($subject): \(.goal): \(.value * 1000 | round / 1000) (\(.limit))"' "$dir/goals.json"

if [ $record = yes ]; then
    file=perf/records/$(date -u +%Y-%m-%dT%H%M%SZ)-peers.json
    jq -n --arg date "$(date -u +%FT%TZ)" --arg command "$command_line" --arg commit "$(git describe --always --dirty 2>/dev/null || echo unknown)" \
        --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" --arg cores "$(nproc)" --arg kernel "$(uname -sr)" --arg load "$load_before" \
        --arg haproxy "$(haproxy -v | head -1)" --argjson entries "$entries" --slurpfile summary "$dir/summary.json" --slurpfile goals "$dir/goals.json" --slurpfile rounds "$results" \
        '{$date, $command, $commit, $entries, machine: {$cpu, cores: ($cores | tonumber), $kernel, load_before: ($load | tonumber)}, versions: {$haproxy},
          goals: $goals[0], summary: $summary[0], $rounds}' >"$file"
    echo "recorded in $file"
fi
jq -e 'all(.[].goals[]; .met)' "$dir/goals.json" >/dev/null
