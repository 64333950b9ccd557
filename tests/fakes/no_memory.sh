#!/bin/sh
# Fails one allocation of `plan` after the other, every STEP-th of all (default 7), in the planner or in its solver: a plan
# comes out all the same, or one line says what there was no memory for, with exit status 3. Never a crash, or a bug of ours.
set -eu
step=${STEP:-7}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
plan() {
    LD_PRELOAD=$FAIL_ALLOC_LIBRARY "$PROGRAM" plan "$SOURCE_DIR/models/qwen3-0.6b.yaml" --cluster 1x2:h200 \
        --workload "$SOURCE_DIR/examples/chat-small.yaml" --simulate 1 --output plan.yaml >out 2>err
}
FAIL_ALLOC_COUNT=count plan
all=$(cat count)
[ "$all" -gt 100 ] || { echo "only $all allocations were seen"; exit 1; }
n=0 refused=0
while [ "$n" -lt "$all" ]; do
    status=0
    FAIL_ALLOC=$n plan || status=$?
    case $status in
    0) ;;
    3) refused=$((refused + 1))
        grep -q '^shardwright: ' err || { echo "allocation $n: no message"; exit 1; } ;;
    *) echo "allocation $n: exit status $status"; cat err; exit 1 ;;
    esac
    n=$((n + step))
done
echo "$all allocations, $refused of those that failed were refused"
[ "$refused" -gt 0 ]
