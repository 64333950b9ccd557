#!/bin/sh
# Nothing in the tree names a developer's machine or one package host in place of another.
set -eu
git rev-parse --git-dir >/dev/null 2>&1 || { echo "not a git checkout" >&2; exit 77; }
bad=0
complain() {
    found=$(git grep -nIE "$1" -- . ':!.ci/check-paths.sh' ':!LICENSE' ":!docs/decisions/*.md" || true)
    [ -z "$found" ] || { printf '%s\n  (%s)\n' "$found" "$2"; bad=1; }
}
complain '(^|[^A-Za-z0-9_.])/(work|home/[a-z]|Users/[A-Za-z]|root/)' 'path of a developer'"'"'s machine'
complain '(deb\.debian\.org|pypi\.org|files\.pythonhosted|registry\.npmjs)/|huggingface\.co/[A-Za-z0-9_-]+/[A-Za-z0-9._-]+/resolve' \
    'host of a registry: the machine'"'"'s own settings decide'
exit $bad
