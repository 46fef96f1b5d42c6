package kafka

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

func newSet() *metrics.Set { return metrics.NewSet() }

// produce writes raw records beside the package and returns the first one's offset.
// A broker needs a moment to lead a new topic's partitions.
func produce(t testing.TB, cfg Config, partition int, compression kafka.Compression, values ...[]byte) (first int64) {
	t.Helper()
	client, done := admin(cfg)
	defer done()
	testkit.Eventually(t, time.Minute, func() bool {
		recs := make([]kafka.Record, len(values))
		for i, v := range values {
			recs[i] = kafka.Record{Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes(v)}
		}
		res, err := client.Produce(context.Background(), &kafka.ProduceRequest{
			Topic: cfg.Topic, Partition: partition, RequiredAcks: kafka.RequireAll,
			Compression: compression, Records: kafka.NewRecordReader(recs...),
		})
		if err == nil {
			err = res.Error
		}
		if errors.Is(err, kafka.NotLeaderForPartition) || errors.Is(err, kafka.LeaderNotAvailable) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		first = res.BaseOffset
		return true
	}, "the partition has a leader")
	return first
}

// goimPushMsg is what goim's logic writes for a push by key, field by field as its
// generated code does: type 0 and speed 0 take no bytes in proto3.
func goimPushMsg(operation int32, server, key string, msg []byte) []byte {
	var b []byte
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(int64(operation)))
	b = protowire.AppendTag(b, 4, protowire.BytesType)
	b = protowire.AppendString(b, server)
	b = protowire.AppendTag(b, 6, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, 7, protowire.BytesType)
	return protowire.AppendBytes(b, msg)
}

// TestForeign: what goim's logic writes, fields 1 to 7 only, compressed or not, is
// read, and gets an identity by its place that is the same at each reading.
func TestForeign(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	msg := goimPushMsg(1000, "comet-1", "key", []byte("hello"))
	first := produce(t, cfg, 1, 0, msg, msg, msg)
	produce(t, cfg, 1, kafka.Gzip, msg, msg)
	produce(t, cfg, 2, kafka.Snappy, msg)
	if err := q.Publish(context.Background(), 1, messages(1)); err != nil {
		t.Fatal(err)
	}
	var again []push.Record
	for round := range 2 {
		r, stop := startReading(t, q)
		recs := r.wait(t, 7)
		stop()
		slices.SortFunc(recs, func(a, b push.Record) int {
			return bytes.Compare([]byte(a.ID.String()), []byte(b.ID.String()))
		})
		if round == 1 {
			for i := range recs {
				if recs[i].ID != again[i].ID {
					t.Errorf("read again, record %d is %v and not %v", i, recs[i].ID, again[i].ID)
				}
			}
			break
		}
		again = recs
		want := map[push.ID]bool{message(0).ID: true, {Spool: foreignSpool(cfg.Topic, 2), Index: 1}: true}
		for i := range 5 {
			want[push.ID{Spool: foreignSpool(cfg.Topic, 1), Index: uint64(first) + uint64(i) + 1}] = true
		}
		for _, rec := range recs {
			if !want[rec.ID] {
				t.Errorf("identity %v is not expected or came twice", rec.ID)
			}
			delete(want, rec.ID)
			if rec.ID.Spool>>63 == 1 && (rec.Op != 1000 || rec.To.Kind != push.Keys || rec.To.Node != "comet-1" ||
				!slices.Equal(rec.To.Keys, []string{"key"}) || string(rec.Body) != "hello") {
				t.Errorf("goim's message is read as %+v", rec.Message)
			}
		}
	}
	if got := q.count.foreign.Get(); got != 12 {
		t.Errorf("foreign_total = %d, want 12", got)
	}
}

