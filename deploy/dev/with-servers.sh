#!/usr/bin/env bash
# with-servers.sh CMD...: runs CMD beside a real Redis and a real Kafka, which it
# names in HALLEY_TEST_REDIS and HALLEY_TEST_KAFKA (host:port). A variable that is
# already set means: use that server, start none. The status is that of CMD.
set -euo pipefail
here=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")")
[ $# -gt 0 ] || {
  echo "usage: ${0##*/} CMD..." >&2
  exit 2
}

dir=$(mktemp -d)
cleanup() {
  trap '' INT TERM HUP # a second ^C must not leave a server behind
  "$here/redis.sh" stop "$dir/redis" || true
  "$here/kafka.sh" stop "$dir/kafka" || true
  rm -rf "$dir"
}
trap cleanup EXIT

# interrupted passes the signal on to CMD and all it started, waits up to 10 s
# for them to end, and lets the EXIT trap do the rest.
cmd=
interrupted() {
  trap '' INT TERM HUP
  if [ -n "$cmd" ]; then
    kill -s "$1" -- "-$cmd" 2>/dev/null || true
    for _ in {1..100}; do
      kill -0 -- "-$cmd" 2>/dev/null || break
      sleep 0.1
    done
    kill -s KILL -- "-$cmd" 2>/dev/null || true
  fi
  exit "$2"
}
trap 'interrupted INT 130' INT
trap 'interrupted TERM 143' TERM
trap 'interrupted HUP 129' HUP

if [ -z "${HALLEY_TEST_REDIS:-}" ]; then
  HALLEY_TEST_REDIS=$("$here/redis.sh" start "$dir/redis")
fi
if [ -z "${HALLEY_TEST_KAFKA:-}" ]; then
  HALLEY_TEST_KAFKA=$("$here/kafka.sh" start "$dir/kafka")
fi
export HALLEY_TEST_REDIS HALLEY_TEST_KAFKA

# In the background, because bash runs no trap while it waits for a command in
# the foreground; with job control, because CMD is then a process group of its
# own that one signal reaches as a whole. Such a group may not read the terminal.
[ ! -t 0 ] || exec </dev/null
set -m
"$@" &
cmd=$!
set +m
wait "$cmd"
