#!/bin/sh
# Thread sanitizer over everything that runs without MPI.
set -eu
cd "$(dirname "$0")/.."
cmake --preset tsan >/dev/null
cmake --build --preset tsan -- -j "$(nproc)" --quiet
# Brute force has one thread: few instances.
SHARDWRIGHT_INSTANCES=15 ctest --preset tsan -LE '^(gpu|mpi|slow|lint)$'
