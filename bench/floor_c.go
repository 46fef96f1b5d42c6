package bench

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// cFloor is bench/scenarios/floor.c, which says what it reads and prints.
type cFloor struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	cpu time.Duration // that it has told
}

func startCFloor(c *floorCmd) (f *cFloor, addr string, err error) {
	f = &cFloor{cmd: exec.Command(c.FloorC, strconv.Itoa(c.Connections), strconv.Itoa(c.Sndbuf), strconv.Itoa(c.Threads))}
	f.cmd.Stderr = os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err == nil {
		f.in, err = f.cmd.StdinPipe()
	}
	if err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		return nil, "", fmt.Errorf("--floor-c: %w", err)
	}
	f.out = bufio.NewScanner(out)
	port, err := f.line()
	if err != nil {
		f.close()
	}
	return f, "127.0.0.1:" + port, err
}

func (f *cFloor) line() (string, error) {
	if !f.out.Scan() {
		return "", errors.Join(errors.New("--floor-c: it has ended"), f.out.Err())
	}
	return strings.TrimSpace(f.out.Text()), nil
}

func (f *cFloor) accepted() error {
	_, err := f.line()
	return err
}

func (f *cFloor) push(r *run, c *floorCmd, seq int) error {
	body := stamp.Append(nil, stamp.Stamp{Run: r.id, Target: stamp.To(stamp.Room, 0), Seq: uint32(seq), Due: r.clock.Now()}, c.Size)
	inner := protocol.AppendPacket(nil, protocol.Packet{Ver: protocol.PushVer, Op: protocol.Op(c.Op), Body: body})
	outer := protocol.AppendPacket(nil, protocol.Packet{Ver: protocol.PushVer, Op: protocol.OpRaw, Body: inner})
	if _, err := fmt.Fprintln(f.in, hex.EncodeToString(ws.AppendFrame(nil, ws.OpBinary, outer))); err != nil {
		return fmt.Errorf("--floor-c: %w", err)
	}
	text, err := f.line()
	if err != nil {
		return err
	}
	us, err := strconv.ParseInt(text, 10, 64)
	f.cpu = time.Duration(us) * time.Microsecond
	return err
}

func (f *cFloor) used() (time.Duration, error) { return f.cpu, nil }

func (f *cFloor) close() {
	_ = f.in.Close() // upon which it ends
	_ = f.cmd.Wait() // how is of no interest
}
