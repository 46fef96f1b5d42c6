package backendtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
)

// RegistryModel does random operations on a registry and on a model of it, a
// map from keys to routes, and compares every answer. Few keys, mids and nodes
// make sure that they meet. The same seed gives the same operations.
func RegistryModel(t *testing.T, seed uint64, steps int, open func(t testing.TB) RegistryBackend) {
	m := &model{
		registry: registry{t, open(t)},
		rng:      rand.New(rand.NewPCG(seed, 0)),
		stands:   make(map[string]cluster.Route),
	}
	for m.step = range steps {
		switch p := m.rng.IntN(100); {
		case p < 40:
			m.connectSome()
		case p < 60:
			m.disconnectSome()
		case p < 78:
			m.checkKeys()
		case p < 96:
			m.checkMids()
		default:
			m.checkScan()
		}
	}
	m.checkScan()
	if len(m.past) < steps/4 || m.refused < steps/100 {
		t.Fatalf("the operations are of no use: %d routes stored, %d refused", len(m.past), m.refused)
	}
}

type model struct {
	registry
	rng     *rand.Rand
	step    int
	stands  map[string]cluster.Route // by key
	past    []cluster.Route          // every route that was ever stored
	refused int                      // registrations with an old stamp
}

func (m *model) what(s string) string { return fmt.Sprintf("step %d: %s", m.step, s) }

func (m *model) aKey() string { return fmt.Sprintf("key-%d", m.rng.IntN(24)) }

func (m *model) aMid() string {
	if n := m.rng.IntN(8); n > 0 {
		return fmt.Sprint(n)
	}
	return ""
}

// aRoute is a new connection, one that is registered again, or one whose stamp
// is a little off a known one.
func (m *model) aRoute() cluster.Route {
	p := m.rng.IntN(10)
	if p < 6 || len(m.past) == 0 {
		node := m.rng.IntN(4)
		return cluster.Route{Key: m.aKey(), Mid: m.aMid(), Node: fmt.Sprintf("gw-%d", node), Epoch: cluster.Epoch(1 + m.rng.IntN(2))}
	}
	a := m.aPastRoute()
	if p == 9 {
		a.Stamp += cluster.Stamp(m.rng.IntN(5)) - 2
		a.Mid = m.aMid()
	}
	return a
}

// aPastRoute was stored lately, or at any time.
func (m *model) aPastRoute() cluster.Route {
	n := len(m.past)
	if m.rng.IntN(2) == 0 {
		return m.past[n-1-m.rng.IntN(min(n, 40))]
	}
	return m.past[m.rng.IntN(n)]
}

func (m *model) connectSome() {
	m.t.Helper()
	routes := make([]cluster.Route, 1+m.rng.IntN(6))
	for i := range routes {
		routes[i] = m.aRoute()
	}
	for i, reg := range m.connect(routes...) {
		m.connected(routes[i], reg)
	}
}

// connected checks the answer to one route and does the same to the model.
func (m *model) connected(a cluster.Route, reg cluster.Registered) {
	m.t.Helper()
	old, stood := m.stands[a.Key]
	same := stood && a.Stamp == old.Stamp && a.Node == old.Node && a.Epoch == old.Epoch
	if a.Stamp != 0 && stood && a.Stamp <= old.Stamp && !same {
		want(m.t, m.what(fmt.Sprintf("answer to %+v while %+v stands", a, old)), reg, cluster.Registered{})
		m.refused++
		return
	}
	switch {
	case a.Stamp != 0:
		want(m.t, m.what("stamp"), reg.Stamp, a.Stamp)
	case reg.Stamp <= old.Stamp:
		m.t.Fatal(m.what(fmt.Sprintf("stamp %d does not follow %d", reg.Stamp, old.Stamp)))
	}
	if same {
		old = none
	}
	want(m.t, m.what("displaced"), reg.Displaced, old)
	a.Stamp = reg.Stamp
	m.stands[a.Key] = a
	m.past = append(m.past, a)
}

func (m *model) disconnectSome() {
	m.t.Helper()
	if len(m.past) == 0 {
		return
	}
	routes := make([]cluster.Route, 1+m.rng.IntN(4))
	for i := range routes {
		a := m.aPastRoute()
		switch m.rng.IntN(12) {
		case 0:
			a.Epoch++
		case 1:
			a.Stamp++
		case 2:
			a.Node += "x"
		case 3:
			a.Mid = m.aMid()
		}
		routes[i] = a
		if is, ok := m.stands[a.Key]; ok && is.Stamp == a.Stamp && is.Epoch == a.Epoch && is.Node == a.Node {
			delete(m.stands, a.Key)
		}
	}
	m.disconnect(routes...)
}

func (m *model) checkKeys() {
	m.t.Helper()
	keys := make([]string, m.rng.IntN(10))
	is := make([]cluster.Route, len(keys))
	for i := range keys {
		keys[i] = m.aKey()
		is[i] = m.stands[keys[i]]
	}
	want(m.t, m.what("keys"), m.keys(keys...), is)
}

func (m *model) checkMids() {
	m.t.Helper()
	mids := make([]string, m.rng.IntN(5))
	is := make([][]cluster.Route, len(mids))
	for i := range mids {
		if mids[i] = m.aMid(); mids[i] == "" {
			continue
		}
		for _, a := range m.stands {
			if a.Mid == mids[i] {
				is[i] = append(is[i], a)
			}
		}
		sortRoutes(is[i])
	}
	want(m.t, m.what("mids"), m.mids(mids...), is)
}

func (m *model) checkScan() {
	m.t.Helper()
	var is []cluster.Route
	for _, a := range m.stands {
		is = append(is, a)
	}
	sortRoutes(is)
	want(m.t, m.what("scan"), slices.Clip(m.scan(1+m.rng.IntN(30))), is)
}
