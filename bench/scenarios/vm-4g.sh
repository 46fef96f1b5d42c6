#!/usr/bin/env bash
# vm-4g.sh [CONNECTIONS]: a small virtual machine, as which a memory cgroup of LIMIT (4G)
# serves: all servers are in it, Redis and Kafka too, and what the kernel holds for their
# sockets; the clients are outside. CONNECTIONS (500,000) in as many gateways as the limit of
# open files asks for, one push to all and one to a room of all; then, with one gateway,
# the scenarios of one-machine.sh that are named in SCENARIOS (fanout mixed).
#
# As root: it makes the cgroup. A virtual machine has its number of cores besides: start
# this under taskset -c 0-3, of the servers and clients together, where there are more.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
export LIMIT=${LIMIT:-4G}
LABEL="in $LIMIT" "$here/density.sh" "${1:-500000}" "${2:-19000}"
for s in ${SCENARIOS-fanout mixed}; do "$here/one-machine.sh" "$s"; done
