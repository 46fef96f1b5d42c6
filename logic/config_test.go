package logic

import (
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func TestConfig(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{RestAddr: "x", GoimAck: "delivered", SpoolBytes: -1, Backoff: Backoff{Jitter: -1}}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{
		"rest_addr", "internal_addr", "producers", "spool_messages", "spool_bytes", "max_body", "max_header",
		"goim_ack: \"delivered\" is none of accepted, queued", "queued_timeout", "push_ids", "drain_timeout", "backoff",
	} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
}

// Every field is documented where flags, files and --help take it from.
func TestConfigHelp(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Backoff]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() != reflect.Struct && f.Tag.Get("help") == "" {
				t.Errorf("%s.%s has no help", typ, f.Name)
			}
		}
	}
}

func TestNewNeedsDeps(t *testing.T) {
	if _, err := New(Default(), Deps{}, slog.New(slog.NewTextHandler(io.Discard, nil)), metrics.NewSet()); err == nil {
		t.Fatal("made without dependencies")
	}
}
