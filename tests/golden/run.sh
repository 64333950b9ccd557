#!/bin/sh
# Run one golden test: tests/golden/run.sh <program> <case directory>
# The case runs in a scratch copy; stdout, stderr and status must match exactly.
# UPDATE=1 rewrites the expectations, to be reviewed in the diff.
set -eu
PROGRAM=$1; export PROGRAM
case_dir=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$case_dir/." "$scratch"
cd "$scratch"
status=0
sh ./cmd >out.actual 2>err.actual || status=$?
echo "$status" >status.actual
if [ "${UPDATE:-}" = 1 ]; then
    cp out.actual "$case_dir/stdout"; cp err.actual "$case_dir/stderr"
    cp status.actual "$case_dir/status"; exit 0
fi
rc=0
diff -u stdout out.actual || rc=1
diff -u stderr err.actual || rc=1
diff -u status status.actual || rc=1
exit $rc
