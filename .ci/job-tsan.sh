#!/bin/sh
# Thread sanitizer over the tests where threads meet: the pool and what runs on it, collectives through shared
# memory, the serving loop, a whole model on two threads. Everything else: cmake --build --preset tsan; ctest --preset tsan
set -eu
cd "$(dirname "$0")/.."
units='kernels_coll kernels_dev kernels_variants runtime_sample runtime_serve'
targets=reference
for unit in $units; do
    targets="$targets test_$unit"
done
cmake --preset tsan -DCMAKE_COMPILE_WARNING_AS_ERROR=ON >/dev/null
# shellcheck disable=SC2086 # words
cmake --build --preset tsan --target $targets -- -j "$(nproc)" --quiet
wanted=$(echo "$units" | tr ' ' '|')
# The first race ends a test.
TSAN_OPTIONS=halt_on_error=1 ctest --preset tsan -R "^unit\.test_($wanted)\$|^reference\.llama-f32\$"
