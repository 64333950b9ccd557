#!/bin/sh
# The runtime is not slower than its baseline: the commit in GATE_BASELINE, or the parent of this one.
# Short form of the gate: sees slow-downs of 10 %. Too noisy to say is not a failure here.
set -eu
cd "$(dirname "$0")/.."
base=$(git rev-parse --verify -q "${GATE_BASELINE:-HEAD~1}^{commit}" || git rev-parse HEAD)
cmake --preset release >/dev/null
cmake --build --preset release --target shardwright -- -j "$(nproc)" --quiet
candidate=$(pwd)/build/release/shardwright
baseline=$candidate
work=$(pwd)/build/gate
mkdir -p "$work"

if [ "$base" != "$(git rev-parse HEAD)" ]; then
    rm -rf "$work/tree"
    git clone -q --shared --no-checkout . "$work/tree"
    git -C "$work/tree" checkout -q "$base"
    baseline=$work/build/shardwright
    if ! (cmake -S "$work/tree" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSHARDWRIGHT_TESTS=OFF &&
        cmake --build "$work/build" --target shardwright -- -j "$(nproc)" --quiet) >"$work/build.log" 2>&1
    then
        echo "the baseline $base does not build: compared with itself"
        baseline=$candidate
    fi
fi

cd "$work"
cat >workload.yaml <<'EOF'
format: shardwright-workload
version: 1
name: gate
requests: 8
seed: 1
prompt: {dist: uniform, min: 32, max: 96}
output: {dist: constant, mean: 24}
EOF
"$candidate" --quiet doctor --cluster -o cluster.yaml
"$candidate" --quiet plan qwen3-moe-small --cluster cluster.yaml --workload workload.yaml \
    --force tp=1,pp=1,dp=1 -o plan.yaml >plan.txt
status=0
"$candidate" gate --short --baseline plan.yaml --candidate plan.yaml --workload workload.yaml \
    --baseline-program "$baseline" --candidate-program "$candidate" \
    --baseline-args="--random 1" --candidate-args="--random 1" \
    --junit gate.xml --markdown gate.md -o gate.json || status=$?
case $status in
0) ;;
5) echo "inconclusive on this machine: not counted" ;;
*) exit "$status" ;;
esac
