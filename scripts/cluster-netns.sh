#!/usr/bin/env bash
# The three nodes as operators have them: the configuration byte for byte, in network namespaces with exactly its addresses,
# real curl, PHP applications where PHP is installed. Needs root; makes its own namespaces and leaves nothing.
#
#   --nodes a,b,c[:d,e,f...]   groups to run: burdock, haproxy (the packaged one), or a path
#                              (default: burdock,burdock,burdock:burdock,haproxy,burdock)
#   --debug                    the debug build (faster to build)
#   --app php|demo             the applications (default: php where installed)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

groups=burdock,burdock,burdock:burdock,haproxy,burdock profile=release app_kind=
command -v php >/dev/null && app_kind=php
while [ $# -gt 0 ]; do
    case $1 in
        --nodes) groups=$2; shift ;;
        --debug) profile=debug ;;
        --app) app_kind=$2; shift ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || fail "needs root, to make network namespaces"

addresses=(192.168.100.59 192.168.100.54 192.168.100.42)
apps=(192.168.100.60 192.168.100.61)
dir=$(mktemp -d /tmp/burdock-netns.XXXXXX)
machines=()              # holders: a sleeping process for each machine keeps its namespaces
declare -A holder app_pid
nodes=()

# on MACHINE COMMAND...: runs a command on one of the machines.
on() { local machine=$1; shift; nsenter --target "${holder[$machine]}" --net --mount -- "$@"; }

