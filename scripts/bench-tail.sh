#!/usr/bin/env bash
# What other work does to the latency of requests: burdock beside HAProxy (one thread each), on this machine, in turns.
#
#   --subjects s,...     of burdock haproxy, or a path to another binary (default: those two)
#   --rounds N           rounds, each of them every subject in turn (default 3)
#   --seconds S          of each measurement (default 4)
#   --entries N          entries of the large table (default 1000000)
#   --load P             requests a second, in percent of what the subject could do at most (default 50)
#   --only dump|lesson|reload
#                        only that and the quiet times around it
#   --no-record          leave no record in perf/records/
#
# A round: a node starts, is given N entries and finds out what it can do at most. Then requests come at a fixed rate, and latencies count from
# when a request was due (open loop), while
#   quiet         nothing else happens (before and after the others)
#   dump          `show table` with a filter that no entry passes reads all N entries on the stats socket, again and again
#   lesson        a peer takes all N entries, again and again
#   quiet_second  nothing again, for comparison with what happens once a second (before and after the next two)
#   expiry        100000 entries of another table, made within a moment, end within a second (four times)
#   reload        SIGUSR2 comes once a second
#   checks        1000 servers of another backend are checked once a second (in a node of its own, with a quiet time of its own)
#
# A machine that others share takes its cores away for milliseconds, several times a second when both are busy; that is in every tail. It only
# ever adds, so each measurement is cut into slices by when requests were due (a quarter of a second; a whole one for what happens
# once a second, so that each slice has one), p99 and p99.9 are those of a slice, and what is compared is their lower quartile over the slices of all
# rounds, of the quiet times as of the others: what a calm moment is like with and without the work. What the work does in fewer than a quarter of the
# slices is not seen by that; the plain p99 of whole measurements is shown and recorded beside it.
# Ends with status 1 if a ratio of burdock is above 1.5, or if a request failed. Three rounds with a million entries take some 8 minutes where nothing else
# runs (--rounds 1: 3 minutes). Where there are two cores or more, the subject has core 0 and everything else core 1; who takes lessons and reads dumps
# only runs there when the load generator and the server do not want the core (SCHED_IDLE).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

command_line="scripts/bench-tail.sh $*"
subjects=(burdock haproxy) rounds=3 seconds=4 entries=1000000 percent=50 only= record=yes
while [ $# -gt 0 ]; do
    case $1 in
        --subjects) IFS=, read -ra subjects <<<"$2" ;;
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --entries) entries=$2 ;;
        --load) percent=$2 ;;
        --only) only=$2 ;;
        --no-record) record=no; shift; continue ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift 2
done

[[ $only =~ ^(dump|lesson|reload)?$ ]] || { echo "--only takes dump, lesson or reload" >&2; exit 2; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/burdock-tail.XXXXXX")
results=$dir/results.jsonl
: >"$results"
node= helpers=() working=
cleanup() {
    local pid
    for pid in $working $node "${helpers[@]}"; do end_family "$pid"; done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need jq jq socat socat haproxy haproxy chrt util-linux
build_release
idle=("${on_other_core[@]}" chrt --idle 0)
http=127.0.0.95:8195 server=127.0.0.96:8196 peers=127.0.0.95:7195 nobody=127.0.0.97:7195 stats=$dir/stats.sock
"${on_other_core[@]}" "$bin/backend" --listen $server --name s1 & helpers+=($!)

start() { # SUBJECT KIND: a node with tables and peers, or one with many checks
    local program=$1 threads= more= flags=(-db) expose=
    case $program in
        burdock) program=$bin/burdock ;;
        *haproxy*) threads=" nbthread 1" flags=(-W -db) expose=" expose-fd listeners" ;;
    esac
    if [ "$2" = checks ]; then
        more=$(printf 'backend many\n'; for ((n = 1; n <= 1000; n++)); do echo " server m$n $server check inter 1s"; done)
    fi
    cat >"$dir/node.cfg" <<END
global
 localpeer a
 maxconn 2000
 stats socket $stats level admin$expose
 stats timeout 60s
$threads
peers mesh
 peer a $peers
 peer sink $nobody
defaults
 mode http
 timeout client 30s
 timeout server 30s
 timeout connect 5s
frontend www
 bind $http
 default_backend app
backend app
 stick-table type string len 32 size $((entries + 10000)) expire 1h store server_id peers mesh
 server s1 $server
backend brief
 stick-table type string len 32 size 200000 expire 4s store server_id
$more
END
    "${on_subject_core[@]}" "$program" "${flags[@]}" -f "$dir/node.cfg" >"$dir/node.log" 2>&1 &
    node=$!
    wait_for 20 "$1 to start" ask "$stats" "show info" || { cat "$dir/node.log"; exit 1; }
    wait_for 20 "$1 to serve" "$bin/load" --target $http --connections 1 --warmup 0 --seconds 0.02
}
stop() { end_family "$node"; node=; rm -f "$stats"; }
load() { "${on_other_core[@]}" "$bin/load" --target $http --json --connections 32 "$@"; }
fixed() { # SECONDS WARMUP SLICE
    load --rate "$rate" --seconds "$1" --warmup "$2" --slice "$3"
}

