# What the scripts share; sourced, not run. Needs bash and `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# need COMMAND PACKAGES ...: installs the packages of the commands that are missing, all at once.
need() {
    local missing=() more
    while [ $# -gt 0 ]; do
        if ! PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; then
            read -ra more <<<"$2"
            missing+=("${more[@]}")
        fi
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local become=()
    [ "$(id -u)" = 0 ] || become=(sudo)
    command -v apt-get >/dev/null || fail "please install: ${missing[*]}"
    say "installing ${missing[*]}"
    "${become[@]}" apt-get update -q </dev/null
    # haproxy and nginx would start their services on port 80; a policy file keeps every service from starting.
    local policy=/usr/sbin/policy-rc.d made=no
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${become[@]}" tee $policy >/dev/null
        "${become[@]}" chmod 755 $policy
        made=yes
    fi
    "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" </dev/null
    [ $made = no ] || "${become[@]}" rm -f $policy
}

# A Rust toolchain that knows edition 2024 and what burdock uses of it.
need_rust() {
    need cc "gcc libc6-dev" curl "curl ca-certificates"
    [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
    local wanted version=0
    wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$root/Cargo.toml")
    if command -v cargo >/dev/null; then
        version=$(cd "$root" && cargo --version | sed 's/^cargo 1\.\([0-9]*\).*/\1/')
    fi
    if [ "$version" -lt "$wanted" ]; then
        # The one that the lints were last seen clean with, not the newest: each new one has new lints.
        export RUSTUP_TOOLCHAIN=1.95.0
        say "installing Rust $RUSTUP_TOOLCHAIN (Debian's is older than 1.$wanted or missing)"
        if ! command -v rustup >/dev/null; then
            curl -sSf --proto '=https' https://static.rust-lang.org/rustup/rustup-init.sh |
                sh -s -- -y --profile minimal --no-modify-path --default-toolchain "$RUSTUP_TOOLCHAIN"
            PATH=$HOME/.cargo/bin:$PATH
        fi
        rustup toolchain install "$RUSTUP_TOOLCHAIN" --profile minimal
    fi
    export PATH
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -le $end ] || { echo "FAILED: waited in vain for $what" >&2; return 1; }
        sleep 0.05
    done
}

# A process and all that descend from it, by pid.
family() {
    local child
    echo "$1"
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do family "$child"; done
}

# end_family PID: ends a process of this shell and its children, by pid.
end_family() {
    local all
    mapfile -t all < <(family "$1")
    kill -TERM "${all[@]}" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# build_release: builds everything for measuring; sets bin, where the programs are, and on_subject_core and on_other_core, what to put before
# a command: where there are two cores or more, the subject has core 0 and everything else core 1.
build_release() {
    need_rust
    PATH=$PATH:/usr/sbin
    say "building"
    cargo build --release --workspace --quiet
    bin=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/release
    on_subject_core=() on_other_core=()
    if [ "$(nproc)" -ge 2 ] && command -v taskset >/dev/null; then
        # shellcheck disable=SC2034 # for the scripts that source this
        on_subject_core=(taskset -c 0) on_other_core=(taskset -c 1)
    fi
}

# ask SOCKET COMMAND: one command to a stats socket.
ask() { echo "$2" | socat -t 5 stdio "UNIX-CONNECT:$1"; }
