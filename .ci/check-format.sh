#!/bin/sh
# Every C and CUDA file is as clang-format writes it. Version 14 decides; others differ in small things.
set -eu
tool=$(command -v clang-format-14 || command -v clang-format || true)
[ -n "$tool" ] || { echo "no clang-format here" >&2; exit 77; }
"$tool" --version | grep -q 'version 14' || { echo "not clang-format 14" >&2; exit 77; }
git ls-files '*.c' '*.h' '*.cu' | grep -v '^tests/golden/' |
    while read -r file; do [ ! -f "$file" ] || echo "$file"; done |
    xargs "$tool" --dry-run -Werror
