#!/bin/sh
# Thread sanitizer over everything that runs without MPI.
set -eu
cd "$(dirname "$0")/.."
cmake --preset tsan >/dev/null
cmake --build --preset tsan -- -j "$(nproc)" --quiet
ctest --preset tsan -LE '^(gpu|mpi|slow|lint)$'
