#!/usr/bin/env bash
# Three nodes, two applications, one stick table: shows what burdock is for, on a fresh Debian machine, without root
# once the packages are there. Every claim is checked; the first that does not hold ends the demonstration with code 1.
#
#   scripts/demo.sh           run, show, clean up
#   scripts/demo.sh --keep    leave everything running and say how to watch it
#   scripts/demo.sh --nodes burdock,burdock,haproxy     a mixed group with the packaged HAProxy
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

keep=no
nodes=(burdock burdock burdock)
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=yes ;;
        --nodes) IFS=, read -ra nodes <<<"$2"; shift ;;
        *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

addresses=(127.0.0.59 127.0.0.54 127.0.0.42)
apps=(127.0.0.60 127.0.0.61)
http=8080
dir=$(mktemp -d "${TMPDIR:-/tmp}/burdock-demo.XXXXXX")
declare -A started   # what we started, by pid

cleanup() {
    local pid all=()
    for pid in "${!started[@]}"; do mapfile -t -O ${#all[@]} all < <(family "$pid"); done
    [ ${#all[@]} -eq 0 ] || kill -TERM "${all[@]}" 2>/dev/null || true
    for pid in "${all[@]}"; do
        wait_for 5 "the end of process $pid" eval "[ ! -d /proc/$pid ] || grep -q '^State:.Z' /proc/$pid/status"
    done
    rm -rf "$dir"
}
interrupted() { trap - EXIT; cleanup; exit 130; }
trap cleanup EXIT
trap interrupted INT TERM

say "what is needed"
need curl curl socat socat
case " ${nodes[*]} " in *" haproxy "*) need haproxy haproxy ;; esac
need_rust
say "building (the first time takes a few minutes)"
cargo build --release --workspace --quiet
bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release

# The configuration of the README, with addresses, ports and paths that need neither root nor another machine.
configure() { # NODE
    sed -e "s/192\.168\.100\.59/${addresses[0]}/; s/192\.168\.100\.54/${addresses[1]}/; s/192\.168\.100\.42/${addresses[2]}/" \
        -e "s/192\.168\.100\.60:80/${apps[0]}:$http/; s/192\.168\.100\.61:80/${apps[1]}:$http/" \
        -e "s/\*:80/${addresses[$1]}:$http/" \
        -e "s|/var/run/haproxy.sock|$dir/node$1.sock|; s|/var/run/haproxy.pid|$dir/node$1.pid|" \
        -e '/^ *\(chroot\|user\|group\) /d' \
        -e 's/^\( *maxconn  *\)20000/\12000/; s/^\( *maxconn  *\)18000/\11800/' \
        tests/configs/three-nodes.cfg >"$dir/node$1.cfg"
}

start_node() { # NODE
    local program=$bin/burdock
    [ "${nodes[$1]}" = burdock ] || program=$(PATH=$PATH:/usr/sbin command -v haproxy)
    "$program" -D -L "haproxy$(($1 + 1))" -f "$dir/node$1.cfg" 2>"$dir/node$1.log" ||
        { cat "$dir/node$1.log" >&2; fail "node haproxy$(($1 + 1)) does not start"; }
    started[$(cat "$dir/node$1.pid")]=node
}

# request NODE [CURL OPTIONS]: one request, the application's answer.
request() { local node=$1; shift; curl -sS --max-time 5 "$@" "http://${addresses[$node]}:$http/index.php"; }
# entries NODE: key and server of each entry, sorted by key.
entries() { ask "$dir/node$1.sock" "show table dynamic_group" | sed -n 's/.*key=\([^ ]*\) .*server_id=\([0-9]*\).*/\1 app\2/p' | sort; }
same_tables() { # COUNT NODE...: these nodes have the same entries, that many
    local count=$1 first node; shift
    first=$(entries "$1")
    [ "$(grep -c . <<<"$first")" = "$count" ] || return 1
    for node in "$@"; do [ "$(entries "$node")" = "$first" ] || return 1; done
}
show_tables() { # NODE...
    local node
    for node in "$@"; do entries "$node" >"$dir/table$node"; done
    for node in "$@"; do printf '%-34s' "haproxy$((node + 1)), ${addresses[$node]}"; done; echo
    paste -d '|' "${@/#/$dir/table}" | awk -F'|' '{ for (i = 1; i <= NF; i++) printf "%-34s", $i; print "" }'
}

say "starting two applications and three nodes (${nodes[*]})"
for app in 0 1; do
    "$bin/demo-app" --listen "${apps[$app]}:$http" --name "app$((app + 1))" &
    started[$!]=app
done
for node in 0 1 2; do configure $node; start_node $node; done
for node in 0 1 2; do wait_for 10 "node haproxy$((node + 1))" request $node --fail -o "$dir/first" -b PHPSESSID=; done
connected() { for node in 0 1 2; do [ "$(ask "$dir/node$node.sock" "show peers" | grep -c ' state=EST')" = 2 ] || return 1; done; }
wait_for 15 "the peers to connect" connected
for node in 0 1 2; do ask "$dir/node$node.sock" "clear table dynamic_group" >/dev/null; done
echo "configuration: $dir/node0.cfg; frontends: ${addresses[*]} port $http"

say "fifteen new clients, five at each node"
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
    node=$((i % 3))
    printf '%-12s%s\n' "haproxy$((node + 1)):" "$(request $node)"
done

say "the tables of the three nodes"
wait_for 2 "fifteen entries everywhere" same_tables 15 0 1 2
show_tables 0 1 2

say "a client with a cookie walks over the nodes and stays on its server"
session=
# walk EXPECTED-HITS NODE...: prints each answer, checks that the session goes on at the same application.
walk() {
    local hits=$1 node answer; shift
    for node in "$@"; do
        answer=$(request "$node" ${session:+-b "PHPSESSID=$session"})
        printf '%-12s%s\n' "haproxy$((node + 1)):" "$answer"
        [ -n "$session" ] || { home=${answer%% *}; session=${answer#*session=}; session=${session%% *}; }
        [ "${answer%% *}" = "$home" ] || fail "the session moved from $home"
        [ "${answer##*hits=}" = "$hits" ] || fail "the application has lost the session"
        hits=$((hits + 1))
    done
}
walk 1 0
wait_for 2 "sixteen entries everywhere" same_tables 16 0 1 2
walk 2 1 2 0 2 1 0 1 2

say "node haproxy1 is killed (every process of it, at once)"
victim=$(cat "$dir/node0.pid")
mapfile -t all < <(family "$victim")
kill -KILL "${all[@]}"
unset "started[$victim]"
wait_for 5 "the end of haproxy1" eval "! request 0"
walk 10 1 2 1 2
same_tables 16 1 2 || fail "entries were lost"
echo "nothing is lost: haproxy2 and haproxy3 have all 16 entries, the session is where it was"

say "node haproxy1 comes back, empty, and learns the table from its neighbours"
rm -f "$dir/node0.pid" "$dir/node0.sock"
start_node 0
wait_for 10 "sixteen entries everywhere" same_tables 16 0 1 2
walk 14 0 1 2
show_tables 0 1 2

if [ $keep = yes ]; then
    trap - EXIT INT TERM
    cat <<END

Everything is left running. Watch it:
    curl -b PHPSESSID=$session http://${addresses[0]}:$http/index.php
    echo "show table dynamic_group" | socat stdio UNIX-CONNECT:$dir/node0.sock
    echo "show peers"               | socat stdio UNIX-CONNECT:$dir/node1.sock
    echo "show stat"                | socat stdio UNIX-CONNECT:$dir/node2.sock
End it:
    kill ${!started[*]}; rm -r $dir
END
else
    say "done; cleaning up"
fi
