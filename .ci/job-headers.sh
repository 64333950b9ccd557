#!/bin/sh
# Every header compiles by itself.
set -eu
cd "$(dirname "$0")/.."
cmake --preset dev >/dev/null
cmake --build build/dev --target all_verify_interface_header_sets -- -j "$(nproc)" --quiet
