#!/bin/sh
# Check every #include against the layers (modules.txt, written by CMake) and
# against the list of wrapped libraries (.ci/wrapped.txt).
# usage: .ci/check-includes.sh modules.txt
set -eu
grep -rEon '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<][^">]+' \
    --include='*.c' --include='*.h' --include='*.cu' \
    core db kernels models planner profiler reports runtime 2>/dev/null |
awk -v modules="$1" -v wrapped=.ci/wrapped.txt '
function complain(why) { print at[1] ":" at[2] ": " why; bad = 1 }
BEGIN {
    while ((getline line < modules) > 0) {
        n = split(line, w, /[: ;]+/)
        for (i = 1; i <= n; i++) ok[w[1], w[i]] = 1
    }
    while ((getline line < wrapped) > 0) { split(line, w, " "); only[w[1]] = w[2] }
}
{
    split($0, at, ":"); split(at[1], from, "/")
    match($0, /["<][^">]+$/)
    mark = substr($0, RSTART, 1); inc = substr($0, RSTART + 1)
    if (mark == "<") {
        if ((inc in only) && at[1] !~ "^(" only[inc] ")$") complain("<" inc "> belongs in " only[inc])
    } else if (split(inc, to, "/") < 2) {
        complain("write \"folder/" inc "\"")
    } else if (!((from[1], to[1]) in ok)) {
        complain(from[1] " may not include " inc)
    }
}
END { exit bad }'
