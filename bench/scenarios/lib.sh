# shellcheck shell=bash
# What the scenarios share; sourced, never run. It builds halley, starts and stops
# servers, and collects results.
#
#   HALLEY    the binary (default: built from this checkout into a directory of its own)
#   RESULTS   where results go, one JSON file a run (default: bench/results/today's date)
#   CGROUP    a memory cgroup that all servers are put into, Redis and Kafka too
root=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")/../..")
dev=$root/deploy/dev

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

work=$(mktemp -d)
pids=()        # of what was started, in order
server_pids=() # NAME=PID, for --server-pid
ws=() rest=()  # addresses
declare -A address

# end_servers stops what was started, the last first.
end_servers() {
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null || true; done
  for i in "${pids[@]}"; do
    for _ in {1..300}; do
      kill -0 "$i" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$i" 2>/dev/null || true
  done
  pids=() server_pids=() ws=() rest=() address=()
  "$dev/redis.sh" stop "$work/redis" || true
  "$dev/kafka.sh" stop "$work/kafka" || true
}

cleanup() {
  trap '' INT TERM HUP
  end_servers
  rm -rf "$work"
  if [ -n "${CGROUP:-}" ]; then remove_cgroup; fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -z "${HALLEY:-}" ]; then
  HALLEY=$work/halley
  (cd "$root" && CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(git describe --always --dirty 2>/dev/null || echo dev)" -o "$HALLEY" .)
fi
RESULTS=${RESULTS:-$root/bench/results/$(date -u +%Y-%m-%d)}
mkdir -p "$RESULTS"

# confined runs a command in the cgroup, if there is one.
confined() {
  if [ -n "${CGROUP:-}" ]; then echo "$BASHPID" >"$CGROUP/cgroup.procs"; fi
  exec "$@"
}

# start NAME ROLE FLAG...: starts a role, waits until it is ready, and keeps its
# addresses in address[NAME.KEY].
start() {
  local name=$1 role=$2 ready=$work/$1.ready
  shift 2
  (confined "$HALLEY" "$role" --ready-file "$ready" --log.level warn "$@") >"$work/$name.log" 2>&1 &
  pids+=($!)
  server_pids+=("$role=$!")
  for _ in {1..600}; do
    [ -e "$ready" ] && break
    kill -0 "${pids[-1]}" 2>/dev/null || die "$name: $(tail -3 "$work/$name.log")"
    sleep 0.05
  done
  [ -e "$ready" ] || die "$name is not ready: $(tail -3 "$work/$name.log")"
  local key
  for key in tcp_addr ws_addr wss_addr rest_addr; do
    address[$name.$key]=$(sed -n "s/.*\"$key\": *\"\([^\"]*\)\".*/\1/p" "$ready" | head -1)
  done
  address[$name.internal]=$(sed -n 's/.*"internal_addr": *"\([^"]*\)".*/\1/p' "$ready" | head -1)
}

host=127.0.0.1 # that servers listen on

# all_in_one FLAG...: halley as it runs without arguments.
all_in_one() {
  start all all --gateway.id all --gateway.tcp-addr $host:0 --gateway.ws-addr $host:0 --gateway.internal-addr $host:0 \
    --logic.rest-addr $host:0 --logic.internal-addr $host:0 --job.internal-addr $host:0 "$@"
  ws=("ws://${address[all.ws_addr]}/sub") rest=("http://${address[all.rest_addr]}")
}

# backends starts a Redis and a Kafka, or takes those of BENCH_REDIS and BENCH_KAFKA.
backends() {
  redis=${BENCH_REDIS:-} kafka=${BENCH_KAFKA:-}
  if [ -z "$redis" ]; then redis=$( (confined "$dev/redis.sh" start "$work/redis")); fi
  if [ -z "$kafka" ]; then kafka=$( (confined "$dev/kafka.sh" start "$work/kafka")); fi
  queue=(--kafka.brokers "$kafka" --kafka.topic "bench-$$" --kafka.group "bench-$$")
  registry=(--redis.addrs "$redis" --redis.prefix "bench-$$")
}

# cluster GATEWAYS FLAG...: one logic node, one job and so many gateways, over Redis
# and Kafka. The flags are the gateways'.
cluster() {
  local n=$1 i
  shift
  backends
  start logic logic --cluster.secret bench "${registry[@]}" "${queue[@]}" --logic.rest-addr $host:0 --logic.internal-addr $host:0
  start job job --cluster.secret bench "${registry[@]}" "${queue[@]}" --job.internal-addr $host:0
  rest=("http://${address[logic.rest_addr]}") ws=()
  for ((i = 1; i <= n; i++)); do
    start "gateway-$i" gateway --gateway.id "gateway-$i" --cluster.secret bench --gateway.logic-addrs "${address[logic.internal]}" \
      --gateway.tcp-addr $host:0 --gateway.ws-addr $host:0 --gateway.internal-addr $host:0 "$@"
    ws+=("ws://${address[gateway-$i.ws_addr]}/sub")
  done
}

commas() {
  local IFS=,
  echo "$*"
}

# measure LABEL COMMAND FLAG...: one run of halley bench against the servers that
# were started, and its result as a file. A run that finds a fault is reported, kept, and
# makes the script fail in the end.
failed=0
measure() {
  local label=$1 command=$2 file
  shift 2
  file=$RESULTS/$command-${label//[\/ ]/-}-${target:-halley}-$(date -u +%H%M%S).json
  echo "== $command $label ${target:-halley}"
  "$HALLEY" bench "$command" --target "${target:-halley}" --label "$label" --addr "$(commas "${ws[@]}")" --rest "$(commas "${rest[@]}")" \
    --server-pid "$(commas "${server_pids[@]}")" ${CGROUP:+--server-cgroup "$CGROUP"} --json "$file" "$@" || failed=1
}
