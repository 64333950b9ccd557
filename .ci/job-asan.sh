#!/bin/sh
# Address and undefined-behaviour sanitizers over everything that runs without MPI, and over a little that runs with it.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build --preset asan -- -j "$(nproc)" --quiet
# intercept_tls_get_addr=0 (in the preset): GCC 12's runtime takes a thread-local block that happens to lie
# at a certain offset of a page for one with a header, and its leak check then dies (google/sanitizers#1353).
# Brute force is slow with sanitizers: fewer instances.
SHARDWRIGHT_INSTANCES=15 ctest --preset asan
# Several ranks, few plans. MPI libraries leak in plugins that are gone when leaks are named, so leaks are not looked for.
if [ -x build/asan/tests/mpi/mpi_plan_space ]; then
    ASAN_OPTIONS=intercept_tls_get_addr=0:detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 SOURCE_DIR=$PWD
    export ASAN_OPTIONS UBSAN_OPTIONS SOURCE_DIR
    build/asan/tests/mpi/mpi_core_ranks 2
    build/asan/tests/mpi/mpi_kernels_coll 2
    build/asan/tests/mpi/mpi_plan_space 2 3
fi
