#!/bin/sh
# Clang builds it without warnings, the programs of benchmarks too.
set -eu
cd "$(dirname "$0")/.."
CC=clang cmake --preset dev -B build/clang -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build build/clang -- -j "$(nproc)" --quiet
cmake --build build/clang --target benches -- -j "$(nproc)" --quiet
