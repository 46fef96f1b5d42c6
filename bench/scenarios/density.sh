#!/usr/bin/env bash
# density.sh [CONNECTIONS [PER_GATEWAY]]: as many connections as the machine holds, both
# ends on it: so many gateways as the limit of open files asks for, each a node of one
# cluster with Redis and Kafka; then one push to all and one to a room that all are in,
# which must reach every one. 1,000,000 takes 20 GB of memory, as root (for the limits
# that tune.sh names, and to read the kernel's memory).
#
# With LIMIT=4G all servers, Redis and Kafka too, are in a memory cgroup of that size,
# the kernel's share for their sockets included; clients are outside.
set -euo pipefail
connections=${1:-1000000}
per_gateway=${2:-19000}
here=$(dirname "${BASH_SOURCE[0]}")
if [ -n "${LIMIT:-}" ]; then
  # shellcheck source=bench/scenarios/cgroup.sh
  source "$here/cgroup.sh"
  make_cgroup "$LIMIT"
fi
# shellcheck source=bench/scenarios/lib.sh
source "$here/lib.sh"

gateways=$(((connections + per_gateway - 1) / per_gateway))
echo "starting $gateways gateways"
cluster "$gateways" --gateway.max-connections "$per_gateway" --gateway.loops "${LOOPS:-1}"
measure "${LABEL:-density}" connect -n "$connections" --procs "$gateways" --hold "${HOLD:-30s}" --heartbeat "${HEARTBEAT:-0s}" --patience 5m --cool-down 60s --reach all,room
exit $failed
