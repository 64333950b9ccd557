#!/bin/sh
# Clang builds it without warnings.
set -eu
cd "$(dirname "$0")/.."
CC=clang cmake --preset dev -B build/clang -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
cmake --build build/clang -- -j "$(nproc)" --quiet
