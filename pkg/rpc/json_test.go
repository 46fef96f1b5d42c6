package rpc

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
)

// The bodies of version 1: a change of a name or a type here breaks nodes of the
// version before. Fields may be added, and are left out where they are zero.
func TestGoldenJSON(t *testing.T) {
	f := func(name string, value any) {
		t.Helper()
		got, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatalf("%v; the body is\n%s", err, got)
		}
		if strings.TrimSpace(string(want)) != string(got) {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
		back := reflect.New(reflect.TypeOf(value))
		if err := json.Unmarshal(want, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), value) {
			t.Errorf("%s: %+v, %v; want %+v", name, back.Elem(), err, value)
		}
	}
	f("lease", Lease{
		Version: 1, Epoch: 1699999999000000, Jobs: []string{"job-1"},
		Nodes: []LeaseNode{
			{ID: "gw-2", Host: "two.example.org", TCPPort: 3101, WSPort: 3102, WSSPort: 3103, Conns: 5, Max: 20000},
			{ID: "gw-3", Host: "10.0.0.3", TCPPort: 3101},
		},
	})
	f("lease-plain", Lease{Version: 1, Epoch: 1, Fenced: true, Jobs: []string{}})
	f("reply", ConnectReply{App: "shop", Mid: 5, Key: "k", Room: "live://1", Platform: "web", Accepts: []int32{1000}, Hints: true, Stamp: 7})
	f("reply-plain", ConnectReply{Key: "k", Accepts: []int32{}})
	f("node", cluster.Node{
		ID: "gw-1", Role: cluster.RoleGateway, Epoch: 1, Version: 1, Build: "v1", Internal: "10.0.0.1:3109",
		PublicHost: "one.example.org", TCPPort: 3101, WSPort: 3102, WSSPort: 3103,
		Region: "sh", Zone: "sh001", Env: "dev", Weight: 10,
		Conns: 19999, IPs: 7, MaxConns: 20000, Full: true, Draining: true, Renewed: 1700000000,
	})
	f("node-plain", cluster.Node{ID: "job-1", Role: cluster.RoleJob, Epoch: 1, Version: 1, Internal: "10.0.0.1:3129"})
}
