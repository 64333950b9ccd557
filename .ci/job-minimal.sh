#!/bin/sh
# Without MPI, CUDA, NCCL and CUPTI it builds, without warnings, and works.
set -eu
cd "$(dirname "$0")/.."
cmake --preset dev -B build/minimal -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DSHARDWRIGHT_MPI=OFF \
    -DSHARDWRIGHT_CUDA=OFF -DSHARDWRIGHT_NCCL=OFF -DSHARDWRIGHT_CUPTI=OFF >/dev/null
cmake --build build/minimal -- -j "$(nproc)" --quiet
build/minimal/shardwright version | grep -q '^without MPI CUDA NCCL CUPTI'
ctest --test-dir build/minimal --output-on-failure --no-tests=error -j 2 -L '^(golden|system)$' -LE '^(mpi|gpu|slow)$'
