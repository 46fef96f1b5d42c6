package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// pushCmd is `halley push`: one call of a logic node's REST API.
type pushCmd struct {
	Addr string `default:"127.0.0.1:3111" placeholder:"HOST:PORT" help:"REST address of a logic node."`
	Op   int32  `default:"1000" help:"Operation of the message; clients filter by it (not in rooms)."`
	Ack  string `default:"accepted" enum:"accepted,queued" help:"Wait until the node has the push in its log (accepted) or the queue has it (queued)."`

	Keys struct {
		Keys string `arg:"" help:"Connection keys, comma-separated."`
		Body string `arg:"" help:"Message."`
	} `cmd:"" help:"Push to connections."`
	Mids struct {
		Mids string `arg:"" help:"User ids, comma-separated."`
		Body string `arg:"" help:"Message."`
	} `cmd:"" help:"Push to all connections of users."`
	Room struct {
		Room string `arg:"" help:"Room, as type://id."`
		Body string `arg:"" help:"Message."`
	} `cmd:"" help:"Push to the members of a room."`
	All struct {
		Body  string `arg:"" help:"Message."`
		Speed int32  `help:"Messages per second over the whole cluster; 0 sets no limit."`
	} `cmd:"" help:"Push to everybody."`
}

const pushTimeout = 10 * time.Second

// run makes the call and prints the answer and the id of the push.
func (p *pushCmd) run(ctx context.Context, kind string, out io.Writer) error {
	query := url.Values{"operation": {fmt.Sprint(p.Op)}, "ack": {p.Ack}}
	var body string
	switch kind {
	case "keys":
		query["keys"], body = strings.Split(p.Keys.Keys, ","), p.Keys.Body
	case "mids":
		query["mids"], body = strings.Split(p.Mids.Mids, ","), p.Mids.Body
	case "room":
		typ, id, ok := strings.Cut(p.Room.Room, "://")
		if !ok {
			return fmt.Errorf("room %q: want type://id", p.Room.Room)
		}
		query.Set("type", typ)
		query.Set("room", id)
		body = p.Room.Body
	case "all":
		query.Set("speed", fmt.Sprint(p.All.Speed))
		body = p.All.Body
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	target := "http://" + p.Addr + "/goim/push/" + kind + "?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("is a logic node running at %s? %w", p.Addr, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(answer), `{"code":0,`) {
		return fmt.Errorf("not accepted: %s: %s", resp.Status, answer)
	}
	_, err = fmt.Fprintf(out, "%s %s\n", resp.Header.Get("X-Push-Id"), answer)
	return err
}