# fill TABLE ENTRIES: the table has so many entries, or the run ends: a table without them would make every figure look good.
fill() {
    "${on_other_core[@]}" "$bin/peer" --do fill --socket "$stats" --table "$1" --entries "$2" >/dev/null
    ask "$stats" "show table" | grep -q "table: $1,.* used:$2\$" || fail "table $1 has not taken its $2 entries"
}

# What happens beside the requests; each goes on until it is ended, and counts what it has done in a file.
does() { echo >>"$dir/done"; }
dump() {
    # Its answer is the head of the table and nothing else.
    while [ "$("${idle[@]}" socat -t 60 - "UNIX-CONNECT:$stats" <<<'show table app data.server_id gt 100000' | grep -c .)" = 1 ]; do does; done
}
lesson() {
    while "${idle[@]}" "$bin/peer" --do lesson --target $peers --dialled a --name sink --repeat 1 |
        jq -e --argjson entries "$entries" '.entries >= $entries'; do does; done
}
reload() { while kill -USR2 "$node"; do does; sleep 1; done; }
checks() { while does; do sleep 1; done; }

beside() { # SUBJECT ROUND WHAT SLICE: measures while WHAT happens
    local said
    : >"$dir/done"
    if [[ $3 != quiet* ]]; then
        set -m # a process group of its own, which is ended as a whole
        "$3" >/dev/null 2>&1 & working=$!
        set +m
    fi
    said=$(fixed "$seconds" 0.5 "$4") || true
    if [ -n "$working" ]; then
        kill -TERM -- "-$working" 2>/dev/null || true
        wait "$working" 2>/dev/null || true
        working=
    fi
    note "$1" "$2" "$3" "$said"
}

# SUBJECT ROUND: entries are made in peace; what is measured is the second in which they end, 4 s after they were touched.
expiry() {
    local began_ms made_ms said
    began_ms=$(date +%s%3N)
    fill brief 100000
    made_ms=$(date +%s%3N)
    : >"$dir/done"
    does
    # The first end that much after the last was made; warming up takes the time until then.
    said=$(fixed 1 "$(jq -n --argjson making "$((made_ms - began_ms))" '[(3900 - $making) / 1000, 0.2] | max')" 1) || true
    note "$1" "$2" expiry "$said"
}

note() { # SUBJECT ROUND WHAT SAID
    jq -cn --arg subject "$1" --argjson round "$2" --arg what "$3" --argjson said "$4" --argjson rate "$rate" --argjson times "$(wc -l <"$dir/done")" \
        '{$subject, $round, $what, $rate, $times, p50_us: $said.p50_us, p99_us: $said.p99_us, p99_9_us: $said.p99_9_us, max_us: $said.max_us,
          slices_p99_us: $said.slices_p99_us, slices_p99_9_us: $said.slices_p99_9_us, faults: ($said.failed + $said.bad_status)}' | tee -a "$results" |
        jq -r 'def low: sort | .[(length - 1) / 4 | floor];
            "  round \(.round)  \(.subject)  \(.what): calm p99 \(.slices_p99_us | low) us, calm p99.9 \(.slices_p99_9_us | low) us, whole p99 \(.p99_us) us (\(.rate) a second\(if .what | test("quiet") then "" else ", it happened \(.times) times" end), faults \(.faults))"'
}

measure() { # SUBJECT ROUND
    local most what n
    start "$1" tables
    fill app "$entries"
    most=$(load --seconds 1.5 --warmup 0.5 | jq .per_second) || true
    rate=$(jq -n --argjson most "$most" --argjson percent "$percent" '$most * $percent / 100 | floor')
    if [ "$only" != reload ]; then
        for what in quiet ${only:-dump lesson} quiet; do beside "$1" "$2" $what 0.25; done
    fi
    if [ -z "$only" ] || [ "$only" = reload ]; then
        beside "$1" "$2" quiet_second 1
        if [ -z "$only" ]; then for n in 1 2 3 4; do expiry "$1" "$2"; done; fi
        for what in reload quiet_second; do beside "$1" "$2" $what 1; done
    fi
    stop
    if [ -n "$only" ]; then return; fi
    start "$1" tables
    beside "$1" "$2" quiet_checks 0.25
    stop
    start "$1" checks
    beside "$1" "$2" checks 0.25
    stop
}

