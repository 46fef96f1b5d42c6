package rpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

var (
	goldenBatch = &push.Batch{Partition: 3, Generation: 7, Seq: 300, Items: []push.Message{
		{ID: push.ID{Spool: 0xfeed, Index: 5, Part: 1}, Op: 1000, Body: []byte("hello"), Accepted: 1_700_000_000_000_000,
			To: push.Target{Kind: push.Keys, Node: "gw-1", Epoch: 9, Keys: []string{"a", "b"}}},
		{ID: push.ID{Spool: 0xfeed, Index: 6}, App: "shop", Op: -1, Body: []byte{0, 255}, Expire: 1, Pos: push.Position{Epoch: 2, Offset: 3},
			To: push.Target{Kind: push.Room, Room: "live://1"}},
		{Op: 9, To: push.Target{Kind: push.All, Speed: 100}},
	}}
	goldenPaced = &push.Batch{Partition: 0, Generation: 7, Seq: 1, Items: []push.Message{
		{Op: 9, To: push.Target{Kind: push.All, Speed: 1, Share: push.Share{Speed: 5, Conns: 10, All: 100}}},
	}}
	goldenAck      = push.Ack{Partition: 3, Generation: 7, Seq: 300, Status: push.AckBusy}
	goldenCounted  = push.Interest{Seq: 10, Conns: 300, Counted: true}
	goldenInterest = push.Interest{Seq: 9, Complete: true, Rooms: []cluster.RoomCount{{Room: "live://1", Count: 41}, {Room: "shop\x1flive://2", Count: -1}}}
)

func frameOf(typ byte, body func(dst []byte) []byte) []byte { return appendFrame(nil, typ, body) }

// The bytes of version 1: a change here breaks nodes of the version before.
func TestGoldenFrames(t *testing.T) {
	f := func(name string, got []byte) {
		t.Helper()
		file := filepath.Join("testdata", name+".hex")
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v; the frame is\n%s", err, hex.EncodeToString(got))
		}
		if strings.TrimSpace(string(want)) != hex.EncodeToString(got) {
			t.Errorf("%s is\n%s, want\n%s", name, hex.EncodeToString(got), want)
		}
	}
	f("batch", frameOf(frameBatch, func(d []byte) []byte { return appendBatch(d, goldenBatch) }))
	f("batch-paced", frameOf(frameBatch, func(d []byte) []byte { return appendBatch(d, goldenPaced) }))
	f("ack", frameOf(frameAck, func(d []byte) []byte { return appendAck(d, goldenAck) }))
	f("interest", frameOf(frameInterest, func(d []byte) []byte { return appendInterest(d, goldenInterest) }))
	f("interest-counted", frameOf(frameInterest, func(d []byte) []byte { return appendInterest(d, goldenCounted) }))
	f("counts", frameOf(frameCounts, func(d []byte) []byte { return appendRooms(d, goldenInterest.Rooms) }))
}

func TestFramesRoundTrip(t *testing.T) {
	for _, want := range []*push.Batch{goldenBatch, goldenPaced} {
		b, err := parseBatch(appendBatch(nil, want))
		if err != nil || !reflect.DeepEqual(normal(b), normal(want)) {
			t.Errorf("batch: %+v, %v; want %+v", b, err, want)
		}
	}
	a, err := parseAck(appendAck(nil, goldenAck))
	if err != nil || a != goldenAck {
		t.Errorf("ack: %+v, %v", a, err)
	}
	for _, want := range []push.Interest{goldenInterest, goldenCounted, {Counted: true}, {Conns: 1<<63 - 2, Counted: true}} {
		i, err := parseInterest(appendInterest(nil, want))
		if want.Rooms == nil {
			want.Rooms = []cluster.RoomCount{}
		}
		if err != nil || !reflect.DeepEqual(i, want) {
			t.Errorf("interest: %+v, %v; want %+v", i, err, want)
		}
	}
}

