#!/usr/bin/env bash
# Kills a measuring profile 20 times at random moments and runs it again: no point that was said to be
# measured is lost, none is there twice, none is measured again, and the database is sound every time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PROGRAM=${PROGRAM:?the shardwright program}
SEED=${SEED:-1}
RANDOM=$SEED
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
db=$scratch/costs.db
profile=("$PROGRAM" profile tiny-llama --cluster "$here/cluster.yaml" --db "$db" --dtype f32
    --max-tokens 3 --max-seqs 2 --max-len 16 --point-budget 2ms)

fail() {
    echo "profile_kill: $*" >&2
    exit 1
}

# Rows of the points, without the header, as sorted text.
rows() {
    rm -rf "$scratch/csv"
    "$PROGRAM" db export "$db" -o "$scratch/csv" >/dev/null
    tr -d '\r' <"$scratch/csv/op_point.csv" | tail -n +2 | sort
}

: >"$scratch/before"
: >"$scratch/said"
killed=0
for try in $(seq 1 60); do
    [ "$killed" -lt 20 ] || break
    "${profile[@]}" --verbose --budget 60s >/dev/null 2>"$scratch/log" &
    pid=$!
    # From before the database is opened to some points in.
    read -rt "0.$(printf %03d $((RANDOM % 400 + 5)))" <> <(:) || :
    if kill -9 "$pid" 2>/dev/null; then
        killed=$((killed + 1))
    fi
    status=0
    wait "$pid" 2>/dev/null || status=$?
    grep ' samples, ' "$scratch/log" >>"$scratch/said" || :
    [ -e "$db" ] || continue
    [ -s "$db" ] || continue
    # Killed between making the file and making its tables: as good as no file.
    if ! checked=$("$PROGRAM" db check "$db" 2>&1); then
        if [ ! -s "$scratch/said" ] && [[ $checked == *': empty: fill it'* ]]; then continue; fi
        echo "$checked" >&2
        fail "kill $killed: the database is not sound"
    fi
    rows >"$scratch/after"
    lost=$(comm -23 "$scratch/before" "$scratch/after" | wc -l)
    [ "$lost" -eq 0 ] || fail "kill $killed: $lost points lost or changed"
    twice=$(cut -d, -f2,4-13 "$scratch/after" | sort | uniq -d | wc -l)
    [ "$twice" -eq 0 ] || fail "kill $killed: $twice points are there twice"
    # The last line may be cut off in the middle of being written: it is not counted.
    said=$(wc -l <"$scratch/said")
    stored=$(wc -l <"$scratch/after")
    [ "$stored" -ge "$said" ] || fail "kill $killed: $said points were measured, $stored are stored"
    [ "$stored" -le $((said + killed)) ] || fail "kill $killed: more points stored than measured"
    cp "$scratch/after" "$scratch/before"
    if [ "$status" -eq 0 ]; then # it had finished: begin anew
        [ "$try" -lt 60 ] || fail "could not kill it 20 times"
        rm -f "$db" "$db"-wal "$db"-shm
        : >"$scratch/before"
        : >"$scratch/said"
    fi
done
[ "$killed" -eq 20 ] || fail "killed only $killed times of 20"

"${profile[@]}" --budget 0s >"$scratch/out"
rows >"$scratch/after"
[ "$(comm -23 "$scratch/before" "$scratch/after" | wc -l)" -eq 0 ] || fail "the last run lost points"
"${profile[@]}" --budget 0s >"$scratch/out"
grep -q ', 0 measured in ' "$scratch/out" || fail "a complete profile was measured again: $(cat "$scratch/out")"
wanted=$(sed -n 's/^\([0-9]*\) points wanted.*/\1/p' "$scratch/out")
[ "$(wc -l <"$scratch/after")" -eq "$wanted" ] || fail "$wanted points wanted, others are there"
"$PROGRAM" db check "$db"
echo "killed $killed times: $wanted points, none lost, none twice"