// TestMalformed: records that are no PushMsg are skipped and counted, those around
// them are read, and the committed offset goes behind them, also at the end of the
// partition.
func TestMalformed(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	garbage := [][]byte{{0xff, 0xff, 0xff}, []byte("this is no protobuf"), {0x08, 0x07}}
	good := push.AppendMessage(nil, &push.Message{ID: push.ID{Spool: 1, Index: 1}})
	produce(t, cfg, 1, 0, append(garbage[:3:3], good, garbage[0], good, garbage[1], garbage[2])...)
	produce(t, cfg, 2, 0, garbage...) // nothing else: nobody would ever commit

	consume(t, q, func(ctx context.Context, a push.Assignment) {
		var offsets []int64
		for len(offsets) < 2 {
			recs, err := a.Read(ctx, 1)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range recs {
				offsets = append(offsets, r.Offset)
			}
		}
		if !slices.Equal(offsets, []int64{3, 5}) {
			t.Errorf("offsets %v are read, want 3 and 5", offsets)
		}
		if err := a.Commit(ctx, map[int32]int64{1: 6}); err != nil {
			t.Error(err)
		}
		short, cancel := context.WithCancel(ctx)
		defer cancel()
		var wg sync.WaitGroup
		for _, p := range []int32{1, 2} {
			wg.Go(func() {
				if recs, err := a.Read(short, p); err == nil {
					t.Errorf("partition %d: %d records behind the last", p, len(recs))
				}
			})
		}
		testkit.Eventually(t, time.Minute, func() bool { return committed(t, cfg, 1) == 8 && committed(t, cfg, 2) == 3 },
			"the offsets behind the malformed records are committed")
		cancel()
		wg.Wait()
	})
	if got := q.count.malformed.Get(); got != 9 {
		t.Errorf("malformed_total = %d, want 9", got)
	}
}

// consume runs f with the first assignment.
func consume(t testing.TB, q *Queue, f func(ctx context.Context, a push.Assignment)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
		defer cancel()
		f(ctx, a)
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Consume: %v, want context.Canceled", err)
	}
}

// committed is the group's offset of a partition, -1 when there is none.
func committed(t testing.TB, cfg Config, partition int) int64 {
	t.Helper()
	client, done := admin(cfg)
	defer done()
	res, err := client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{
		GroupID: cfg.Group, Topics: map[string][]int{cfg.Topic: {partition}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.Topics[cfg.Topic][0].CommittedOffset
}

// TestCommitBounds: an offset that was not read cannot be committed, and one in
// front of the committed one does not take it back.
func TestCommitBounds(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	if err := q.Publish(context.Background(), 3, messages(10)); err != nil {
		t.Fatal(err)
	}
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		if _, err := a.Read(ctx, 3); err != nil {
			t.Error(err)
		}
		f := func(offset int64, ok bool, want int64) {
			t.Helper()
			if err := a.Commit(ctx, map[int32]int64{3: offset}); (err == nil) != ok {
				t.Errorf("Commit(%d): %v", offset, err)
			}
			if got := committed(t, cfg, 3); got != want {
				t.Errorf("after Commit(%d) Kafka has %d, want %d", offset, got, want)
			}
		}
		f(11, false, -1)
		f(7, true, 7)
		f(5, true, 7)
		f(10, true, 10)
	})
}

