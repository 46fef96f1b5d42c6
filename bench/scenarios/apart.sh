#!/usr/bin/env bash
# apart.sh: clients on machines of their own, servers on others. Run it where the pushes
# shall come from; it needs halley on every machine of clients.
#
#   SERVER_WS     where clients connect, commas between several: ws://10.0.0.5:3102/sub
#   SERVER_REST   http://10.0.0.6:3111
#   CLIENTS       how a shell is had on each machine of clients, with semicolons between:
#                 'ssh client1;ssh client2' (or 'ip netns exec client1', to try it here)
#   HALLEY        halley there and here (halley)
#   PER_MACHINE   processes of clients on each (2)
#   CONNECTIONS   clients in all (100,000), of which none has an address in 127.0.0.0/8:
#                 a machine has 28,000 ports towards one address of a server
#
# The servers must listen on those addresses, with auth.insecure_open and api.insecure_open
# in a network of your own. Their CPU and memory are not seen from here: look at their
# /metrics. Clocks need not agree, they are compared at the beginning; the error is in the result.
set -euo pipefail
: "${SERVER_WS:?where clients connect}" "${SERVER_REST:?where pushes go}" "${CLIENTS:?how to reach the machines of clients}"
halley=${HALLEY:-halley} connections=${CONNECTIONS:-100000}
results=${RESULTS:-.}

workers=()
IFS=';' read -ra machines <<<"$CLIENTS"
for m in "${machines[@]}"; do workers+=(--worker "$m $halley bench worker clients"); done
common=(--addr "$SERVER_WS" --rest "$SERVER_REST" "${workers[@]}" --procs $((${#machines[@]} * ${PER_MACHINE:-2})) --source-net 0)

failed=0
measure() {
  local command=$1
  shift
  echo "== $command"
  "$halley" bench "$command" "${common[@]}" --label apart --json "$results/$command-apart-$(date -u +%H%M%S).json" "$@" || failed=1
}
measure connect -n "$connections" --hold 10s
measure fanout -n $((connections / 10)) -r 20
measure latency -n $((connections / 10)) -r 5
measure push -n 1000 --to mids
exit $failed
