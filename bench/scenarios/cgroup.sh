# shellcheck shell=bash
# make_cgroup SIZE: a memory cgroup of that size (as 4G), its name in CGROUP; removed when
# the script ends and nothing is in it any more. Sourced before lib.sh, never run.
#
# With cgroup version 1 the kernel charges what sockets hold in buffers only if it has
# its own limit, so that is set first.
make_cgroup() {
  local size=$1
  if [ -d /sys/fs/cgroup/memory ]; then
    CGROUP=/sys/fs/cgroup/memory/halley-bench-$$
    mkdir "$CGROUP"
    echo "$size" >"$CGROUP/memory.kmem.tcp.limit_in_bytes"
    echo "$size" >"$CGROUP/memory.limit_in_bytes"
  else
    CGROUP=/sys/fs/cgroup/halley-bench-$$
    mkdir "$CGROUP"
    echo "$size" >"$CGROUP/memory.max"
    echo 0 >"$CGROUP/memory.swap.max" 2>/dev/null || true
  fi
}

# remove_cgroup removes it, a moment after its last process has ended.
remove_cgroup() {
  [ -n "${CGROUP:-}" ] || return 0
  for _ in {1..100}; do
    rmdir "$CGROUP" 2>/dev/null && return
    sleep 0.1
  done
  echo "left behind: $CGROUP" >&2
}
