#!/usr/bin/env bash
# tune.sh       prints the kernel's settings and limits that a million connections need,
#               what they are now, and why; changes nothing
# tune.sh set   sets those that are too low, until the next boot; as root
#
# Nothing else touches the system: no file is written, nothing that is high enough is
# lowered.
set -euo pipefail

connections=${CONNECTIONS:-1000000}

# name, least value, reason
settings() {
  cat <<END
fs.file-max|$((connections * 2 + connections / 5))|open files of the machine: two for a connection with both ends here, and a tenth for the rest
fs.nr_open|1048576|the most that ulimit -n may be set to
net.core.somaxconn|4096|connections that wait to be accepted: a storm of them comes faster than they are taken
net.ipv4.tcp_max_syn_backlog|4096|handshakes that wait: beyond it the kernel falls back to cookies
net.core.netdev_max_backlog|4096|packets that wait for a CPU: on loopback every write of a broadcast is one
net.ipv4.tcp_max_orphans|65536|sockets without a process: after a gateway has died its connections are such
net.ipv4.tcp_max_tw_buckets|262144|closed connections that wait out TIME_WAIT: clients that come back again and again leave them
END
}

# What TCP may use for buffers, all sockets together, in pages: below the first number
# it is left alone, above the last what arrives is dropped. An eighth of the memory: idle
# connections have no buffers, but a broadcast to a million clients fills 1.3 GB.
tcp_mem() {
  local pages
  pages=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 4))
  echo "$((pages / 16)) $((pages * 3 / 32)) $((pages / 8))"
}

status=0
show() {
  local name=$1 now=$2 least=$3 why=$4 verdict=ok
  if [ "$now" = - ]; then verdict='not here'; elif [ "$now" -lt "$least" ]; then verdict="want $least" status=1; fi
  printf '%-32s %-12s %-16s %s\n' "$name" "$now" "$verdict" "$why"
}

main() {
  local mode=${1:-show} name least why now
  case $mode in show | set) ;; *)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
  esac
  while IFS='|' read -r name least why; do
    now=$(sysctl -n "$name" 2>/dev/null || echo -)
    if [ "$mode" = set ] && [ "$now" != - ] && [ "$now" -lt "$least" ]; then
      sysctl -w "$name=$least" >/dev/null
      now=$least
    fi
    show "$name" "$now" "$least" "$why"
  done < <(settings)
  set_tcp_mem "$mode"
  set_ports "$mode"
  show 'ulimit -n (soft)' "$(ulimit -n)" 20000 'open files of a process: halley and its bench use more processes where it is low'
  show 'ulimit -n (hard)' "$(ulimit -Hn)" 20000 'what the soft limit may be set to, by ulimit or the LimitNOFILE of systemd'
  conntrack
  exit $status
}

set_tcp_mem() {
  local want now
  read -r -a want <<<"$(tcp_mem)"
  read -r -a now <<<"$(sysctl -n net.ipv4.tcp_mem)"
  if [ "$1" = set ] && [ "${now[2]}" -lt "${want[2]}" ]; then
    sysctl -w "net.ipv4.tcp_mem=${want[*]}" >/dev/null
    now=("${want[@]}")
  fi
  show 'net.ipv4.tcp_mem (last)' "${now[2]}" "${want[2]}" 'pages of all socket buffers; idle connections have none, a broadcast has one per client'
}

set_ports() {
  local now
  read -r -a now <<<"$(sysctl -n net.ipv4.ip_local_port_range)"
  show 'net.ipv4.ip_local_port_range' "$((now[1] - now[0]))" 28000 'ports of a source address to one destination; halley bench uses many addresses instead'
}

# A firewall that tracks connections keeps 300 bytes for each, both ends are one, and
# drops what is beyond its limit.
conntrack() {
  [ -e /proc/sys/net/netfilter/nf_conntrack_count ] || return 0
  local count max
  count=$(cat /proc/sys/net/netfilter/nf_conntrack_count)
  max=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
  printf '%-32s %-12s %-16s %s\n' 'conntrack' "$count of $max" '' 'tracked connections; if the number grows with clients, have the firewall not track them'
}

main "$@"
