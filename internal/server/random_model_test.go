package server

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// model is a state machine beside the ensemble that applies the same log, and
// remembers what happened in it: what every client saw is held against that.
type model struct {
	t       testing.TB
	r       *rig
	machine *statemachine.Machine
	applied int
	sink    modelSink

	sent     map[string]*task // by operation and body, which no two writes share
	outcomes map[writeKey]outcome
	last     map[int64]int        // by session: number of the last write executed
	history  map[string][]version // by path
	events   []statemachine.Event
	live     map[string]int64 // ephemerals and their sessions

	// Since when a session's silence counts: when it was last attached, and what
	// the leader was told of. What it is told in a tick (fresh) counts from the
	// next one on, because an expiry may be under way.
	attached, heard, fresh map[int64]time.Duration
}

// task is a write or a read that a client has sent.
type task struct {
	client string
	n      int    // rises with each of the client's writes
	seq    uint64 // of the write in its connection, if it is one
	path   string // that it reads
	done   int    // how often it was executed
}

type writeKey struct {
	session int64
	epoch   uint32
	seq     uint64
}

type outcome struct {
	zxid int64
	code jute.ErrCode
	body string
}

type version struct {
	zxid   int64
	exists bool
	data   string
}

func newModel(t testing.TB, r *rig) *model {
	m := &model{
		t: t, r: r, machine: statemachine.New(), sent: make(map[string]*task), outcomes: make(map[writeKey]outcome),
		last: make(map[int64]int), history: make(map[string][]version), live: make(map[string]int64),
		attached: make(map[int64]time.Duration), heard: make(map[int64]time.Duration), fresh: make(map[int64]time.Duration),
	}
	m.sink.m = m
	return m
}

func bodyKey(op jute.OpCode, body []byte) string { return fmt.Sprintf("%v %s", op, body) }

// follow applies what is new in the log.
func (m *model) follow() {
	for ; m.applied < len(m.r.log); m.applied++ {
		e := m.r.log[m.applied]
		m.sink.ops = m.sink.ops[:0]
		if data := e.GetData(); len(data) > 0 {
			m.sink.ops = splitOps(data[statemachine.HeaderSize:], m.sink.ops)
		}
		if err := m.machine.Apply(e.GetIndex(), e.GetTerm(), e.GetData(), &m.sink); err != nil {
			m.t.Fatal(err)
		}
	}
	m.checkEphemerals()
}

type sessionOp struct {
	writeKey
	op   jute.OpCode
	body []byte
}

// splitOps finds the sessions' operations in a batch.
func splitOps(b []byte, out []sessionOp) []sessionOp {
	for len(b) > 0 {
		n := int(binary.BigEndian.Uint32(b))
		op := b[4 : 4+n]
		b = b[4+n:]
		if op[0] != 1 { // a session's
			continue
		}
		out = append(out, sessionOp{
			writeKey: writeKey{int64(binary.BigEndian.Uint64(op[1:])), binary.BigEndian.Uint32(op[9:]), binary.BigEndian.Uint64(op[13:])},
			op:       jute.OpCode(int32(binary.BigEndian.Uint32(op[22:]))), body: op[26:],
		})
	}
	return out
}

// modelSink hears what the model's machine does.
type modelSink struct {
	m   *model
	ops []sessionOp // of the entry
}

func (k *modelSink) Changed(ev statemachine.Event) {
	m := k.m
	ev.Path = strings.Clone(ev.Path)
	m.events = append(m.events, ev)
	t := m.machine.Tree()
	v := version{zxid: ev.Zxid}
	if id := t.Find(ev.Path); id != tree.None {
		v.exists, v.data = true, string(t.Data(id))
		if t.Kind(id) == tree.Ephemeral {
			m.live[ev.Path] = t.Owner(id)
		}
	}
	m.history[ev.Path] = append(m.history[ev.Path], v)
}

