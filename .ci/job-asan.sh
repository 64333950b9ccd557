#!/bin/sh
# Address and undefined-behaviour sanitizers over everything that runs without MPI.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build --preset asan -- -j "$(nproc)" --quiet
# intercept_tls_get_addr=0 (in the preset): GCC 12's runtime takes a thread-local block that happens to lie
# at a certain offset of a page for one with a header, and its leak check then dies (google/sanitizers#1353).
# Brute force is slow with sanitizers: fewer instances.
SHARDWRIGHT_INSTANCES=15 ctest --preset asan
