package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/swarm"
)

// options are those of every scenario.
type options struct {
	Target       string        `default:"halley" placeholder:"NAME" help:"What is measured, a name for reports: halley, goim."`
	Label        string        `placeholder:"TEXT" help:"What sets this run apart from others, for reports."`
	Addr         []string      `default:"ws://127.0.0.1:3102/sub" placeholder:"URL" help:"Where clients connect: ws://HOST:PORT/sub, wss://…, tcp://HOST:PORT; of several each client uses one."`
	Rest         []string      `default:"http://127.0.0.1:3111" placeholder:"URL" help:"REST addresses of logic nodes, used in turn."`
	API          string        `default:"goim" enum:"goim,im" help:"REST API to push by: goim or im (im-cloud's)."`
	Ack          string        `placeholder:"WHEN" help:"halley's ack parameter for goim's API: accepted or queued."`
	ServerPid    []string      `placeholder:"NAME=PID" help:"A process of the server, whose CPU and memory are to be measured; several with the same name are summed."`
	ServerCgroup string        `placeholder:"DIR" help:"Memory cgroup of the servers, as /sys/fs/cgroup/memory/halley."`
	Procs        int           `help:"Processes of clients; 0 is as many as the limit of open files makes necessary."`
	Worker       []string      `sep:"none" placeholder:"COMMAND" help:"Command that runs a process of clients elsewhere: 'ssh client2 halley bench worker clients'. Of several each process uses one."`
	SourceNet    int           `default:"-1" help:"Clients connect from 127.N.0.0 on; 0 is the kernel's choice of address, -1 means 64 if all addresses are in 127.0.0.0/8."`
	PerSource    int           `default:"250" help:"Clients to a source address."`
	Rcvbuf       int           `placeholder:"BYTES" help:"Kernel receive buffer of a client; 0 is the kernel's choice."`
	ConnectRate  float64       `placeholder:"N" help:"Connections begun per second; 0 is as fast as they are taken."`
	Op           int32         `default:"1000" help:"Operation of the pushed messages."`
	MidBase      int64         `default:"100000000" help:"User id of the first client; the others follow."`
	Patience     time.Duration `default:"30s" help:"How long a connection may take to be authenticated, and a REST call to be answered."`
	CoolDown     time.Duration `default:"10s" help:"A message that has not come after so long without any other coming is lost."`
	JSON         string        `placeholder:"FILE" help:"Write the result to this file, for report."`
	Quiet        bool          `short:"q" help:"No progress."`
}

// check says what is wrong with o.
func (o *options) check() error {
	for _, a := range o.Addr {
		if err := swarm.ParseAddr(a); err != nil {
			return fmt.Errorf("--addr: %w", err)
		}
	}
	for _, a := range o.Rest {
		if u, err := url.Parse(a); err != nil || u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("--rest %q: want http://HOST:PORT", a)
		}
	}
	switch {
	case len(o.Addr) == 0 || len(o.Rest) == 0:
		return errors.New("--addr and --rest: want at least one of each")
	case o.Ack != "" && o.Ack != "accepted" && o.Ack != "queued":
		return fmt.Errorf("--ack %q: want accepted or queued", o.Ack)
	case o.Procs < 0 || o.PerSource < 1 || o.SourceNet < -1 || o.SourceNet > 200:
		return errors.New("--procs from 0, --per-source from 1, --source-net from -1 to 200")
	case o.Patience <= 0 || o.CoolDown <= 0 || o.ConnectRate < 0 || o.Op < 1 || o.MidBase < 1:
		return errors.New("--patience, --cool-down, --op, --mid-base: above zero; --connect-rate: not below")
	}
	return nil
}

// net is the net of source addresses, 0 for none.
func (o *options) net() int {
	if o.SourceNet >= 0 {
		return o.SourceNet
	}
	for _, a := range o.Addr {
		u, err := url.Parse(a)
		if err != nil {
			return 0
		}
		host, _, _ := net.SplitHostPort(u.Host)
		if host != "localhost" && !strings.HasPrefix(host, "127.") {
			return 0
		}
	}
	return 64
}

// spareFiles is what a process of clients opens besides them.
const spareFiles = 100

// processes is how many processes n clients need.
func (o *options) processes(n int) (int, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, err
	}
	each := int(min(files.Cur, 1<<30)) - spareFiles
	if each < 1 {
		return 0, fmt.Errorf("this process may open %d files: raise the limit (ulimit -n)", files.Cur)
	}
	need := (n + each - 1) / each
	switch {
	case o.Procs == 0:
		return need, nil
	case o.Procs < need && len(o.Worker) == 0:
		return 0, fmt.Errorf("--procs %d: %d clients need %d processes of at most %d files each", o.Procs, n, need, files.Cur)
	}
	return min(o.Procs, n), nil
}
