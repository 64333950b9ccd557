#!/bin/sh
# With a CUDA toolkit the GPU module compiles and links, without warnings; a GPU is not needed.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/cuda/bin
if ! command -v nvcc >/dev/null; then
    echo "no CUDA toolkit here: skipped"
    exit 0
fi
cmake --preset dev -B build/cuda -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DSHARDWRIGHT_CUDA=ON >/dev/null
cmake --build build/cuda -- -j "$(nproc)" --quiet
build/cuda/shardwright version | grep -q '^with .*CUDA'
