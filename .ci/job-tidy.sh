#!/bin/sh
# clang-tidy over the C files, or over the given ones. Needs build/clang (job-clang.sh) for the flags.
# usage: .ci/job-tidy.sh [file…]
set -eu
cd "$(dirname "$0")/.."
[ -f build/clang/compile_commands.json ] || .ci/job-clang.sh
[ $# -gt 0 ] || {
    # shellcheck disable=SC2046
    set -- $(git ls-files 'core/*.c' 'models/*.c' 'kernels/*.c' 'db/*.c' 'profiler/*.c' 'planner/*.c' \
        'runtime/*.c' 'reports/*.c' 'cli/*.c' | while read -r f; do
        grep -qF "/$f\"" build/clang/compile_commands.json && echo "$f"
    done)
}
# One file for each process: version 14 takes every va_list for uninitialised from the second file on.
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 clang-tidy -p build/clang --quiet --warnings-as-errors='*' 2>/dev/null
