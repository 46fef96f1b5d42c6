#!/usr/bin/env bash
# fuzz.sh SECONDS: fuzzes each target of the module for so long, one after
# another (go test takes one target of one package at a time).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# = 1 ] || {
  echo "usage: ${0##*/} SECONDS" >&2
  exit 2
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz DIR TARGET SECONDS. Before Go 1.27 a run that finds nothing may still end as
# failed, with this line and no failing input, when a worker is busy as the time
# runs out (go.dev/issue/75804); that alone is no failure.
# Minimising an input that is merely interesting may take all of the time, so it is
# bounded by tries.
fuzz() {
  echo "fuzz $2 in $1"
  go test -run '^$' -fuzz "^$2\$" -fuzztime "${3}s" -fuzzminimizetime 20x "$1" 2>&1 | tee "$log" && return
  grep -qx '    context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"
}

targets=$(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sort) || {
  echo "${0##*/}: no fuzz target found" >&2
  exit 1
}
while IFS=: read -r file func; do
  name=${func#func }
  fuzz "$(dirname "$file")" "${name%(}" "$1"
done <<<"$targets"