// The first version read an announcement up to the rooms and ignored what follows.
func TestCountedInterestIsAnAddition(t *testing.T) {
	plain, counted := goldenInterest, goldenInterest
	counted.Conns, counted.Counted = 7, true
	before, after := appendInterest(nil, plain), appendInterest(nil, counted)
	if !bytes.HasPrefix(after, before) || len(after) == len(before) {
		t.Errorf("%x, with a count %x", before, after)
	}
	// Who has no count, but something behind it, writes 0.
	i, err := parseInterest(append(bytes.Clone(before), 0, 1, 2, 3))
	if err != nil || !reflect.DeepEqual(i, plain) {
		t.Errorf("%+v, %v; want %+v", i, err, plain)
	}
}

// normal makes absent and empty bodies alike.
func normal(b *push.Batch) push.Batch {
	out := *b
	out.Items = append([]push.Message(nil), b.Items...)
	for i := range out.Items {
		out.Items[i].Body = append([]byte{}, out.Items[i].Body...)
	}
	return out
}

// Every prefix and every lie is an error, never a panic, and never makes us
// allocate more than was sent.
func TestBrokenFrames(t *testing.T) {
	whole := appendBatch(nil, goldenBatch)
	for n := range len(whole) {
		if _, err := parseBatch(whole[:n]); !errors.Is(err, errFrame) {
			t.Errorf("%d of %d bytes of a batch: %v", n, len(whole), err)
		}
	}
	f := func(src string, parse func(src []byte) error) {
		t.Helper()
		b, err := hex.DecodeString(src)
		if err != nil {
			t.Fatal(err)
		}
		if err := parse(b); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", src, err)
		}
	}
	batch := func(src []byte) error { _, err := parseBatch(src); return err }
	ack := func(src []byte) error { _, err := parseAck(src); return err }
	interest := func(src []byte) error { _, err := parseInterest(src); return err }
	f("010101ffffffff0f", batch)              // 4 billion items
	f("0101010105", batch)                    // an item of 5 bytes that are not there
	f("01010107", ack)                        // status 7
	f("0101", ack)                            // cut
	f("0101ffffffff0f", interest)             // 4 billion rooms
	f("010100ff", interest)                   // a count that is cut
	f("01010080808080808080808001", interest) // more sessions than a number holds
	f("010101ff7f0161", interest)             // a name that is longer than what is there
	f("ffffffffffffffffffff", batch)          // no varint
}

func FuzzFrames(f *testing.F) {
	f.Add(appendBatch(nil, goldenBatch))
	f.Add(appendAck(nil, goldenAck))
	f.Add(appendInterest(nil, goldenInterest))
	f.Add(appendInterest(nil, goldenCounted))
	f.Add(appendBatch(nil, goldenPaced))
	f.Fuzz(func(t *testing.T, src []byte) {
		if b, err := parseBatch(src); err == nil {
			once := appendBatch(nil, b)
			again, err := parseBatch(once)
			if err != nil || !bytes.Equal(once, appendBatch(nil, again)) {
				t.Errorf("batch changes from %x, %v", once, err)
			}
		}
		if a, err := parseAck(src); err == nil {
			if again, err := parseAck(appendAck(nil, a)); err != nil || again != a {
				t.Errorf("ack %+v became %+v, %v", a, again, err)
			}
		}
		if i, err := parseInterest(src); err == nil {
			if again, err := parseInterest(appendInterest(nil, i)); err != nil || !reflect.DeepEqual(again, i) {
				t.Errorf("interest %+v became %+v, %v", i, again, err)
			}
		}
	})
}

func BenchmarkBatch100(b *testing.B) {
	batch := &push.Batch{Seq: 1}
	for range 100 {
		batch.Items = append(batch.Items, goldenBatch.Items[1])
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendBatch(buf[:0], batch)
		if _, err := parseBatch(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/message")
}
