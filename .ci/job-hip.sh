#!/bin/sh
# With hipcc the GPU module compiles for AMD; a GPU is not needed. It is not run anywhere.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/opt/rocm/bin
if ! command -v hipcc >/dev/null; then
    echo "no hipcc here: skipped"
    exit 0
fi
mkdir -p build
kernels/cuda/hip/build.sh build/shardwright-hip.so
nm -D build/shardwright-hip.so | grep -q ' shardwright_cuda$'
