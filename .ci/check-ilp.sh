#!/bin/sh
# Constraints of the integer programs against docs/ilp.md: every number that planner/ quotes is defined there and
# the reverse, and every name of a row stands there.
set -eu
doc=docs/ilp.md
defined=$(grep -oE '(\| |\*\*)[BCX][0-9]+\b' "$doc" | grep -oE '[BCX][0-9]+' | sort -u)
quoted=$(grep -ohE '\b[BCX][0-9]{1,2}\b' planner/*.c planner/*.h | sort -u)
# "C8 to C15" quotes what lies between.
ranges=$(grep -ohE '\b[BCX][0-9]+ to [BCX][0-9]+\b' planner/*.c planner/*.h | sed 's/ to / /' |
    while read -r first last; do
        letter=${first%%[0-9]*}
        for i in $(seq "${first#?}" "${last#?}"); do echo "$letter$i"; done
    done)
bad=0
for c in $(grep -oE '^\*\*[BCX][0-9]+\b' "$doc" | sort | uniq -d | tr -d '*'); do
    echo "$doc: $c is defined twice"; bad=1
done
for c in $quoted; do
    echo "$defined" | grep -qx "$c" || { echo "$doc: $c is quoted in planner/ and not defined here"; bad=1; }
done
for c in $defined; do
    printf '%s\n%s\n' "$quoted" "$ranges" | grep -qx "$c" ||
        { echo "$doc: $c is quoted nowhere in planner/"; bad=1; }
done
# ilp_add_row(ilp, "name" or arena_printf(arena, "name_%d": the part before the index.
for row in $(tr '\n' ' ' <<ROWS | grep -oE 'ilp_add_row\([^;]*' | grep -oE '"[a-z]+' | tr -d '"' | sort -u
$(cat planner/*.c)
ROWS
); do
    grep -q "\`${row}[\`_]" "$doc" || { echo "$doc: the row $row of a program is not in it"; bad=1; }
done
exit $bad
