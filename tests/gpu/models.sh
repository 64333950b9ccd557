#!/bin/bash
# Every architecture on a GPU against PyTorch's logits and tokens (tests/reference/fixtures); with a cache in bf16
# against the same on a CPU; with GPU_RANKS set, two ranks, tensor and pipeline parallel, against PyTorch too.
# usage: models.sh PROGRAM COMPARE_LOGITS FIXTURES [NAME...]    status 77: no GPU here
set -u
program=$1 compare=$2 fixtures=$3
shift 3
names=${*:-llama-f32 llama-bf16 qwen3-f32 qwen3-bf16 qwen3-moe-f32 qwen3-moe-bf16 mixtral-f32 mixtral-bf16 deepseek-v3-f32 deepseek-v3-bf16 deepseek-lite-f32 gpt-oss-f32 gpt-oss-bf16}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

case ${SHARDWRIGHT_CUDA_MODULE:-} in
*emulated*) ;;
*)
    if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
        echo "skipped: no NVIDIA GPU here (no /dev/nvidia0 or other, nvidia-smi lists none)" >&2
        exit 77
    fi
    ;;
esac

# stage FIRST END TP RANKS
stage() {
    echo "      - {first_layer: $1, end_layer: $2, tp: $3, kind: gpu, device: cuda, ranks: [$4]}"
}
# plan DTYPE KV_DTYPE RANKS IN_FLIGHT STAGE...
plan() {
    printf '%s\n' "format: shardwright-plan" "version: 1" "model: $fixture" "dtype: $1" "kv_dtype: $2" \
        "block_tokens: 4" "max_len: 112" "n_ranks: $3" "replicas:" "  - max_seqs: 4" "    max_tokens: 8" \
        "    in_flight: $4" "    kv_blocks: 36" "    stages:"
    shift 4
    printf '%s\n' "$@"
}
# execute DEVICE OUT: the plan OUT.yaml
execute() {
    "$program" run "$2.yaml" --device "$1" --weights "$fixture" --prompts "$fixture/prompts.jsonl" \
        --tokens "$2.tokens" --logits "$2.logits" --quiet >"$2.txt" 2>&1 && return
    echo "WRONG  $name: run failed"
    cat "$2.txt"
    failed=1
    return 1
}
# run LAYOUT TOLERANCE LOGITS TOKENS: a plan on stdin; what it gives must be that of the files
run() {
    local out=$scratch/$name-$1
    cat >"$out.yaml"
    execute cuda "$out" || return
    local verdict said
    said=$("$compare" "$out.logits" "$3" "$2") && verdict=ok || verdict=WRONG
    cmp -s "$out.tokens" "$4" || { verdict=WRONG; said="$said; other tokens"; }
    [ $verdict = ok ] || failed=1
    echo "$verdict  $name $1: $said"
}

for name in $names; do
    fixture=$fixtures/$name
    layers=$(sed -n 's/.*"num_hidden_layers": \([0-9]*\).*/\1/p' "$fixture/config.json")
    half=$((layers / 2))
    wanted="$fixture/logits.f32 $fixture/tokens.jsonl"
    dtype=f32 tolerance=1e-4
    case $name in
    *-bf16) dtype=bf16 tolerance=2e-2 ;;
    esac
    # shellcheck disable=SC2086
    plan $dtype f32 1 1 "$(stage 0 "$layers" 1 0)" | run one $tolerance $wanted
    if [ $dtype = bf16 ]; then
        plan bf16 bf16 1 1 "$(stage 0 "$layers" 1 0)" >"$scratch/cpu.yaml"
        execute cpu "$scratch/cpu" &&
            run bf16-cache $tolerance "$scratch/cpu.logits" "$scratch/cpu.tokens" <"$scratch/cpu.yaml"
    elif [ -n "${GPU_RANKS:-}" ] && command -v mpirun >/dev/null; then
        # shellcheck disable=SC2086
        plan f32 f32 2 1 "$(stage 0 "$layers" 2 '0, 1')" | run tp2 $tolerance $wanted
        # shellcheck disable=SC2086
        plan f32 f32 2 2 "$(stage 0 $half 1 0)" "$(stage $half "$layers" 1 1)" | run pp2 $tolerance $wanted
    fi
done
exit $failed
