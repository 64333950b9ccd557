#!/bin/sh
# The same through the command line: `run` with a checkpoint, prompts from a file, and tokens and logits into files.
# usage: run.sh PROGRAM COMPARE_LOGITS FIXTURE
set -eu
program=$1 compare=$2 fixture=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/plan.yaml" <<END
format: shardwright-plan
version: 1
model: $fixture
dtype: f32
kv_dtype: f32
block_tokens: 4
max_len: 112
prefix_cache: true
n_ranks: 1
replicas:
  - max_seqs: 4
    max_tokens: 8
    kv_blocks: 36
    stages:
      - {first_layer: 0, end_layer: 4, tp: 1, kind: cpu, ranks: [0]}
END
# Twice the same prompts: the second time their first blocks are in the cache.
cat "$fixture/prompts.jsonl" "$fixture/prompts.jsonl" >"$scratch/prompts.jsonl"
"$program" run "$scratch/plan.yaml" --prompts "$scratch/prompts.jsonl" --tokens "$scratch/tokens" \
    --logits "$scratch/logits" --requests "$scratch/requests.csv" --json --quiet >"$scratch/out.json"
sed 's/.*"tokens"//' "$fixture/tokens.jsonl" "$fixture/tokens.jsonl" >"$scratch/want"
sed 's/.*"tokens"//' "$scratch/tokens" | cmp - "$scratch/want"
cat "$fixture/logits.f32" "$fixture/logits.f32" >"$scratch/want.f32"
"$compare" "$scratch/logits" "$scratch/want.f32" 1e-4
reused=$(awk -F, 'NR > 1 { n += $5 } END { print n }' "$scratch/requests.csv")
[ "$reused" -gt 0 ] || { echo "no prompt token was found in the cache"; exit 1; }
echo "$reused prompt tokens were found in the cache"
