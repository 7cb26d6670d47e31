#!/usr/bin/env bash
# Counts the instructions of a fixed set of requests through parser, rules, table, log and peers codec (benches/guard.rs) and
# fails where one takes over 5 % more than the committed figure in perf/guard.txt.
#
#   scripts/guard.sh             compare
#   scripts/guard.sh --accept    take today's figures as the new ones; commit perf/guard.txt with the change that explains them
#
# callgrind counts the same instructions every time on one toolchain; each subject is run twice and has to agree with itself. Another
# compiler, C library or processor (valgrind shows its vector instructions) gives other figures: perf/guard.txt names
# those that its figures are of, and with others the bound is 25 % and the result says so. It takes a minute, nearly all of it the build.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

record=perf/guard.txt bound=5 other_bound=25 accept=no
case ${1:-} in
    "") ;;
    --accept) accept=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

need valgrind valgrind jq jq
need_rust
say "instructions: building"
guard=$(cargo bench --profile guard --bench guard --no-run --message-format json 2>/dev/null |
    jq -r 'select(.reason == "compiler-artifact" and .target.name == "guard") | .executable') || true
[ -x "$guard" ] || { cargo bench --profile guard --bench guard --no-run; fail "no guard was built"; }

vectors=$(grep -m1 ^flags /proc/cpuinfo | tr ' ' '\n' | grep -x -e sse4_2 -e avx2 -e bmi2 | sort | paste -sd+)
toolchain="rustc $(rustc --version | cut -d" " -f2), $(valgrind --version), $(ldd --version | sed -n '1s/.* /glibc /p'), $(uname -m) ${vectors:-without vectors}"

count() { # SUBJECT
    env -i PATH="$PATH" valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*guard::counted*' "$guard" "$1" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

say "instructions: counting"
declare -A counted=()
mapfile -t subjects < <("$guard")
for subject in "${subjects[@]}"; do
    first=$(count "$subject") again=$(count "$subject")
    [ "${first:-0}" -gt 0 ] || { "$guard" "$subject" || true; fail "$subject was not counted"; }
    [ "$first" = "$again" ] || fail "$subject is not the same twice: $first and $again instructions"
    counted[$subject]=$first
done

if [ $accept = yes ]; then
    {
        echo "# Instructions of the subjects of benches/guard.rs; written by scripts/guard.sh --accept."
        echo "toolchain $toolchain"
        for subject in "${subjects[@]}"; do echo "$subject ${counted[$subject]}"; done
    } >"$record.new"
    mv "$record.new" "$record"
    cat "$record"
    exit 0
fi

[ -e "$record" ] || fail "no $record: scripts/guard.sh --accept makes it"
recorded=$(sed -n 's/^toolchain //p' "$record")
if [ "$recorded" != "$toolchain" ]; then
    bound=$other_bound
    echo "NOTE: the figures are of another toolchain; a rise counts from $bound % on"
    echo "  recorded: $recorded"
    echo "  here:     $toolchain"
fi
worse=()
for subject in "${subjects[@]}"; do
    was=$(awk -v subject="$subject" '$1 == subject { print $2 }' "$record")
    [ -n "$was" ] || fail "$subject has no figure in $record: scripts/guard.sh --accept"
    awk -v subject="$subject" -v was="$was" -v now="${counted[$subject]}" \
        'BEGIN { printf "  %-20s %12d  %+6.2f %%\n", subject, now, 100 * (now - was) / was }'
    [ $((counted[$subject] * 100)) -le $((was * (100 + bound))) ] || worse+=("$subject")
done
while read -r subject _; do
    [ -n "${counted[$subject]:-}" ] || fail "$record has a figure of $subject, which is no subject: scripts/guard.sh --accept"
done < <(grep -v -e '^#' -e '^toolchain ' "$record")
[ ${#worse[@]} = 0 ] || fail "over $bound % more instructions: ${worse[*]} (if that is meant: scripts/guard.sh --accept)"