func (k *modelSink) Replied(r *statemachine.Result) {
	m := k.m
	key := writeKey{r.Session, r.Epoch, r.Seq}
	if _, twice := m.outcomes[key]; twice {
		m.t.Errorf("write %+v is executed twice", key)
	}
	i := slices.IndexFunc(k.ops, func(o sessionOp) bool { return o.writeKey == key })
	if i < 0 {
		m.t.Fatalf("write %+v is executed, and is not in the entry", key)
	}
	body := bodyKey(k.ops[i].op, k.ops[i].body)
	m.outcomes[key] = outcome{r.Zxid, r.Err, body}
	w := m.sent[body]
	if w == nil {
		m.t.Fatalf("a %v is executed that nobody has sent", r.Op)
	}
	if w.done++; w.done > 1 {
		m.t.Errorf("%s's write %d is executed %d times", w.client, w.n, w.done)
	}
	if w.n <= m.last[r.Session] {
		m.t.Errorf("%s's write %d (%+v) is executed after its write %d", w.client, w.n, key, m.last[r.Session])
	}
	m.last[r.Session] = w.n
}

func (k *modelSink) Refused(statemachine.SessionOp)    {}
func (k *modelSink) Attached(*statemachine.Attachment) {}

func (k *modelSink) Ended(e statemachine.End) {
	m := k.m
	for path, owner := range m.live {
		if owner != e.Session.ID {
			continue
		}
		if m.machine.Tree().Find(path) != tree.None {
			m.t.Errorf("%s outlives its session %d", path, owner)
		}
		delete(m.live, path)
	}
	// Only for the silence of its client.
	id, timeout := e.Session.ID, time.Duration(e.Session.Timeout)*time.Millisecond
	if silence := m.r.now - max(m.attached[id], m.heard[id]); e.Expired && silence < timeout {
		m.t.Errorf("session %d has expired after a silence of %v; its timeout is %v", id, silence, timeout)
	}
}

// ticked notes whom the leader has heard of.
func (m *model) ticked() {
	for id, at := range m.fresh {
		m.heard[id] = max(m.heard[id], at)
	}
	clear(m.fresh)
	for _, c := range m.r.clients {
		if l := c.link; l != nil && !l.m.cut && !m.r.leader.cut && l.c.phase == phaseAttached {
			m.fresh[l.c.session] = time.Duration(l.c.lastHeard.Load())
		}
	}
}

// checkEphemerals wants the ephemerals of all sessions that live.
func (m *model) checkEphemerals() {
	t := m.machine.Tree()
	for path, owner := range m.live {
		if id := t.Find(path); id == tree.None || t.Owner(id) != owner {
			m.t.Errorf("%s is gone, or not session %d's any more, though that lives", path, owner)
		}
	}
	if len(m.live) != t.EphemeralCount() {
		m.t.Errorf("%d ephemerals, want %d", t.EphemeralCount(), len(m.live))
	}
}

// at returns what a path was at a zxid.
func (m *model) at(path string, zxid int64) version {
	v := version{}
	for _, h := range m.history[path] {
		if h.zxid <= zxid {
			v = h
		}
	}
	return v
}

// watcher is what a client of the random test expects on its connection.
type watcher struct {
	m *model
	c *client

	writes  uint64 // sent on this connection
	changes int    // tasks so far that write, over all connections
	own     []string

	// The watch on everything, once set: next is the first of the model's events
	// that has not come. A negative next is one not set.
	next int
	// The one-shot watch on /shared, set at this zxid; negative: not set.
	shared int64
	// told is what setWatches told of /shared on this connection.
	told int
}

func (w *watcher) reset() {
	w.writes, w.next, w.told = 0, -1, 0
}

// see is told of everything that the client sees.
func (w *watcher) see(c *client, m *message) {
	if *randomSeed != 0 {
		w.m.t.Logf("%v %s %s", c.r.now, c.name, c.describe(m))
	}
	switch m.what {
	case "refused":
		if w.m.machine.Sessions().Get(c.session) != nil && c.session != 0 {
			w.m.t.Errorf("%s is told that session %d is gone, which lives", c.name, c.session)
		}
		c.session, c.password, w.shared = 0, nil, -1
	case "event":
		w.event(m)
	case "reply", "ping":
		w.uptodate(m.zxid)
		if q, ok := m.tag.(*task); ok {
			w.reply(m, q)
		}
	}
}