// TestOffsetBehindEnd: an offset is committed that the partition does not have, as
// after a topic was recreated or its broker lost the end. kafka-go's Reader waits
// there in silence; we begin at the beginning.
func TestOffsetBehindEnd(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	if err := q.Publish(context.Background(), 1, messages(5)); err != nil {
		t.Fatal(err)
	}
	client, done := admin(cfg)
	defer done()
	res, err := client.OffsetCommit(context.Background(), &kafka.OffsetCommitRequest{
		GroupID: cfg.Group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{cfg.Topic: {{Partition: 1, Offset: 5000}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Topics[cfg.Topic][0].Error; err != nil {
		t.Fatal(err)
	}
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		recs, err := a.Read(ctx, 1)
		if err != nil || len(recs) != 5 || recs[0].Offset != 0 {
			t.Errorf("Read: %d records, %v; want the 5 from the beginning", len(recs), err)
			return
		}
		if err := a.Commit(ctx, map[int32]int64{1: 5}); err != nil {
			t.Error(err)
		}
	})
	if got := committed(t, cfg, 1); got != 5 {
		t.Errorf("committed is %d, want 5", got)
	}
}

// TestTopicRecreated: the topic is deleted and created again while it is read. The
// assignment ends, and the next one reads the new topic from its beginning.
func TestTopicRecreated(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	r, _ := startReading(t, q)
	if err := q.Publish(context.Background(), 1, messages(10)); err != nil {
		t.Fatal(err)
	}
	r.wait(t, 10)
	assignments := q.count.assignments.Get()
	client, done := admin(cfg)
	defer done()
	if _, err := client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{cfg.Topic}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool {
		client, done := admin(cfg)
		defer done()
		meta, err := client.Metadata(context.Background(), &kafka.MetadataRequest{Topics: []string{cfg.Topic}})
		return err == nil && errors.Is(meta.Topics[0].Error, kafka.UnknownTopicOrPartition)
	}, "the topic is gone")
	again := openQueue(t, cfg)
	more := []push.Message{message(20), message(21), message(22)}
	testkit.Eventually(t, time.Minute, func() bool { return again.Publish(context.Background(), 1, more) == nil }, "the new topic takes messages")
	recs := r.wait(t, 13)
	if recs[10].ID != more[0].ID || recs[10].Offset != 0 || recs[12].ID != more[2].ID {
		t.Errorf("read from the new topic: %v", recs[10:])
	}
	if got := q.count.assignments.Get(); got <= assignments {
		t.Errorf("%d assignments, and still %d behind the new beginning", assignments, got)
	}
}

// TestRecordsRemoved: the brokers remove records that were not read yet, in front
// of the committed offset and in the middle of an assignment. Reading goes on at
// what is left, and what is missing is counted.
func TestRecordsRemoved(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	cfg.FetchBytes = 1 << 10
	q := openQueue(t, cfg)
	publish := func(n int) {
		t.Helper()
		if err := q.Publish(context.Background(), 1, messages(n)); err != nil {
			t.Error(err)
		}
	}
	publish(20)
	deleteRecords(t, cfg, 1, 12)
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		recs, err := a.Read(ctx, 1)
		if err != nil || recs[0].Offset != 12 {
			t.Errorf("Read: %v, %v; want to begin at offset 12", recs, err)
			return
		}
		next := recs[len(recs)-1].Offset + 1
		for range 40 { // beyond one fetch
			publish(5)
		}
		deleteRecords(t, cfg, 1, 100)
		lost := q.count.lost.Get()
		for next <= 100 {
			if recs, err = a.Read(ctx, 1); err != nil {
				t.Error(err)
				return
			}
			next = recs[len(recs)-1].Offset + 1
		}
		if recs[0].Offset != 100 || q.count.lost.Get()-lost == 0 {
			t.Errorf("Read goes on at offset %d with %d counted as lost, want 100 and what is missing", recs[0].Offset, q.count.lost.Get()-lost)
		}
		if err := a.Commit(ctx, map[int32]int64{1: next}); err != nil {
			t.Error(err)
		}
	})
}

// deleteRecords removes what is in front of offset. kafka-go has no such request.
func deleteRecords(t testing.TB, cfg Config, partition int32, offset int64) {
	t.Helper()
	client, done := admin(cfg)
	defer done()
	res, err := client.Transport.RoundTrip(context.Background(), client.Addr, &deleteRecordsRequest{
		Topics: []deleteRecordsTopic{{
			Name: cfg.Topic, Partitions: []deleteRecordsPartition{{Index: partition, Offset: offset}},
		}},
		TimeoutMs: 10_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range res.(*deleteRecordsResponse).Topics {
		for _, p := range topic.Partitions {
			if p.LowWatermark != offset || p.ErrorCode != 0 {
				t.Fatalf("delete records in front of offset %d: the first is %d, error %d", offset, p.LowWatermark, p.ErrorCode)
			}
		}
	}
}

// DeleteRecords v0, https://kafka.apache.org/protocol.html#The_Messages_DeleteRecords
type (
	deleteRecordsRequest struct {
		Topics    []deleteRecordsTopic `kafka:"min=v0,max=v1"`
		TimeoutMs int32                `kafka:"min=v0,max=v1"`
	}
	deleteRecordsTopic struct {
		Name       string                   `kafka:"min=v0,max=v1"`
		Partitions []deleteRecordsPartition `kafka:"min=v0,max=v1"`
	}
	deleteRecordsPartition struct {
		Index  int32 `kafka:"min=v0,max=v1"`
		Offset int64 `kafka:"min=v0,max=v1"`
	}
	deleteRecordsResponse struct {
		ThrottleTimeMs int32                      `kafka:"min=v0,max=v1"`
		Topics         []deleteRecordsTopicResult `kafka:"min=v0,max=v1"`
	}
	deleteRecordsTopicResult struct {
		Name       string                `kafka:"min=v0,max=v1"`
		Partitions []deleteRecordsResult `kafka:"min=v0,max=v1"`
	}
	deleteRecordsResult struct {
		Index        int32 `kafka:"min=v0,max=v1"`
		LowWatermark int64 `kafka:"min=v0,max=v1"`
		ErrorCode    int16 `kafka:"min=v0,max=v1"`
	}
)

func (*deleteRecordsRequest) ApiKey() protocol.ApiKey  { return protocol.DeleteRecords }
func (*deleteRecordsResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

func init() { protocol.Register(&deleteRecordsRequest{}, &deleteRecordsResponse{}) }
