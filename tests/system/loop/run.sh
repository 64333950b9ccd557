#!/bin/sh
# The whole loop on a tiny model: weights -> profile -> plan -> run -> report -> gate, on this many ranks.
# usage: tests/system/loop/run.sh <ranks>      with $PROGRAM
set -eu
ranks=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

say() { printf '== %s\n' "$*"; }
fail() { echo "FAILED: $*"; exit 1; }
# Runs a command that must end with the given status.
expect() {
    want=$1; shift
    got=0
    "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$want" ] || { cat out err; fail "status $got, expected $want: $*"; }
}
has() { grep -qE "$1" "$2" || { cat "$2"; fail "no \"$1\" in $2"; }; }

cores=$(nproc)
[ "$cores" -ge "$ranks" ] || { echo "$cores core, $ranks ranks" >&2; exit 77; }
cat >cluster.yaml <<EOF
format: shardwright-cluster
version: 1
name: loop
kinds: [{name: core, memory: 256MiB}]
nodes: [{name: here, kind: core, devices: $ranks}]
links: [{name: shm, inside: true}]
EOF
cat >workload.yaml <<'EOF'
format: shardwright-workload
version: 1
name: loop
requests: 6
seed: 1
prompt: {dist: uniform, min: 3, max: 12}
output: {dist: uniform, min: 2, max: 5}
EOF
"$PROGRAM" --check-file cluster.yaml
"$PROGRAM" --check-file workload.yaml

say weights
expect 0 "$PROGRAM" weights tiny-qwen3 -o model --dtype f32 --seed 3
expect 0 "$PROGRAM" weights --check model

say profile
measure="profile model --cluster cluster.yaml --workload workload.yaml --dtype f32 --db costs.db
    --max-tokens 16 --max-seqs 4 --point-budget 5ms"
# shellcheck disable=SC2086
expect 0 "$PROGRAM" $measure --budget 8s
before=$("$PROGRAM" db list costs.db 2>/dev/null || true)
expect 0 "$PROGRAM" db check costs.db

say plan
plan() { # name, options of plan
    name=$1; shift
    expect 0 "$PROGRAM" plan model --cluster cluster.yaml --workload workload.yaml --db costs.db \
        --dtype f32 --deterministic --reproducible -o "$name.yaml" "$@"
    "$PROGRAM" --check-file "$name.yaml"
}
plan chosen
plan again
cmp chosen.yaml again.yaml || fail "the same inputs gave another plan"
plan alone --force tp=1,pp=1,dp=1,threads=1

say run
run() { # plan, options of run
    name=$1; shift
    expect 0 "$PROGRAM" run "$name.yaml" --weights model --workload workload.yaml --db costs.db \
        --tokens "$name.tokens" "$@"
}
run alone --trace trace.json --requests requests.csv
has 'predicted +measured' out
has '"name": "gemm", "cat": "op", "ph": "X"' trace.json
has '"name": "first token", "cat": "request", "ph": "b"' trace.json
if command -v python3 >/dev/null; then
    python3 -c 'import json; assert len(json.load(open("trace.json"))["traceEvents"]) > 100' ||
        fail "trace.json is no trace"
fi
[ "$(grep -c ',finished$' requests.csv)" = 6 ] || fail "not 6 finished requests in requests.csv"
has 'bottleneck: ' out
[ "$(wc -l <alone.tokens)" = 6 ] || fail "6 requests, $(wc -l <alone.tokens) answers"
run chosen --json
has '"measured": \{' out
has '"output_tokens_per_s": [0-9.]+' out
cmp alone.tokens chosen.tokens || fail "another plan, other tokens"
if [ "$ranks" = 2 ]; then
    for force in tp=2 pp=2 dp=2; do
        plan "$force" --force "$force,threads=1"
        run "$force"
        cmp alone.tokens "$force.tokens" || fail "$force: other tokens"
    done
fi
expect 0 "$PROGRAM" db check costs.db
[ -n "$before" ] || fail "db list printed nothing"

say "prompts that begin alike"
plan one --force tp=1,pp=1,dp=1,threads=1,max_seqs=1
same=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
for last in 17 18 19; do echo "{\"prompt\": [$same,$last], \"output_len\": 3}"; done >prompts.jsonl
sed 's/^max_len: .*/max_len: 32/; s/kv_blocks: .*/kv_blocks: 8/' one.yaml >apart.yaml
sed 's/^deterministic: true/&\nprefix_cache: true/' apart.yaml >shared.yaml
for kind in apart shared; do
    expect 0 "$PROGRAM" run $kind.yaml --weights model --prompts prompts.jsonl --tokens $kind.tokens \
        --requests $kind.csv
done
cmp apart.tokens shared.tokens || fail "another answer when blocks are shared"
[ "$(cut -d, -f5 apart.csv | tr '\n' ' ')" = "reused_tokens 0 0 0 " ] || fail "$(cat apart.csv)"
[ "$(cut -d, -f5 shared.csv | tr '\n' ' ')" = "reused_tokens 0 16 16 " ] || fail "$(cat shared.csv)"
if [ "$ranks" = 2 ]; then
    # where caches are handed over, prompts share them before
    cat >handed.yaml <<'EOF'
format: shardwright-plan
version: 1
model: model
dtype: f32
kv_dtype: f32
max_len: 32
deterministic: true
prefix_cache: true
n_ranks: 2
replicas:
  - {role: prefill, max_seqs: 1, max_tokens: 16, kv_blocks: 8,
     stages: [{first_layer: 0, end_layer: 4, kind: core, ranks: [0]}]}
  - {role: decode, max_seqs: 4, max_tokens: 16, kv_blocks: 8,
     stages: [{first_layer: 0, end_layer: 4, kind: core, ranks: [1]}]}
EOF
    "$PROGRAM" --check-file handed.yaml
    expect 0 "$PROGRAM" run handed.yaml --weights model --prompts prompts.jsonl \
        --tokens handed.tokens --requests handed.csv
    cmp apart.tokens handed.tokens || fail "another answer when shared blocks are handed over"
    [ "$(cut -d, -f5 handed.csv | tr '\n' ' ')" = "reused_tokens 0 16 16 " ] || fail "$(cat handed.csv)"
fi

say report
expect 0 "$PROGRAM" report --db costs.db -o report --reproducible
has '</html>' report/report.html
[ -s report/figures.csv ] || fail "no figures.csv"

say gate
for i in 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33; do echo "100.$i"; done >a
for i in 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33; do echo "80.$i"; done >b
expect 0 "$PROGRAM" gate --measured-a a --measured-b a
expect 1 "$PROGRAM" gate --measured-a a --measured-b b

say "what cannot be"
expect 2 "$PROGRAM" run missing.yaml
expect 2 "$PROGRAM" plan model --cluster cluster.yaml --workload cluster.yaml
sed 's/256MiB/1MiB/' cluster.yaml >small.yaml
expect 1 "$PROGRAM" plan model --cluster small.yaml --workload workload.yaml --dtype f32 \
    --db costs.db -o no.yaml
[ ! -e no.yaml ] || fail "a plan was written though there is none"
echo "ok"
