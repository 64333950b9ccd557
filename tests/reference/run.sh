#!/bin/bash
# Runs a fixture under every layout and compares with the reference and with one another.
# usage: run.sh PROGRAM COMPARE_LOGITS FIXTURE single|ranks
#   single: layouts of one rank; ranks: those of 2 and 4 ranks, under the MPI launcher
# Prefill is chunked (8 tokens a step) and the cache is so small that sequences are preempted.
set -eu
program=$1 compare=$2 fixture=$3 part=$4
name=$(basename "$fixture")
dtype=${name##*-}
tolerance=1e-4
[ "$dtype" = bf16 ] && tolerance=2e-2
[ "$dtype" = f16 ] && dtype=f32 # what f16 weights are widened to
layers=$(sed -n 's/.*"num_hidden_layers": \([0-9]*\).*/\1/p' "$fixture/config.json")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

if [ "$part" = ranks ] && ! command -v mpirun >/dev/null; then
    echo "skipped: no MPI launcher (apt install openmpi-bin)"
    exit 77
fi

# stage FIRST END TP EP ADP THREADS RANKS
stage() {
    echo "      - {first_layer: $1, end_layer: $2, tp: $3, ep: $4, attention_dp: $5, threads: $6," \
        "kind: cpu, ranks: [$7]}"
}
# replica IN_FLIGHT STAGE...
replica() {
    echo "  - max_seqs: 4"
    echo "    max_tokens: 8"
    echo "    in_flight: $1"
    echo "    kv_blocks: 36"
    echo "    stages:"
    shift
    printf '%s\n' "$@"
}
# plan DETERMINISTIC RANKS REPLICA...
plan() {
    printf '%s\n' "format: shardwright-plan" "version: 1" "model: $fixture" "dtype: $dtype" \
        "kv_dtype: f32" "block_tokens: 4" "max_len: 112" "deterministic: $1" "n_ranks: $2" "replicas:"
    shift 2
    printf '%s\n' "$@"
}

check() { # LAYOUT MODE: what a run left behind
    local out=$scratch/$1-$2
    if ! cmp -s "$out.tokens" "$fixture/tokens.jsonl"; then
        echo "$1 $2: other tokens than the reference"
        diff "$out.tokens" "$fixture/tokens.jsonl" | head -4
        failed=1
    fi
    echo -n "$1 $2: "
    "$compare" "$out.logits" "$fixture/logits.f32" $tolerance || failed=1
    if [ "$2" = true ] && ! cmp "$out.logits" "$scratch/one-true.logits"; then
        echo "$1: deterministic logits differ from those of one rank with one thread"
        failed=1
    fi
}

run() { # LAYOUT RANKS REPLICA...
    local layout=$1 ranks=$2 mode out
    shift 2
    for mode in true false; do
        out=$scratch/$layout-$mode
        plan $mode "$ranks" "$@" >"$out.yaml"
        if ! "$program" run "$out.yaml" --weights "$fixture" --prompts "$fixture/prompts.jsonl" \
            --tokens "$out.tokens" --logits "$out.logits" --json --quiet >"$out.json"; then
            echo "$layout $mode: run failed"
            failed=1
            continue
        fi
        check "$layout" $mode
    done
}

# The same layout again, drawing from the logits: the draws must not depend on the layout.
sampled() { # LAYOUT
    local out=$scratch/$1-sampled
    if ! "$program" run "$scratch/$1-true.yaml" --weights "$fixture" --prompts "$fixture/prompts.jsonl" \
        --workload "$scratch/sampled.yaml" --tokens "$out.tokens" --json --quiet >"$out.json"; then
        echo "$1 sampled: run failed"
        failed=1
    elif ! cmp "$out.tokens" "$scratch/one-sampled.tokens"; then
        echo "$1 sampled: other tokens than one rank with one thread"
        failed=1
    fi
}
printf '%s\n' "format: shardwright-workload" "version: 1" "name: sampled" "requests: 1" \
    "prompt: {mean: 1}" "output: {mean: 1}" \
    "sampling: {temperature: 0.8, top_k: 40, top_p: 0.95, seed: 3}" >"$scratch/sampled.yaml"

half=$((layers / 2))
run one 1 "$(replica 1 "$(stage 0 "$layers" 1 1 1 1 0)")"
if ! grep -A4 '"preemptions"' "$scratch/one-true.json" | grep -q '"measured": [1-9]'; then
    echo "nothing was preempted: the test does not try what it should"
    failed=1
fi
sampled one
if cmp -s "$scratch/one-sampled.tokens" "$fixture/tokens.jsonl"; then
    echo "sampling gave the greedy tokens: the test does not try what it should"
    failed=1
fi
if [ "$part" = single ]; then
    run threads 1 "$(replica 1 "$(stage 0 "$layers" 1 1 1 2 0)")"
    sampled threads
    exit $failed
fi
run tp2 2 "$(replica 1 "$(stage 0 "$layers" 2 1 1 1 '0, 1')")"
sampled tp2
run pp2 2 "$(replica 2 "$(stage 0 $half 1 1 1 1 0)" "$(stage $half "$layers" 1 1 1 1 1)")"
sampled pp2
run uneven 2 "$(replica 1 "$(stage 0 $((layers - 1)) 1 1 1 1 0)" \
    "$(stage $((layers - 1)) "$layers" 1 1 1 1 1)")"
run dp2 2 "$(replica 1 "$(stage 0 "$layers" 1 1 1 1 0)")" "$(replica 1 "$(stage 0 "$layers" 1 1 1 1 1)")"
run tp2pp2 4 "$(replica 2 "$(stage 0 $half 2 1 1 1 '0, 1')" "$(stage $half "$layers" 2 1 1 1 '2, 3')")"
case $name in
*moe* | mixtral* | deepseek* | gpt-oss*)
    run tp2ep2 2 "$(replica 1 "$(stage 0 "$layers" 2 2 1 1 '0, 1')")"
    run adp2ep2 2 "$(replica 1 "$(stage 0 "$layers" 1 2 2 1 '0, 1')")"
    run tp4ep4 4 "$(replica 1 "$(stage 0 "$layers" 4 4 1 1 '0, 1, 2, 3')")"
    run adp2ep2pp2 4 "$(replica 2 "$(stage 0 $half 1 2 2 1 '0, 1')" \
        "$(stage $half "$layers" 1 2 2 1 '2, 3')")"
    ;;
*)
    run tp1pp2tp2 3 "$(replica 2 "$(stage 0 $half 1 1 1 1 0)" "$(stage $half "$layers" 2 1 1 1 '1, 2')")"
    ;;
esac
exit $failed
