#!/bin/sh
# Help fits 80 columns, every command has it, and it goes to stdout with status 0.
# usage: .ci/check-help.sh <program>
set -eu
program=$1
bad=0
fits() {
    text=$("$@") || { echo "$*: status $?"; bad=1; return; }
    [ -n "$text" ] || { echo "$*: prints nothing"; bad=1; }
    long=$(printf '%s\n' "$text" | awk 'length > 80')
    [ -z "$long" ] || { printf '%s: wider than 80 columns:\n%s\n' "$*" "$long"; bad=1; }
}
fits "$program" --help
n=0
for command in $("$program" --help | awk '/^Commands/ {on = 1; next} /^$/ {on = 0} on && /^  [a-z]/ {print $1}')
do
    fits "$program" "$command" --help
    n=$((n + 1))
done
[ "$n" -ge 1 ] || { echo "no commands found in the help"; bad=1; }
exit $bad
