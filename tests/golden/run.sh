#!/bin/sh
# Run one golden test: tests/golden/run.sh <program> <case directory>
# The case runs in a scratch copy; stdout, stderr and status must match exactly.
# UPDATE=1 rewrites the expectations, to be reviewed in the diff. A cmd that ends
# with 77 where that was not expected could not run here, and says why on stderr.
set -eu
PROGRAM=$1; export PROGRAM
case_dir=$2
LC_ALL=C; export LC_ALL
unset NO_COLOR SHARDWRIGHT_ISA
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -R "$case_dir/." "$scratch"
cd "$scratch"
status=0
sh ./cmd >out.actual 2>err.actual </dev/null || status=$?
echo "$status" >status.actual
if [ "$status" = 77 ] && [ "$(cat status 2>/dev/null)" != 77 ]; then
    cat err.actual >&2; exit 77
fi
if [ "${UPDATE:-}" = 1 ]; then
    cp out.actual "$case_dir/stdout"; cp err.actual "$case_dir/stderr"
    cp status.actual "$case_dir/status"; exit 0
fi
rc=0
diff -u stdout out.actual || rc=1
diff -u stderr err.actual || rc=1
diff -u status status.actual || rc=1
exit $rc
