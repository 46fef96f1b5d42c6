#!/usr/bin/env bash
# one-machine.sh [SCENARIO...]: halley split over Redis and Kafka on this machine, clients
# beside it, PAIRS times (3) each; all scenarios, or those that are named:
#   connect heartbeat storm fanout latency push imcloud slow crowd mixed floor lone
#
# To compare with another server of goim's protocol that runs already, name it: each run
# of halley is then followed by one of it.
#   OTHER=goim OTHER_WS=ws://127.0.0.1:3102/sub OTHER_REST=http://127.0.0.1:3111
#   OTHER_PIDS=comet=123,logic=456,job=789   (for CPU and memory)
# BENCH_REDIS and BENCH_KAFKA, as host:port, have halley use the same Redis and Kafka.
#
# RATES="20 1000" has fanout push so many messages a second.
# GATEWAYS=6 CROWD=100000 have that many gateways, and members of the room in crowd.
# TOPOLOGY=all measures halley in one process on embedded parts instead.
# SCALE=small makes runs that take a second or two, to see that they work.
set -euo pipefail
# shellcheck source=bench/scenarios/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
pairs=${PAIRS:-3}

# Sizes, for all scenarios.
many=15000 room=5000 total=100000 time=(--warm-up 3s -d 10s)
if [ "${SCALE:-}" = small ]; then
  many=300 room=100 total=500 time=(--warm-up 200ms -d 1s)
fi

# both LABEL COMMAND FLAG...: pairs of runs, halley's and the other's.
both() {
  local i own=("${ws[@]}") own_rest=("${rest[@]}") own_pids=("${server_pids[@]}")
  for ((i = 0; i < pairs; i++)); do
    measure "$@"
    [ -n "${OTHER:-}" ] || continue
    target=$OTHER ws=("$OTHER_WS") rest=("$OTHER_REST") server_pids=("${OTHER_PIDS:-}")
    measure "$@"
    target= ws=("${own[@]}") rest=("${own_rest[@]}") server_pids=("${own_pids[@]}")
  done
}

run_connect() { both "$many" connect -n "$many" --room-size 100 --hold 10s; }
# What a heartbeat costs when it comes alone, and when there are many.
run_heartbeat() {
  local every
  for every in 25s 5s 1s; do both "a heartbeat per $every" connect -n "$many" --room-size 100 --hold 10s --heartbeat "$every"; done
}
run_storm() { both "$many" storm -n "$many"; }
run_fanout() {
  local r
  for r in ${RATES:-20 100 400 1000}; do both "$r/s" fanout -n "$room" -r "$r" "${time[@]}"; done
}
run_latency() { both room latency -n "$room" -r 5 "${time[@]}"; }
run_lone() { both lone latency -n 1 -r 20 "${time[@]}"; }
run_push() {
  both mids push -n 1000 --to mids --lanes 100 --total "$total"
  both rooms push -n 1000 --to room --rooms 100 --lanes 100 --total "$total"
}
# im-cloud's own table: ab -c 500 -n 2000, 5000, 20000 and -c 1000 -n 20000.
run_imcloud() {
  local n
  for n in 2000 5000 20000; do both "c500-n$n" push -n 1000 --to mids --lanes 500 --total "$n" --api im; done
  both c1000-n20000 push -n 1000 --to mids --lanes 1000 --total 20000 --api im
}
# With a quarter of the clients stalled and with none, in turn.
run_slow() {
  local i n=$pairs pairs=1 load=(latency -n "$many" --rooms 15 -r 200 --burst 20 --lanes 20 --size 640 --rcvbuf 32768 "${time[@]}")
  for ((i = 0; i < n; i++)); do
    both quarter-stalled "${load[@]}" --stalled 4
    both nobody-stalled "${load[@]}"
  done
}
run_crowd() { both crowd latency -n 100 -r 20 --crowd "${CROWD:-$((many - 1000))}" --procs "${GATEWAYS:-1}" "${time[@]}"; }
run_mixed() { both mixed mixed -n "$room" --rooms 50 "${time[@]}"; }
run_floor() { both floor floor -n "$room"; }

all=(connect heartbeat storm fanout latency lone push imcloud slow crowd mixed floor)
for s in "$@"; do declare -F "run_$s" >/dev/null || die "no scenario $s; there are ${all[*]}"; done
case ${TOPOLOGY:-split} in
  split) cluster "${GATEWAYS:-1}" --gateway.max-connections 19000 ;;
  all) all_in_one ;;
  *) die "TOPOLOGY=$TOPOLOGY: split or all" ;;
esac
for s in "${@:-${all[@]}}"; do "run_$s"; done
exit $failed
