#!/bin/sh
# Every shipped example parses.
# usage: .ci/check-examples.sh <program>
set -eu
program=$1
n=0
for file in examples/*.yaml; do
    [ -f "$file" ] || { echo "no examples"; exit 1; }
    "$program" --check-file "$file" || exit 1
    n=$((n + 1))
done
echo "$n examples parse"
