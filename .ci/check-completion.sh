#!/bin/bash
# The completion script loads and completes commands and options.
# usage: .ci/check-completion.sh <program>
set -eu
script=$(mktemp)
trap 'rm -f "$script"' EXIT
"$1" --completion >"$script"
# shellcheck source=/dev/null
. "$script"
complete_line() { # words, the last one is completed
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _shardwright
    echo "${COMPREPLY[*]}"
}
[ "$(complete_line shardwright versi)" = version ]
[ "$(complete_line shardwright version --js)" = --json ]
[ -z "$(complete_line shardwright version file)" ]
if command -v shellcheck >/dev/null; then shellcheck -s bash "$script"; fi
