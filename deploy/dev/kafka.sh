#!/usr/bin/env bash
# A real Apache Kafka, one node, for tests and for trying things out:
#   kafka.sh install     the jars that kafka/pom.xml pins, by Maven, into
#                        $HALLEY_DEV_CACHE (default ~/.cache/halley)
#   kafka.sh start DIR   on a free port of 127.0.0.1; prints host:port when it
#                        answers; writes DIR/pid, DIR/addr and DIR/log
#   kafka.sh stop DIR    ends it and removes what start wrote
set -euo pipefail
here=$(realpath -- "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=deploy/dev/lib.sh
source "$here/lib.sh"

pom=$here/kafka/pom.xml
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$pom")
jars=$cache/kafka-$version

# installed: the jars are those of today's pom, of which they keep a copy.
installed() {
  cmp -s "$pom" "$jars/pom.xml"
}

install() {
  command -v java >/dev/null || locked apt_install default-jre-headless
  installed || locked install_jars
}

# install_jars fills a directory beside the final one and renames it, so that an
# interrupted download is never taken for a whole one.
install_jars() {
  ! installed || return 0 # another process was first
  command -v mvn >/dev/null || apt_install maven
  tmp=$(mktemp -d "$cache/kafka.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$tmp"
  cp "$pom" "$tmp/pom.xml"
  chmod 755 "$tmp"
  rm -rf "$jars"
  mv "$tmp" "$jars"
}

# settings are those of a small node that starts fast: one replica and one
# partition of each internal topic, small segments and few threads.
settings() {
  local controller
  while
    controller=$(free_port)
    [ "$controller" = "$port" ]
  do :; done
  cat <<END
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$dir/data

# A test creates its topics itself; a typo must not.
auto.create.topics.enable=false
# Let a group begin with its first member instead of waiting 3 s for others.
group.initial.rebalance.delay.ms=0

offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

log.segment.bytes=16777216
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=2
END
}

# launch begins with empty data each time. The cluster id may be any 16 bytes in
# base64; there is never a second node to compare it with. Serial GC and no second
# compiler: a quick start matters more here than speed after an hour.
launch() {
  local java=(java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData
    -Djava.io.tmpdir="$dir/data" -Dlog4j2.configurationFile="$here/kafka/log4j2.properties"
    -cp "$jars/*")
  rm -rf "$dir/data"
  mkdir "$dir/data"
  settings >"$dir/server.properties"
  "${java[@]}" kafka.tools.StorageTool format -t aGFsbGV5LWRldi0wMDAwMA \
    -c "$dir/server.properties" >"$dir/log" 2>&1 || {
    cat "$dir/log" >&2
    die "formatting $dir/data failed"
  }
  setsid "${java[@]}" kafka.Kafka "$dir/server.properties" </dev/null >"$dir/log" 2>&1 &
  child=$!
}

# answers asks who coordinates the group "g" (length 13, api 10, version 0,
# correlation 1, no client id, one letter) until the answer (length, correlation,
# error) says no error. This makes Kafka create its topic of group offsets now:
# otherwise a test's first consumer is told to come back later, and kafka-go then
# waits 5 s. The line in our own log comes first: on a port that was taken,
# another Kafka would answer just as well.
answers() {
  grep -q 'Kafka Server started' "$dir/log" || return 1
  local error
  error=$({
    printf '\0\0\0\x0d\0\x0a\0\0\0\0\0\x01\xff\xff\0\x01g' >&3
    timeout 5 head -c 10 <&3 | od -An -tx1 -j8
  } 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 1
  [ "$error" = ' 00 00' ]
}

main "$@"
