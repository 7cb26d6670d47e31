#!/usr/bin/env bash
# The test command: installs what it needs and runs everything. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

need_rust
need haproxy haproxy socat socat ip iproute2 jq jq python3 python3
if command -v rustup >/dev/null; then
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
fi

say "format"
cargo fmt --all --check
say "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings
say "pages of the code"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
say "tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log"; then
    say "what failed"
    grep -A 15 -E '^(---- .* stdout ----|test .*FAILED)' "$log" || true
    exit 1
fi

if [ $# -eq 0 ]; then
    scripts/guard.sh
    say "simulation of peers: 2000 seeds"
    BURDOCK_SIM_SEEDS=170 cargo test --profile sim --test peers_sim
    if unshare --net true 2>/dev/null; then
        say "the configuration byte for byte, in network namespaces"
        scripts/cluster-netns.sh --debug
        if [ -c /dev/net/tun ]; then
            say "nodes on a bad network"
            target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
            scripts/bad-network.py --binary "$target/debug/burdock"
        else
            say "left out: scripts/bad-network.py (no /dev/net/tun here)"
        fi
    else
        say "left out: scripts/cluster-netns.sh (no right to make network namespaces here)"
    fi
fi
say "all passed"
