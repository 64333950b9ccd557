#!/bin/bash
# Everything that wants a GPU, in one call of under nine minutes: checks every kernel against its reference, times it,
# runs whole models against PyTorch's logits and steps of the size of Qwen3-8B, and lets compute-sanitizer look on.
# usage: tests/gpu/run.sh [build directory]
#
# Parts are apart: each has a time limit and a status of its own, and what one of them wrote stays when another fails.
# Nothing here needs another part to have passed, and nothing is written anywhere but below $OUT and the build directory.
# Writes into $OUT (default: the build directory): status.txt, one log for each part, gpu_ops.json, gpu.json (the
# figures of tests/bench/gpu and of the steps). On a machine that cannot build the program, put what
# tests/gpu/pack.sh made on another one at build/gpu-pack. Status: 0 all parts ok, 1 not all, 77 no GPU or nothing to run.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build/gpu}
out=${OUT:-$build}
PATH=$PATH:/usr/local/cuda/bin
export PATH
began=$(date +%s)
mkdir -p "$out"
: >"$out/status.txt"
skip() { # REASON
    echo "skipped: $1" | tee -a "$out/status.txt" >&2
    exit 77
}
# Containers often have the driver and the device without the tools.
if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
    skip "no NVIDIA GPU here (no /dev/nvidia0 or other, nvidia-smi lists none)"
fi
pack=build/gpu-pack
if [ -x $pack/shardwright ]; then
    bin=$pack
    chmod -R u+w $pack
    # cuBLASLt, NCCL and CUPTI of this machine, where they are not on the loader's path: those of Python's packages.
    libraries=$(python3 -c 'import glob, site, sys
roots = site.getsitepackages() + [p for p in sys.path if p.endswith("-packages")]
print(":".join(sorted({d for r in roots for d in glob.glob(r + "/nvidia/*/lib")})))' 2>/dev/null)
    export LD_LIBRARY_PATH="$PWD/$pack/lib:${libraries:-}:/usr/local/cuda/lib64:/usr/local/cuda/extras/CUPTI/lib64:${LD_LIBRARY_PATH:-}"
    export SHARDWRIGHT_CUDA_MODULE=$PWD/$pack/shardwright-cuda.so
else
    if ! command -v nvcc >/dev/null; then
        skip "no CUDA toolkit here (nvcc is not on PATH), and no build/gpu-pack"
    fi
    # native: only for the GPU that is here
    if ! { timeout 60 cmake --preset release -B "$build" -DSHARDWRIGHT_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native &&
        timeout 240 cmake --build "$build" --target shardwright gpu_ops bench_gpu compare_logits shardwright-cuda \
            -- -j "$(nproc)"; } >"$out/build.log" 2>&1; then
        tail -20 "$out/build.log"
        skip "it cannot be built here in four minutes: run tests/gpu/pack.sh elsewhere and bring build/gpu-pack"
    fi
    bin=$build
    export SHARDWRIGHT_CUDA_MODULE=$PWD/$build/shardwright-cuda.so
fi
find_program() { # NAME
    find "$bin" -name "$1" -type f -perm -u+x | head -n 1
}
program=$(find_program shardwright) ops=$(find_program gpu_ops) bench=$(find_program bench_gpu)
compare=$(find_program compare_logits)

failed=0
# part NAME SECONDS COMMAND...: runs it, keeps its output and its status
part() {
    local name=$1 most=$2 status=0 start
    shift 2
    start=$(date +%s)
    if [ $((start - began + most)) -gt 535 ]; then
        echo "$name: left out, no time" | tee -a "$out/status.txt"
        failed=1
        return
    fi
    echo "== $name"
    timeout -k 5 "$most" "$@" >"$out/$name.log" 2>&1 || status=$?
    tail -n "${SHOW:-4}" "$out/$name.log" | cut -c 1-200
    [ $status = 0 ] || failed=1
    echo "$name: status $status, $(($(date +%s) - start)) s" | tee -a "$out/status.txt"
}

part machine 20 sh -c 'nvidia-smi; nvcc --version; uname -a; nproc; free -g; true'
SHOW=12 part ops 100 "$ops" --json "$out/gpu_ops.json"
grep -h WRONG "$out/ops.log" | head -20
SHOW=60 part bench 120 tests/bench/gpu --program "$bench" --json "$out/gpu.json"
SHOW=20 part models 90 tests/gpu/models.sh "$program" "$compare" tests/reference/fixtures
SHOW=12 part steps 150 python3 tests/gpu/steps.py "$program" "$out/gpu.json"
if command -v compute-sanitizer >/dev/null; then
    part memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 "$ops" --small --seed 2
    part racecheck 60 compute-sanitizer --tool racecheck --error-exitcode 9 "$ops" --small --seed 3
else
    echo "memcheck, racecheck: left out, no compute-sanitizer here" | tee -a "$out/status.txt"
fi
if command -v mpirun >/dev/null; then
    # a host of its own for each rank: NCCL refuses two ranks on one GPU of one host
    part ranks 60 env GPU_RANKS=1 tests/gpu/models.sh "$program" "$compare" tests/reference/fixtures qwen3-f32
else
    echo "ranks: left out, no mpirun here" | tee -a "$out/status.txt"
fi
echo "== summary"
cat "$out/status.txt"
exit $failed