// event wants the next of the events, without a gap.
func (w *watcher) event(m *message) {
	t := w.m.t
	if m.zxid < 0 {
		if m.path != "/shared" || m.event != jute.EventNodeDataChanged {
			t.Errorf("%s: setWatches told of %v %s", w.c.name, m.event, m.path)
		}
		w.told++
		return
	}
	if w.next < 0 {
		if m.path != "/shared" || w.shared < 0 {
			t.Errorf("%s: event %v %s, for which nothing watches", w.c.name, m.event, m.path)
		}
		w.shared = -1
		return
	}
	if w.next >= len(w.m.events) {
		t.Fatalf("%s: event %v %s of %s, which has not happened", w.c.name, m.event, m.path, zxid(m.zxid))
	}
	want := w.m.events[w.next]
	if want.Zxid != m.zxid || want.Type != m.event || want.Path != m.path {
		t.Errorf("%s: event %v %s of %s, want %v %s of %s", w.c.name, m.event, m.path, zxid(m.zxid), want.Type, want.Path, zxid(want.Zxid))
	}
	w.next++
	if m.path == "/shared" {
		w.shared = -1 // one event for both watches
	}
}

// uptodate wants every event up to a zxid that the client has been shown.
func (w *watcher) uptodate(shown int64) {
	if w.next >= 0 && w.next < len(w.m.events) && w.m.events[w.next].Zxid <= shown {
		want := w.m.events[w.next]
		w.m.t.Errorf("%s is shown %s, and was not told of %v %s of %s", w.c.name, zxid(shown), want.Type, want.Path, zxid(want.Zxid))
	}
	if w.shared >= 0 && w.m.at("/shared", shown).zxid > w.shared {
		w.m.t.Errorf("%s is shown %s, and was not told that /shared has changed since %s", w.c.name, zxid(shown), zxid(w.shared))
		w.shared = -1
	}
}

func (w *watcher) reply(m *message, q *task) {
	t := w.m.t
	switch m.op {
	case jute.OpGetData, jute.OpExists:
		w.read(m, q)
	case jute.OpAddWatch:
		w.next = slices.IndexFunc(w.m.events, func(e statemachine.Event) bool { return e.Zxid > m.zxid })
		if w.next < 0 {
			w.next = len(w.m.events)
		}
	case jute.OpSetWatches:
		was := int64(q.n)
		want := 0
		if w.m.at("/shared", m.zxid).zxid > was {
			want = 1
		}
		if w.told != want {
			t.Errorf("%s: setWatches of %s at %s told %d times of /shared, want %d", w.c.name, zxid(was), zxid(m.zxid), w.told, want)
		}
		if w.shared = -1; want == 0 {
			w.shared = m.zxid
		}
	default:
		got, ok := w.m.outcomes[writeKey{w.c.session, w.c.link.c.epoch, q.seq}]
		if !ok || got.zxid != m.zxid || got.code != m.code || got.body != bodyKey(m.op, m.request.body) {
			t.Errorf("%s: write %d (seq %d, %v) is answered with %v at %s; executed: %v, with %v at %s", w.c.name, q.n, q.seq, m.op, m.code, zxid(m.zxid), ok, got.code, zxid(got.zxid))
		}
	}
}

// read wants the state as of the zxid that the reply shows: no more, no less.
func (w *watcher) read(m *message, q *task) {
	want := w.m.at(q.path, m.zxid)
	d := m.d
	switch {
	case want.exists != (m.code == jute.OK):
		w.m.t.Errorf("%s: %v of %s at %s: %v; want it there: %v", w.c.name, m.op, q.path, zxid(m.zxid), m.code, want.exists)
	case m.code == jute.OK && m.op == jute.OpGetData:
		if got := string(d.Buffer()); got != want.data {
			w.m.t.Errorf("%s: %s at %s is %q, want %q", w.c.name, q.path, zxid(m.zxid), got, want.data)
		}
	}
	if q.path == "/shared" && m.op == jute.OpGetData && m.code == jute.OK {
		w.shared = m.zxid
	}
}
