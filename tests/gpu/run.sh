#!/bin/sh
# Builds the CUDA module on a machine with a GPU, checks every kernel against its reference and times it.
# usage: tests/gpu/run.sh [build directory]
# Writes gpu_ops.json and gpu_ops.txt into $OUT (default: the build directory). Status 77: no GPU or toolkit.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build/gpu}
out=${OUT:-$build}
PATH=$PATH:/usr/local/cuda/bin
export PATH
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep -q GPU; then
    echo "skipped: no NVIDIA GPU here (nvidia-smi lists none)" >&2
    exit 77
fi
if ! command -v nvcc >/dev/null; then
    echo "skipped: no CUDA toolkit here (nvcc is not on PATH)" >&2
    exit 77
fi
# native: only for the GPU that is here
cmake --preset release -B "$build" -DSHARDWRIGHT_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native
cmake --build "$build" --target gpu_ops shardwright-cuda -- -j "$(nproc)"
mkdir -p "$out"
status=0
SHARDWRIGHT_CUDA_MODULE=$build/shardwright-cuda.so "$build/tests/gpu/gpu_ops" "$out/gpu_ops.json" \
    >"$out/gpu_ops.txt" || status=$?
cat "$out/gpu_ops.txt"
exit "$status"
