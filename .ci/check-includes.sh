#!/bin/sh
# Check every #include against the layers (modules.txt, written by CMake) and
# against the list of wrapped libraries (.ci/wrapped.txt).
# usage: .ci/check-includes.sh modules.txt
set -eu
[ -s "$1" ] || { echo "$1 is missing or empty: configure first" >&2; exit 1; }
grep -rEon '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<][^">]+' \
    --include='*.c' --include='*.h' --include='*.cu' \
    cli core db kernels models planner profiler reports runtime |
awk -v modules="$1" -v wrapped=.ci/wrapped.txt '
function complain(why) { print at[1] ":" at[2] ": " why; bad = 1 }
# Inside core, spec/ may include the rest, not the reverse.
function allowed(src, dst) {
    if (src == dst)
        return !(src == "core" && at[1] !~ /^core\/(spec|sched)/ && inc ~ /^core\/spec\//)
    return (src, dst) in ok
}
BEGIN {
    while ((getline line < modules) > 0) {
        n = split(line, w, /[: ;]+/)
        for (i = 2; i <= n; i++) ok[w[1], w[i]] = 1
    }
    # A library has a name or a pattern of header names.
    while ((getline line < wrapped) > 0) {
        if (line ~ /^#/ || line == "") continue
        split(line, w, " "); only[w[1]] = w[2]
    }
}
{
    split($0, at, ":"); split(at[1], from, "/")
    match($0, /["<][^">]+$/)
    mark = substr($0, RSTART, 1); inc = substr($0, RSTART + 1)
    seen++
    if (mark == "<") {
        if ((inc in only) && at[1] !~ "^(" only[inc] ")$") complain("<" inc "> belongs in " only[inc])
    } else if (split(inc, to, "/") < 2) {
        complain("write \"folder/" inc "\"")
    } else if (!allowed(from[1], to[1])) {
        complain(from[1] " may not include " inc)
    }
}
END {
    if (seen < 10) { print "found no includes: is this the source tree?"; bad = 1 }
    exit bad
}'
