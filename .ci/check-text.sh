#!/bin/sh
# No trailing blanks, a newline at the end. Without arguments: every text file of the repository.
set -eu
[ $# -gt 0 ] || exec sh -c 'git ls-files -z | grep -zvE "^(tests/(golden|reference|data|fuzz)/|LICENSE)" | xargs -0 "$0"' "$0"
bad=0
for file; do
    [ -f "$file" ] && [ -s "$file" ] && grep -qI . "$file" || continue
    grep -nE '[[:blank:]]$' "$file" | sed "s|^|$file:|;s|$| (trailing blank)|" | grep . && bad=1
    [ -z "$(tail -c1 "$file")" ] || { echo "$file: no newline at the end"; bad=1; }
done
exit $bad
