#!/bin/sh
# Every reader of user text under libFuzzer, SECONDS_EACH (5) each, from the committed seeds.
set -eu
cd "$(dirname "$0")/.."
cmake --preset fuzz >/dev/null
# Only the targets: the kernels take minutes with these flags and no reader needs them.
# shellcheck disable=SC2046
cmake --build --preset fuzz --target $(basename -s .c tests/fuzz/fuzz_*.c) -- -j "$(nproc)" --quiet
n=0
for program in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=$(basename "$program")
    work=$(mktemp -d)
    seeds=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086
    "$program" -max_total_time="${SECONDS_EACH:-5}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 \
        -artifact_prefix="$work/" "$work" $seeds >"$work.log" 2>&1 || { tail -n 50 "$work.log"; exit 1; }
    echo "$name: $(grep -c . "$work.log") lines, $(grep -oE 'Done [0-9]+ runs in [0-9]+ second' "$work.log")"
    rm -rf "$work" "$work.log"
    n=$((n + 1))
done
[ "$n" -gt 0 ] || { echo "no fuzz targets were built"; exit 1; }
