package statemachine

import (
	"fmt"
	"testing"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/watch"
)

// deaf is a Sink that does nothing.
type deaf struct{}

func (deaf) Changed(Event)        {}
func (deaf) Replied(*Result)      {}
func (deaf) Refused(SessionOp)    {}
func (deaf) Attached(*Attachment) {}
func (deaf) Ended(End)            {}

// watching is a Sink that looks up who watches, as the server does, and tells
// nobody.
type watching struct {
	deaf
	table *watch.Table[int]
	told  int
}

func (w *watching) Changed(e Event) {
	deliver := func(int, jute.EventType, string) { w.told++ }
	switch e.Type {
	case jute.EventNodeCreated:
		w.table.Created(e.Path, deliver)
	case jute.EventNodeDeleted:
		w.table.Deleted(e.Path, deliver)
	case jute.EventNodeDataChanged:
		w.table.DataChanged(e.Path, deliver)
	}
}

// load is a machine under a load: rounds of writes by one session, each in an
// entry of its own that is made up beforehand, but for the session's number.
type load struct {
	tb    testing.TB
	m     *Machine
	sink  Sink
	seq   uint64
	index uint64
	entry []byte
}

// newLoad makes a tree of so many nodes below /load.
func newLoad(tb testing.TB, nodes int, sink Sink) *load {
	b := newBox(tb)
	c := b.open(1)
	c.create("/load", "")
	for i := range nodes {
		c.create(fmt.Sprintf("/load/node-%06d", i), "some data to begin with")
	}
	return &load{tb: tb, m: b.Machine, sink: sink, seq: c.seq, index: b.index}
}

func (l *load) apply(op jute.OpCode, body []byte) {
	l.seq++
	l.index++
	l.entry = AppendHeader(l.entry[:0], testTime)
	l.entry = AppendSessionOp(l.entry, SessionOp{Session: 1, Epoch: 1, Seq: l.seq, Flags: everything, Op: op}, body)
	if err := l.m.Apply(l.index, 1, l.entry, l.sink); err != nil {
		l.tb.Fatal(err)
	}
	if r := &l.m.result; r.Seq != l.seq || r.Err != jute.OK || len(r.Parts) > 0 && r.Parts[0].Err != jute.OK {
		l.tb.Fatalf("%v: %+v", op, r)
	}
}

// work is one kind of load: do runs the i-th round of it.
type work struct {
	name string
	do   func(l *load, i int)
	// allocs is how many allocations a round may take at most, on average.
	allocs float64
}

func someWork(nodes int) []work {
	paths := make([]string, nodes)
	for i := range paths {
		paths[i] = fmt.Sprintf("/load/node-%06d", i)
	}
	data := string(make([]byte, 100))
	bodies := func(body func(path string) []byte) (out [][]byte) {
		for _, p := range paths {
			out = append(out, body(p))
		}
		return out
	}
	sets := bodies(func(p string) []byte { return setBody(p, data, -1) })
	creates := bodies(func(p string) []byte { return createBody(p+"-new", data, open, 0) })
	auths := bodies(func(p string) []byte {
		return createBody(p+"-new", data, []jute.ACL{entry(31, "ip", "10.0.0.0/8"), entry(1, "world", "anyone")}, 0)
	})
	deletes := bodies(func(p string) []byte { return versionBody(p+"-new", -1) })
	var setTens, createTens, deleteTens [][]byte
	for i := range nodes / 10 {
		var s, c, d []part
		for _, p := range paths[i*10 : i*10+10] {
			s, c, d = append(s, set(p, data)), append(c, create(p+"-new", data)), append(d, del(p+"-new"))
		}
		setTens, createTens, deleteTens = append(setTens, multiBody(s...)), append(createTens, multiBody(c...)), append(deleteTens, multiBody(d...))
	}
	sequential := createBody("/load/seq-", data, open, jute.ModePersistentSequential)
	ephemeral := createBody("/load/ephemeral", data, open, jute.ModeEphemeral)
	gone := versionBody("/load/ephemeral", -1)
	return []work{
		{"setData", func(l *load, i int) { l.apply(jute.OpSetData, sets[i%nodes]) }, 0},
		// The tree grows and shrinks by all of its size, so that what a create
		// costs a delete does not hide.
		{"create and delete", func(l *load, i int) {
			if i/nodes%2 == 0 {
				l.apply(jute.OpCreate, creates[i%nodes])
			} else {
				l.apply(jute.OpDelete, deletes[i%nodes])
			}
		}, 0},
		{"create with an ACL, and delete", func(l *load, i int) {
			if i/nodes%2 == 0 {
				l.apply(jute.OpCreate, auths[i%nodes])
			} else {
				l.apply(jute.OpDelete, deletes[i%nodes])
			}
		}, 1},
		{"create sequential", func(l *load, i int) { l.apply(jute.OpCreate2, sequential) }, 0},
		{"ephemeral comes and goes", func(l *load, i int) {
			l.apply(jute.OpCreate, ephemeral)
			l.apply(jute.OpDelete, gone)
		}, 1},
		{"multi of 10 setData", func(l *load, i int) { l.apply(jute.OpMulti, setTens[i%len(setTens)]) }, 0},
		{"multi of 10 create and delete", func(l *load, i int) {
			if i/len(createTens)%2 == 0 {
				l.apply(jute.OpMulti, createTens[i%len(createTens)])
			} else {
				l.apply(jute.OpMulti, deleteTens[i%len(deleteTens)])
			}
		}, 0},
	}
}

func BenchmarkApply(b *testing.B) {
	const nodes = 10_000
	for _, sink := range []string{"deaf", "watched", "quota"} {
		for _, w := range someWork(nodes) {
			b.Run(sink+"/"+w.name, func(b *testing.B) {
				l := newLoad(b, nodes, deaf{})
				switch sink {
				case "watched":
					t := watch.New[int]()
					for i := range nodes {
						t.Add(i%100, fmt.Sprintf("/load/node-%06d", i), watch.Persistent)
					}
					t.Add(7, "/load", watch.PersistentRecursive)
					l.sink = &watching{table: t}
				case "quota":
					c := &client{box: &box{TB: b, Machine: l.m, term: 1, index: l.index}, id: 1, epoch: 1, seq: l.seq, flags: everything}
					c.quota("/load", "countHardLimit=1000000000,byteHardLimit=1000000000000")
					l.seq, l.index = c.seq, c.index
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					w.do(l, i)
					i++
				}
			})
		}
	}
}

// What clients do all day allocates nothing once the tree has its size.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	const nodes = 1000
	for _, w := range someWork(nodes) {
		l := newLoad(t, nodes, deaf{})
		i := 0
		round := func() {
			w.do(l, i)
			i++
		}
		for range 2 * nodes {
			round()
		}
		if got := testing.AllocsPerRun(2*nodes, round); got > w.allocs {
			t.Errorf("%s: %v allocations, where %v will do", w.name, got, w.allocs)
		}
	}
}
