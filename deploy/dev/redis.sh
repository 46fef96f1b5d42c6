#!/usr/bin/env bash
# A real Redis for tests and for trying things out, without a system service:
#   redis.sh install     the package redis-server, from Debian
#   redis.sh start DIR   on a free port of 127.0.0.1; prints host:port when it
#                        answers; writes DIR/pid, DIR/addr and DIR/log
#   redis.sh stop DIR    ends it and removes what start wrote
set -euo pipefail
# shellcheck source=deploy/dev/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

install() {
  command -v redis-server >/dev/null || locked install_package
}

# install_package keeps Debian from starting the service that the package
# brings: not now (policy-rc.d) and not at the next boot (systemctl).
install_package() {
  ! command -v redis-server >/dev/null || return 0 # another process was first
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
  fi
  apt_install redis-server
  if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet redis-server; fi
}

# launch keeps nothing on disk, and keeps the command line as it is (Redis would
# overwrite it with a title), because stop looks there for DIR.
launch() {
  setsid redis-server --bind 127.0.0.1 --port "$port" --dir "$dir/" \
    --save "" --appendonly no --daemonize no --set-proc-title no \
    </dev/null >"$dir/log" 2>&1 &
  child=$!
}

# answers asks for the process id: on a port that was taken, another Redis would
# answer just as well.
answers() {
  [[ $(timeout 5 redis-cli -h 127.0.0.1 -p "$port" info server 2>/dev/null) == *"process_id:$pid"$'\r'* ]]
}

main "$@"
