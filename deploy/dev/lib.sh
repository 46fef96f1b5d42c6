# shellcheck shell=bash
# What redis.sh and kafka.sh share; sourced, never run. A script that sources it
# defines three functions and then calls main "$@":
#   install  makes sure the server's program is there; quick when it is
#   launch   starts the server on 127.0.0.1:$port with its files in $dir and its
#            output in $dir/log, and sets $child to its pid
#   answers  succeeds once that very process serves clients on $port

cache=${HALLEY_DEV_CACHE:-$HOME/.cache/halley}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
  command -v apt-get >/dev/null || die "no apt-get on this machine: please install $* by hand"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# locked runs a command while no other process installs: the tests of two
# packages may both find a server missing.
locked() {
  mkdir -p "$cache"
  (
    flock 9
    "$@" 9>&-
  ) 9>"$cache/lock"
}

# free_port looks below 32768, where the kernel's own range for outgoing
# connections begins: no client's socket can take the port before we bind it.
# Another server still can; start then tries again.
free_port() {
  local port
  while
    port=$((20000 + RANDOM % 12000))
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null
  do :; done
  echo "$port"
}

# alive says whether $pid still is the server of $dir. Pids are reused, so unless
# it is a child that this very script has just started, its command line must name
# a file in $dir; that of a zombie is empty.
child=
alive() {
  kill -0 "$pid" 2>/dev/null || return 1
  [ "$pid" = "$child" ] || grep -qzF -- "$dir/" "/proc/$pid/cmdline" 2>/dev/null
}

# end_server asks, and after 10 s it insists.
end_server() {
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  local signal
  for signal in TERM KILL; do
    alive || break
    kill "-$signal" "$pid" 2>/dev/null || true
    for _ in {1..100}; do
      alive || break
      sleep 0.1
    done
  done
  rm -f "$dir/pid" "$dir/addr"
}

stop() {
  end_server
  rm -rf "$dir/log" "$dir/server.properties" "$dir/data"
  rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null || true
}

# await succeeds when the server answers, fails when it is gone or too slow.
await() {
  while ((SECONDS < deadline)); do
    alive || return 1
    ! answers || return 0
    sleep 0.1
  done
  return 1
}

start() {
  install >&2
  if pid=$(cat "$dir/pid" 2>/dev/null) && alive; then die "a server is already running in $dir"; fi
  mkdir -p "$dir"

  # A start that fails or is interrupted leaves no process.
  trap end_server EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM

  deadline=$((SECONDS + 60))
  while
    port=$(free_port)
    launch
    pid=$child
    echo "$pid" >"$dir/pid"
    ! await
  do
    end_server
    if ((SECONDS >= deadline)) || ! grep -q 'Address already in use' "$dir/log"; then
      tail -n 40 "$dir/log" >&2
      die "the server did not come up; above is the end of $dir/log"
    fi
  done

  echo "127.0.0.1:$port" | tee "$dir/addr"
  trap - EXIT INT TERM
}

main() {
  case "$#:${1-}" in
    1:install) install >&2 ;;
    2:start | 2:stop)
      dir=$(realpath -m -- "$2")
      "$1"
      ;;
    *)
      echo "usage: ${0##*/} install | start DIR | stop DIR" >&2
      exit 2
      ;;
  esac
}
