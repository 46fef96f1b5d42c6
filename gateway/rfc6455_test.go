package gateway

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/halley-im/halley/pkg/wstest"
)

// TestRFC6455 runs the conformance suite against the echo service, over TCP and
// over TLS: 1,200 cases each, every choice that the RFCs leave made as they
// recommend.
func TestRFC6455(t *testing.T) {
	r := start(t, func(c *Config) { c.EchoAddr, c.EchoTLSAddr = "127.0.0.1:0", "127.0.0.1:0" })
	for name, dial := range map[string]func() (net.Conn, error){
		"ws": func() (net.Conn, error) { return net.Dial("tcp", r.bound["echo_addr"]) },
		"wss": func() (net.Conn, error) {
			return tls.Dial("tcp", r.bound["echo_tls_addr"], &tls.Config{InsecureSkipVerify: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			wstest.Run(t, wstest.Target{
				Dial: dial, Path: "/", AnyPath: true, Limit: maxEcho, Head: 8 << 10,
				Deflate: true, Subprotocols: true, FailFast: true, Strict: true,
			})
		})
	}
}
