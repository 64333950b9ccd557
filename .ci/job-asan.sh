#!/bin/sh
# Address and undefined-behaviour sanitizers over everything that runs without MPI.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build --preset asan -- -j "$(nproc)" --quiet
# Brute force is slow with sanitizers: fewer instances.
SHARDWRIGHT_INSTANCES=15 ctest --preset asan
