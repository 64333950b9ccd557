#!/bin/sh
# Man pages pass groff without a warning.
# usage: .ci/check-man.sh <program>
set -eu
program=$1
command -v groff >/dev/null || { echo "no groff here" >&2; exit 77; }
page=$(mktemp)
trap 'rm -f "$page"' EXIT
bad=0
check() {
    "$@" --help-roff >"$page"
    warnings=$(groff -mandoc -ww -Tutf8 "$page" 2>&1 >/dev/null) || bad=1
    [ -z "$warnings" ] || { printf '%s: %s\n' "$*" "$warnings"; bad=1; }
    groff -mandoc -Tascii -P-cbou "$page" | grep -q 'EXIT STATUS' || { echo "$*: no page"; bad=1; }
}
check "$program"
for command in $("$program" --help | awk '/^Commands/ {on = 1; next} /^$/ {on = 0} on && /^  [a-z]/ {print $1}')
do
    check "$program" "$command"
done
exit $bad
