package bench

import (
	"encoding/json"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/halley-im/halley/bench/swarm"
)

// Result is what a run has shown; --json writes it and report reads it. Times are
// in milliseconds, memory in bytes, CPU in seconds unless a name says otherwise.
type Result struct {
	Scenario string    `json:"scenario"`
	Target   string    `json:"target"`
	Label    string    `json:"label,omitempty"`
	Time     time.Time `json:"time"`
	Command  []string  `json:"command"`
	Version  string    `json:"version"`
	Machine  Machine   `json:"machine"`

	Clients   Clients            `json:"clients"`
	Connect   *Connect           `json:"connect,omitempty"`
	Flows     []Flow             `json:"flows,omitempty"`
	Deliver   *Deliver           `json:"deliver,omitempty"`
	Crowd     *Deliver           `json:"crowd,omitempty"` // what another room's members have got meanwhile
	Reach     []Reach            `json:"reach,omitempty"`
	Floor     *FloorFigures      `json:"floor,omitempty"`
	Servers   []Server           `json:"servers,omitempty"`
	Kernel    *Kernel            `json:"kernel,omitempty"`
	Harness   Harness            `json:"harness"`
	Figures   map[string]float64 `json:"figures"` // the scenario's own, by name and unit
	Series    []Point            `json:"series,omitempty"`
	Faults    swarm.Faults       `json:"faults"`
	Foreign   int64              `json:"foreign,omitempty"` // messages of somebody else
	Ended     map[string]int     `json:"ended,omitempty"`   // open connections that have ended, by reason
	Examples  []string           `json:"examples,omitempty"`
	Warnings  []string           `json:"warnings,omitempty"`
	Failures  []string           `json:"failures,omitempty"` // why the run counts as failed
	Cancelled bool               `json:"cancelled,omitempty"`
}

// Machine is where the coordinator has run.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory"`
	Go     string `json:"go"`
}

// Clients is who was connected.
type Clients struct {
	Connections int      `json:"connections"`
	Processes   int      `json:"processes"`
	Addresses   []string `json:"addresses"`
	RoomSize    int      `json:"room_size"`
	ClockError  float64  `json:"clock_error_us"` // of the worst worker
}

// Connect is how they got in.
type Connect struct {
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"`
	Latency   Percentiles    `json:"latency_ms"` // from connecting to the answer to op 7
	Refused   map[string]int `json:"refused,omitempty"`
}

// Flow is one kind of pushes.
type Flow struct {
	Name      string           `json:"name"`
	Offered   float64          `json:"offered_per_second,omitempty"` // 0: as fast as answers come
	Lanes     int              `json:"connections"`
	Sent      int64            `json:"sent"`
	Accepted  int64            `json:"accepted"`
	Refused   int64            `json:"refused"`
	Unknown   int64            `json:"unknown"`
	Behind    int64            `json:"behind,omitempty"` // due when the flow was ended, and not sent
	PerSecond float64          `json:"accepted_per_second"`
	Seconds   float64          `json:"seconds"`
	Answer    Percentiles      `json:"answer_ms"`
	Late      Percentiles      `json:"harness_late_ms"` // the harness's own part in the latencies
	Why       map[string]int64 `json:"why,omitempty"`   // pushes were not accepted
}

// Deliver is what has arrived in the window.
type Deliver struct {
	Seconds   float64     `json:"seconds"`
	Messages  int64       `json:"messages"`
	PerSecond float64     `json:"per_second"`
	Bytes     int64       `json:"bytes"`
	PerFrame  float64     `json:"messages_per_frame"` // 0 over TCP, where messages have no frame in common
	PerRead   float64     `json:"messages_per_read"`
	Latency   Percentiles `json:"latency_ms"` // from when a message was due
}

// Reach is one push that everybody must get.
type Reach struct {
	To       string  `json:"to"`
	Clients  int     `json:"clients"`
	Reached  int64   `json:"reached"`
	MedianMS float64 `json:"median_ms"` // from the call
	LastMS   float64 `json:"last_ms"`   // likewise
}

// Server is the processes of one name.
type Server struct {
	Name      string  `json:"name"`
	Processes int     `json:"processes"`
	CPU       float64 `json:"cpu_seconds"`
	Cores     float64 `json:"cores"` // CPU seconds to a second
	PerCPU    float64 `json:"messages_per_cpu_second,omitempty"`
	PerWrite  float64 `json:"messages_per_write,omitempty"` // by the kernel's count of write calls
	Memory    Memory  `json:"memory"`                       // when the window ended
	Before    Memory  `json:"memory_before"`                // before anybody connected
	PerConn   float64 `json:"bytes_per_connection,omitempty"`
	Each      []int64 `json:"each_process_pss,omitempty"`
}

// Kernel is what connections take there, both ends if both are on this machine.
type Kernel struct {
	Slab       int64   `json:"slab"`      // of everything, more than before
	Buffers    int64   `json:"buffers"`   // TCP's memory, by sockstat, more than before
	Available  int64   `json:"available"` // MemAvailable, when the window ended
	Taken      int64   `json:"taken"`     // MemAvailable, less than before
	PerConn    float64 `json:"slab_per_connection"`
	TakenPer   float64 `json:"taken_per_connection"`
	CgroupUsed int64   `json:"cgroup_used,omitempty"`
	CgroupTCP  int64   `json:"cgroup_tcp,omitempty"`
}

// Harness is what measuring itself has taken.
type Harness struct {
	CPU          float64 `json:"cpu_seconds"`
	Cores        float64 `json:"cores"`
	PerMessageUS float64 `json:"cpu_us_per_message"`
	BytesPerConn float64 `json:"bytes_per_connection"` // resident, of a client
	Busiest      float64 `json:"busiest_client_process"`
	Bound        bool    `json:"client_bound"`
}

// Point is one second of a run.
type Point struct {
	Second    float64 `json:"s"`
	Open      int     `json:"open"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	Cores     float64 `json:"server_cores"`
	RSS       int64   `json:"server_rss"`
}

// Percentiles of times.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	at := func(q float64) float64 { return ms(h.ValueAtQuantile(q)) }
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	return Percentiles{
		Count: h.TotalCount(), Mean: h.Mean() / 1e6, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: ms(h.Max()),
	}
}

// write writes r to a file, whole or not at all.
func (r *Result) write(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".tmp", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
