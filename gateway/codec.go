package gateway

import "github.com/halley-im/halley/pkg/ws"

// codec is what the sessions of a loop share to read and write: scratch memory
// that is of use for one call at a time.
type codec struct {
	upgraders [3]*ws.Upgrader // for clients, for im-cloud's, for the echo service
	rules     [4]ws.Rules     // for clients, those that compress, the echo service, likewise
	deflate   *ws.Deflater    // nil until the first compressed message
	plain     []byte          // a message before it is compressed
	opened    []byte          // what TLS has opened
}

func newCodec(cfg *Config) codec {
	inflate := ws.NewInflater()
	return codec{
		upgraders: [3]*ws.Upgrader{
			ws.NewUpgrader(ws.Options{Origins: cfg.Origins, Deflate: cfg.Compression}),
			ws.NewUpgrader(ws.Options{Origins: cfg.Origins}),
			ws.NewUpgrader(ws.Options{AnyPath: true, Deflate: true}),
		},
		rules: [4]ws.Rules{
			{Limit: cfg.MaxMessage},
			{Limit: cfg.MaxMessage, Inflate: inflate},
			{Limit: maxEcho, MaxFrames: maxEcho, StrictText: true},
			{Limit: maxEcho, MaxFrames: maxEcho, StrictText: true, Inflate: inflate},
		},
	}
}

// rulesOf are what messages of a form are held to.
func (c *codec) rulesOf(f form) *ws.Rules {
	i := 0
	if f.isEcho() {
		i = 2
	}
	if f.deflates() {
		i++
	}
	return &c.rules[i]
}

func (c *codec) upgrader(f form) *ws.Upgrader {
	switch {
	case f.isIM():
		return c.upgraders[1]
	case f.isEcho():
		return c.upgraders[2]
	default:
		return c.upgraders[0]
	}
}

// deflater is made when it is first used: it takes memory that a loop without
// compression never needs.
func (c *codec) deflater() *ws.Deflater {
	if c.deflate == nil {
		c.deflate = ws.NewDeflater()
	}
	return c.deflate
}
