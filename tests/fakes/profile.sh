#!/bin/sh
# GPUs are profiled and planned for as CPUs are, and never more of them than there are. With $PROGRAM and the stand-in
# for the CUDA module, which has one GPU that computes nothing.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
cluster() { # GPUs
    printf '%s\n' "format: shardwright-cluster" "version: 1" "name: gpus" \
        "kinds: [{name: gpu, type: cuda, memory: 1GiB}]" "nodes: [{name: here, kind: gpu, devices: $1}]"
}
cluster 1 >one.yaml
cluster 2 >two.yaml
printf '%s\n' "format: shardwright-workload" "version: 1" "name: few" "requests: 4" \
    "prompt: {mean: 8}" "output: {mean: 4}" >few.yaml
"$PROGRAM" profile tiny-qwen3 --cluster one.yaml --workload few.yaml --db costs.db --dtype bf16 \
    --max-tokens 16 --max-seqs 4 --point-budget 2ms --budget 1s >out 2>&1
grep -q ' measured in ' out || { cat out; exit 1; }
"$PROGRAM" plan tiny-qwen3 -c one.yaml -w few.yaml --db costs.db -o plan.yaml >out 2>&1
grep -q 'device: cuda' plan.yaml || { cat plan.yaml; exit 1; }
status=0
"$PROGRAM" profile tiny-qwen3 --cluster two.yaml --workload few.yaml --db other.db >out 2>&1 || status=$?
if [ $status != 2 ] || ! grep -q 'two.yaml:5:16: node here has 2 GPUs, this machine has 1' out; then
    cat out
    exit 1
fi
