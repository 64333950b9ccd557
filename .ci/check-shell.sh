#!/bin/sh
# Shell scripts pass shellcheck.
set -eu
command -v shellcheck >/dev/null || { echo "no shellcheck here" >&2; exit 77; }
git ls-files | while read -r file; do
    [ -f "$file" ] || continue
    case $file in
    *.sh) echo "$file" ;;
    scripts/* | tests/bench/* | .ci/run) head -n1 "$file" | grep -qE '^#!.*\b(ba)?sh' && echo "$file" ;;
    esac
done | xargs shellcheck -S warning