machine() { # NAME: an empty machine with a loopback interface and a /run of its own
    unshare --net --mount sleep infinity </dev/null >/dev/null 2>&1 &
    holder[$1]=$!
    machines+=("$1")
    wait_for 5 "a network namespace" eval "[ \$(readlink /proc/$!/ns/net) != \$(readlink /proc/self/ns/net) ] && [ \$(readlink /proc/$!/ns/mnt) != \$(readlink /proc/self/ns/mnt) ]"
    on "$1" mount -t tmpfs tmpfs /run
    on "$1" ip link set lo up
}
plug() { # NAME ADDRESS: connects a machine to the switch
    on switch ip link add "to-$1" type veth peer name eth0 netns "${holder[$1]}"
    on switch ip link set "to-$1" master bridge up
    on "$1" ip address add "$2/24" dev eth0
    on "$1" ip link set eth0 up
}
end_all() { # PID...: ends processes with all their children, by pid
    local pid all=()
    for pid in "$@"; do mapfile -t -O ${#all[@]} all < <(family "$pid"); done
    [ ${#all[@]} -eq 0 ] || kill -KILL "${all[@]}" 2>/dev/null || true
}
node_pid() { cat "/proc/${holder[node$1]}/root/run/haproxy.pid" 2>/dev/null || true; }
stop_nodes() {
    local node pid
    for node in "${!nodes[@]}"; do
        [ -n "${holder[node$node]:-}" ] || continue
        pid=$(node_pid "$node")
        [ -z "$pid" ] || end_all "$pid"
    done
}
cleanup() {
    stop_nodes
    [ ${#app_pid[@]} -eq 0 ] || end_all "${app_pid[@]}"
    [ ${#holder[@]} -eq 0 ] || end_all "${holder[@]}"
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need ip iproute2 curl curl socat socat nsenter util-linux
[[ $groups != *haproxy* ]] || need haproxy haproxy
bin=
if [[ $groups == *burdock* || $app_kind != php ]]; then
    need_rust
    if [ $profile = release ]; then cargo build --release --workspace --quiet; else cargo build --workspace --quiet; fi
    bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile
fi
getent passwd haproxy >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin haproxy
mkdir -p /var/lib/haproxy

# `maxconn 20000` needs 40 000 descriptors and some; where this machine does not allow them, -n lowers it as the manual says.
limit_option=()
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 41000 ] || limit_option=(-n "$(($(ulimit -Hn) / 3))")

start_app() { # APP
    local address=${apps[$1]}
    if [ "$app_kind" = php ]; then
        mkdir -p "$dir/app$1/sessions" "$dir/app$1/www"
        cat >"$dir/app$1/www/index.php" <<PHP
<?php session_start(); \$_SESSION['hits'] = (\$_SESSION['hits'] ?? 0) + 1;
header('X-Server: app$(($1 + 1))');
echo "app$(($1 + 1)) session=" . session_id() . " hits=" . \$_SESSION['hits'] . "\n";
PHP
        on app$1 php -d session.save_path="$dir/app$1/sessions" -S "$address:80" -t "$dir/app$1/www" >"$dir/app$1.log" 2>&1 &
    else
        on app$1 "$bin/demo-app" --listen "$address:80" --name "app$(($1 + 1))" &
    fi
    app_pid[$1]=$!
    disown # no message when it is killed
    wait_for 10 "application $1" on switch curl -sf --max-time 1 "http://$address/index.php"
}
start_node() { # NODE [CONFIGURATION]
    local program=${nodes[$1]} configuration=${2:-$root/tests/configs/three-nodes.cfg}
    case $program in
        burdock) program=$bin/burdock ;;
        haproxy) program=$(PATH=$PATH:/usr/sbin command -v haproxy) ;;
    esac
    on "node$1" "$program" -D -L "haproxy$(($1 + 1))" "${limit_option[@]}" -f "$configuration" \
        >"$dir/node$1.log" 2>&1 || { cat "$dir/node$1.log"; fail "haproxy$(($1 + 1)) does not start"; }
}
kill_node() { # NODE: as a power cut ends it
    end_all "$(node_pid "$1")"
    wait_for 5 "the end of haproxy$(($1 + 1))" eval "! on switch curl -s --max-time 1 -o /dev/null http://${addresses[$1]}/index.php"
    on "node$1" rm -f /run/haproxy.pid /run/haproxy.sock
}
request() { local node=$1; shift; on switch curl -sS --max-time 5 "$@" "http://${addresses[$node]}/index.php"; }
tell() { on "node$1" sh -c "echo '$2' | socat -t 5 stdio UNIX-CONNECT:/var/run/haproxy.sock"; }
entries() { tell "$1" "show table dynamic_group" | sed -n 's/.*key=\([^ ]*\) .*\(server_id=.*\)/\1 \2/p' | sort; }
used() { tell "$1" "show table dynamic_group" | sed -n 's/^# table:.*used:\([0-9]*\).*/\1/p'; }
same_tables() { # COUNT NODE...
    local count=$1 first node; shift
    first=$(entries "$1")
    [ "$(grep -c . <<<"$first")" = "$count" ] || return 1
    for node in "$@"; do [ "$(entries "$node")" = "$first" ] || return 1; done
}
agree_within() { # SECONDS COUNT NODE...
    local seconds=$1 count=$2 node; shift 2
    wait_for "$seconds" "$count equal entries on nodes $* (has: $(for node in "$@"; do used "$node"; done | paste -sd' '))" same_tables "$count" "$@"
}
servers_up() { [ "$(tell "$1" "show stat" | grep -c '^dynamic_group,app[12],.*,UP,')" = 2 ]; }
connected() { local node; for node in 0 1 2; do [ "$(tell "$node" "show peers" | grep -c ' state=EST')" = 2 ] || return 1; done; }

# walk NODE...: the client with the session goes to these nodes; each answer is 200, from its application, which knows it.
walk() {
    local node answer
    for node in "$@"; do
        answer=$(request "$node" --fail ${session:+-b "PHPSESSID=$session"}) || fail "a request to node $node failed"
        [ -n "$session" ] || { home=${answer%% *}; session=${answer#*session=}; session=${session%% *}; hits=0; }
        hits=$((hits + 1))
        [ "$answer" = "$home session=$session hits=$hits" ] || fail "expected $home, hit $hits; got: $answer"
    done
}
fifteen() { local i; for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do request $((i % 3)) --fail >/dev/null || fail "request $i failed"; done; }
clear_tables() { local node; for node in 0 1 2; do tell "$node" "clear table dynamic_group" >/dev/null; done; }
# Health checks of PHP applications make sessions there, but none in a table: that only requests of clients do.

start_group() { # [CONFIGURATION]
    local node
    for node in 0 1 2; do start_node "$node" "${1:-}"; done
    for node in 0 1 2; do wait_for 10 "haproxy$((node + 1)) to answer" request "$node" --fail -o /dev/null -b PHPSESSID=; done
    for node in 0 1 2; do wait_for 10 "the servers of haproxy$((node + 1)) to be up" servers_up $node; done
    wait_for 20 "the peers to connect" connected
    clear_tables
}
stop_group() { local node; for node in 0 1 2; do end_all "$(node_pid "$node")"; on "node$node" rm -f /run/haproxy.pid /run/haproxy.sock; done; }

run_group() { # NODE NODE NODE
    nodes=("$@")
    say "$*: the configuration as published"
    start_group
    fifteen
    agree_within 2 15 0 1 2
    echo "ok: fifteen requests, fifteen entries everywhere"
    entries 0 | sed 's/^/    /'

    session= home= hits=0
    walk 0
    agree_within 2 16 0 1 2
    walk 1 2 0 2 1 0 1 2
    echo "ok: a session stays on $home while its client changes nodes"

    kill_node 0
    walk 1 2 1 2
    same_tables 16 1 2 || fail "entries were lost with a node"
    start_node 0
    agree_within 10 16 0 1 2
    walk 0 1 2
    echo "ok: a node killed and restarted; nothing lost, the table learnt again"

    on switch ip link set to-node2 down
    local cut=$SECONDS
    walk 0 1 0 1
    for i in 1 2 3 4; do request $((i % 2)) --fail >/dev/null; done
    agree_within 2 20 0 1
    while [ $((SECONDS - cut)) -lt 10 ]; do sleep 0.2; done
    walk 0 1
    on switch ip link set to-node2 up
    agree_within 20 20 0 1 2
    wait_for 10 "the checks of node 2 to find the applications again" servers_up 2
    walk 2 0 1 2
    echo "ok: a node cut off for ten seconds has caught up"

    local stopped=$((${home#app} - 1)) other=app$((3 - ${home#app})) answer
    end_all "${app_pid[$stopped]}"
    for i in 0 1 2 0 1 2; do
        answer=$(request $i --fail -b "PHPSESSID=$session") || fail "a request failed because an application stopped"
        [ "${answer%% *}" = "$other" ] || fail "expected $other; got: $answer"
    done
    moved() { local node; for node in 0 1 2; do entries $node | grep -q "^$session server_id=${other#app} server_key=$other" || return 1; done; }
    wait_for 2 "the session's entry to name $other everywhere" moved
    start_app "$stopped"
    echo "ok: an application stopped; its sessions moved to $other with their entries, no request failed"
    for node in 0 1 2; do wait_for 15 "$home to be up on node $node" servers_up $node; done
    stop_group

    say "$*: a table of ten entries that live for three seconds"
    sed 's/size 5k expire 5m/size 10 expire 3s/' tests/configs/three-nodes.cfg >"$dir/small.cfg"
    start_group "$dir/small.cfg"
    for ((i = 0; i < 40; i++)); do request $((i % 3)) --fail >/dev/null || fail "a request failed on a full table"; done
    for node in 0 1 2; do
        count=$(used $node)
        [ "$count" -ge 1 ] && [ "$count" -le 10 ] || fail "node $node has $count entries of ten"
    done
    echo "ok: forty clients on a table of ten"
    for node in 0 1 2; do wait_for 10 "the entries of node $node to expire" eval "[ \$(used $node) = 0 ]"; done
    request 0 --fail >/dev/null
    agree_within 2 1 0 1 2
    echo "ok: the entries expired everywhere, and the table goes on"
    stop_group
}

say "machines: a switch, three nodes, two applications (${app_kind:-demo})"
machine switch
on switch ip link add bridge type bridge
on switch ip address add 192.168.100.1/24 dev bridge
on switch ip link set bridge up
for node in 0 1 2; do machine node$node; plug node$node "${addresses[$node]}"; done
for app in 0 1; do machine app$app; plug app$app "${apps[$app]}"; start_app $app; done

IFS=: read -ra all_groups <<<"$groups"
for group in "${all_groups[@]}"; do
    IFS=, read -ra members <<<"$group"
    run_group "${members[@]}"
done
say "done"
