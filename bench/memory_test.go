package bench

import "testing"

// What a client takes in a process of clients, in bytes of resident memory: 56 and 24
// for each of its lanes by design (package swarm), and what Go's runtime takes for
// that. The rest of the machine is the server's.
const mostPerClient = 400

func TestMemoryPerClient(t *testing.T) {
	switch {
	case raceEnabled:
		t.Skip("under the race detector memory means nothing; run it without -race")
	case testing.Short():
		t.Skip("opens 9,500 connections")
	}
	const clients = 9_500 // both ends of which are this machine's, in two processes
	server := newFake(t, plan{})
	server.addrs = []string{server.ws}
	x := server.bench(t, "connect", "-n9500", "--procs=1", "--hold=200ms", "--reach=all")
	want{did: deeds{beaten: server.deeds()[beaten]}.without0()}.check(t, server, x)
	if x.Clients.Connections != clients || x.Reach[0].Reached != clients {
		t.Errorf("%d clients, reached %+v", x.Clients.Connections, x.Reach)
	}
	if b := x.Harness.BytesPerConn; b <= 0 || b > mostPerClient {
		t.Errorf("a client takes %.0f B, want at most %d", b, mostPerClient)
	} else {
		t.Logf("a client takes %.0f B", b)
	}
}