load_before=$(cut -d' ' -f1 /proc/loadavg)
awk -v load="$load_before" -v cores="$(nproc)" 'BEGIN { exit load > cores / 4 ? 0 : 1 }' &&
    echo "note: the machine is not idle (load $load_before): what others do is in these tails too"
say "measuring: $rounds rounds, $entries entries, $seconds s each, at $percent % of what each could do"
echo "(whole: of all requests of a measurement; calm: of each of its slices, and of these the lower quartile; --help says why)"
for ((round = 1; round <= rounds; round++)); do
    for subject in "${subjects[@]}"; do measure "$subject" "$round"; done
done

jq -s '
    def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
    def low: sort | .[(length - 1) / 4 | floor];
    def quiet_of: {dump: "quiet", lesson: "quiet", expiry: "quiet_second", reload: "quiet_second", checks: "quiet_checks"}[.];
    group_by(.subject) | map(. as $all | {subject: .[0].subject, rounds: ([.[].round] | max), rate: (map(.rate) | median),
        faults: (map(.faults) | add),
        work: (group_by(.what) | map({
            what: .[0].what, times: (map(.times) | add), slices: (map(.slices_p99_us | length) | add), p50_us: (map(.p50_us) | median),
            p99_us: (map(.p99_us) | median), p99_9_us: (map(.p99_9_us) | median), max_us: (map(.max_us) | max),
            calm_p99_us: (map(.slices_p99_us[]) | low), calm_p99_9_us: (map(.slices_p99_9_us[]) | low)}))}
        | .work |= (. as $work | map(. as $this | (.what | quiet_of) as $quiet | if $quiet == null then . else
            ($work[] | select(.what == $quiet)) as $calm
            | . + {p99_ratio: (.calm_p99_us / $calm.calm_p99_us), p99_9_ratio: (.calm_p99_9_us / $calm.calm_p99_9_us)} end)))' \
    "$results" >"$dir/summary.json"
say "result (microseconds; p50 to max: of whole measurements, medians of the rounds; calm: lower quartile over the slices of all rounds, and its multiple of that of the quiet times)"
{
    echo "subject beside times slices p50 p99 p99.9 max calm-p99 calm-p99.9 p99/quiet p99.9/quiet"
    jq -r 'def r: if . == null then "-" else . * 100 | round / 100 end;
        .[] | (.subject | split("/") | last) as $subject | .work[] | [$subject, .what, .times, .slices, .p50_us, .p99_us, .p99_9_us, .max_us, .calm_p99_us, .calm_p99_9_us, (.p99_ratio | r), (.p99_9_ratio | r)]
        | join(" ")' "$dir/summary.json"
} | column -t
say "goals"
jq '[.[] | select(.subject | test("haproxy") | not) | .subject as $subject | .faults as $faults
    | (.work[] | select(.p99_ratio) | {$subject, what, times, p99_ratio, p99_9_ratio, limit: 1.5,
        met: (.times > 0 and .p99_ratio <= 1.5 and .p99_9_ratio <= 1.5)}),
      {$subject, what: "failed requests", faults: $faults, limit: 0, met: ($faults == 0)}]' "$dir/summary.json" >"$dir/goals.json"
jq -r '.[] | "\(if .met then "met   " else "MISSED" end)  \(.subject): \(.what): \(.faults // "p99 \(.p99_ratio * 100 | round / 100), p99.9 \(.p99_9_ratio * 100 | round / 100) of quiet")\(if .times == 0 then " (it was not over once)" else "" end)"' "$dir/goals.json"

if [ $record = yes ]; then
    file=perf/records/$(date -u +%Y-%m-%dT%H%M%SZ)-tail.json
    jq -n --arg date "$(date -u +%FT%TZ)" --arg command "$command_line" --arg commit "$(git describe --always --dirty 2>/dev/null || echo unknown)" \
        --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" --arg cores "$(nproc)" --arg kernel "$(uname -sr)" --arg load "$load_before" \
        --arg haproxy "$(haproxy -v | head -1)" --slurpfile summary "$dir/summary.json" --slurpfile goals "$dir/goals.json" --slurpfile rounds "$results" \
        '{$date, $command, $commit, machine: {$cpu, cores: ($cores | tonumber), $kernel, load_before: ($load | tonumber)}, versions: {$haproxy},
          goals: $goals[0], summary: $summary[0], $rounds}' >"$file"
    echo "recorded in $file"
fi
jq -e 'all(.[]; .met)' "$dir/goals.json" >/dev/null
