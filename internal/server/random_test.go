package server

import (
	"bytes"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

var (
	randomSeed  = flag.Uint64("random.seed", 0, "run TestRandom with this seed only")
	randomFirst = flag.Uint64("random.first", 1, "the first seed of TestRandom")
	randomRuns  = flag.Uint64("random.runs", 40, "how many seeds TestRandom runs with")
)

// TestRandom throws everything at the pipeline that can happen to it: lost,
// repeated, delayed batches, changes of leader, members that lag, are cut off,
// crash or get a snapshot, clients that come, move, fall silent, do not read
// and go. What every client saw must be what happened (see model).
func TestRandom(t *testing.T) {
	seeds := []uint64{*randomSeed}
	if *randomSeed == 0 {
		seeds = nil
		for i := range *randomRuns {
			seeds = append(seeds, *randomFirst+i)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newChaos(t, seed).run(400) })
	}
}

// chaos is one run.
type chaos struct {
	t        *testing.T
	rng      *mathrand.Rand
	r        *rig
	m        *model
	watchers []*watcher
	mirror   mirror
	options  func(*Options)
}

func newChaos(t *testing.T, seed uint64) *chaos {
	newOrderly(t)
	x := &chaos{t: t, rng: mathrand.New(mathrand.NewPCG(seed, 7))}
	x.options = func(o *Options) {
		o.MaxOutstanding = 3 + int(seed%10)
		o.MaxUnsent = 2000
		if seed%3 == 0 {
			o.GlobalOutstanding = 12
		}
	}
	x.r = newRig(t, 3, x.options)
	x.m = newModel(t, x.r)
	x.r.appended, x.r.ticked = x.m.follow, x.m.ticked
	for i := range 6 {
		c := x.r.newClient(fmt.Sprintf("c%d", i))
		w := &watcher{m: x.m, c: c, shared: -1}
		w.reset()
		c.observe = w.see
		c.timeout = time.Duration(2+x.rng.IntN(6)) * time.Second
		x.watchers = append(x.watchers, w)
	}
	return x
}

func (x *chaos) run(steps int) {
	for i := 0; i < steps && !x.t.Failed(); i++ {
		x.step()
		if x.chance(20) {
			x.follow(5)
		}
	}
	x.calm()
	if !x.t.Failed() {
		x.checkMirror()
	}
}

func (x *chaos) chance(percent int) bool { return x.rng.IntN(100) < percent }

func (x *chaos) member() *member { return x.r.members[x.rng.IntN(len(x.r.members))] }

func (x *chaos) watcher() *watcher { return x.watchers[x.rng.IntN(len(x.watchers))] }

func (x *chaos) trace(format string, args ...any) {
	if *randomSeed != 0 {
		x.t.Logf("%v "+format, append([]any{x.r.now}, args...)...)
	}
}

func (x *chaos) step() {
	r := x.r
	switch n := x.rng.IntN(100); {
	case n < 45:
		x.request(x.watcher())
	case n < 60:
		r.commitOnce()
		r.settle()
	case n < 65:
		x.move(x.watcher())
	case n < 67:
		if c := x.watcher().c; c.link != nil {
			x.trace("%s hangs up", c.name)
			c.link.hangUp()
			c.link = nil
		}
	case n < 72:
		x.pass(time.Duration(x.rng.IntN(1500)) * time.Millisecond)
	case n < 75:
		m := x.member()
		x.trace("%s repeats", m.name)
		m.given = 0
	case n < 78:
		m := x.member()
		x.trace("%s loses %d bytes", m.name, len(m.take(nil)))
	case n < 81:
		m := x.member()
		m.held = m.take(m.held)
		x.trace("%s holds %d bytes", m.name, len(m.held))
	case n < 84:
		if m := x.member(); len(m.held) > 0 && !m.cut && !r.leader.cut {
			x.trace("what %s held arrives", m.name)
			r.append(append(statemachine.AppendHeader(nil, r.wall), m.held...))
			m.held = nil
			r.settle()
		}
	case n < 86:
		if m := x.member(); !m.cut {
			x.trace("%s leads", m.name)
			r.lead(m)
		}
	case n < 91:
		x.lag(x.member())
	case n < 94:
		x.cut(x.member())
	case n < 95:
		x.crash(x.member())
	case n < 96:
		x.staleExpiry(x.watcher().c)
	case n < 98:
		x.stuff(x.watcher().c)
	default:
		r.linger = !r.linger
		if !r.linger {
			x.endLinger()
		}
	}
}

// write registers a write: no two have the same body.
func (x *chaos) write(w *watcher, op jute.OpCode, body []byte) request {
	w.changes++
	w.writes++
	q := &task{client: w.c.name, n: w.changes, seq: w.writes}
	x.m.sent[bodyKey(op, body)] = q
	return request{op: op, body: body, tag: q}
}

func (x *chaos) read(op jute.OpCode, path string, watch bool) request {
	return request{op: op, body: (&jute.PathWatchRequest{Path: path, Watch: watch}).Append(nil), tag: &task{path: path}}
}

func createBody(path, data string, mode jute.CreateMode) []byte {
	return (&jute.CreateRequest{Path: path, Data: []byte(data), ACL: openACL(), Mode: mode}).Append(nil, jute.OpCreate)
}

func setBody(path, data string) []byte {
	return (&jute.SetDataRequest{Path: path, Data: []byte(data), Version: -1}).Append(nil)
}

// request sends one to six requests in a packet.
func (x *chaos) request(w *watcher) {
	c := w.c
	if c.link == nil {
		x.move(w)
		return
	}
	var reqs []request
	for range 1 + x.rng.IntN(6) {
		reqs = append(reqs, x.one(w))
	}
	if x.chance(2) {
		w.c.ping(false)
	}
	c.send(reqs...)
	if x.chance(70) {
		x.r.settle()
	}
}

// one makes up a request.
func (x *chaos) one(w *watcher) request {
	tag := fmt.Sprintf("%s.%d", w.c.name, w.changes+1)
	reg := "/reg-" + w.c.name
	switch n := x.rng.IntN(100); {
	case n < 20:
		return x.read(jute.OpGetData, reg, false)
	case n < 25:
		return x.read(jute.OpGetData, "/reg-"+x.watcher().c.name, false)
	case n < 30:
		return x.read(jute.OpGetData, "/shared", true)
	case n < 45:
		return x.write(w, jute.OpSetData, setBody(reg, tag))
	case n < 55:
		return x.write(w, jute.OpSetData, setBody("/shared", tag))
	case n < 62:
		w.own = append(w.own, "/u-"+tag)
		return x.write(w, jute.OpCreate, createBody("/u-"+tag, tag, jute.ModePersistent))
	case n < 72:
		return x.write(w, jute.OpCreate, createBody("/e-"+tag, tag, jute.ModeEphemeral))
	case n < 77 && len(w.own) > 0:
		path := w.own[0]
		w.own = w.own[1:]
		return x.write(w, jute.OpDelete, (&jute.PathVersionRequest{Path: path, Version: -1}).Append(nil))
	case n < 82 && len(w.own) > 0:
		return x.read(jute.OpExists, w.own[x.rng.IntN(len(w.own))], false)
	case n < 90:
		return x.write(w, jute.OpMulti, x.multi(w, reg, tag))
	case n < 93:
		return x.write(w, jute.OpSync, (&jute.PathRequest{Path: "/" + tag}).Append(nil))
	case n < 95:
		id, _ := x.r.members[0].srv.digest(tag + ":pw")
		x.write(w, jute.OpAuth, statemachine.AuthBody(jute.ID{Scheme: "digest", ID: id}))
		return request{xid: jute.XidAuth, op: jute.OpAuth, body: (&jute.AuthRequest{Scheme: "digest", Auth: []byte(tag + ":pw")}).Append(nil)}
	case n < 96 && x.chance(30):
		return x.write(w, jute.OpCloseSession, []byte(tag)) // nobody reads the body
	}
	return request{op: jute.OpAddWatch, body: (&jute.WatchSelection{Path: "/", Kind: int32(jute.AddWatchPersistentRecursive)}).Append(nil), tag: &task{}}
}

// multi is one that succeeds, or fails behind what it has done.
func (x *chaos) multi(w *watcher, reg, tag string) []byte {
	var b []byte
	part := func(op jute.OpCode, body []byte) {
		b = jute.MultiHeader{Type: op, Err: -1}.Append(b)
		b = append(b, body...)
	}
	part(jute.OpSetData, setBody(reg, tag))
	part(jute.OpCreate, createBody("/m-"+tag, tag, jute.ModeEphemeral))
	part(jute.OpSetData, setBody("/shared", tag))
	part(jute.OpSetData, setBody("/m-"+tag, tag))
	if x.chance(40) {
		part(jute.OpCheck, (&jute.PathVersionRequest{Path: "/shared", Version: 1 << 30}).Append(nil))
	}
	return jute.MultiEnd.Append(b)
}

// move connects a client to some member, with what it watches behind the
// handshake.
func (x *chaos) move(w *watcher) {
	c := w.c
	if c.link != nil {
		c.link.hangUp()
	}
	w.reset()
	if c.session == 0 {
		w.shared, c.lastZxid = -1, 0
	}
	var behind []request
	if w.shared >= 0 {
		relative := c.lastZxid
		w.shared = -1
		behind = append(behind, request{xid: jute.XidSetWatches, op: jute.OpSetWatches,
			body: (&jute.SetWatchesRequest{RelativeZxid: relative, Data: []string{"/shared"}}).Append(nil, jute.OpSetWatches), tag: &task{n: int(relative)}})
	}
	// The registers are made by whoever comes first.
	behind = append(behind, x.write(w, jute.OpCreate, createBody("/reg-"+c.name, fmt.Sprintf("%s.%d", c.name, w.changes), jute.ModePersistent)),
		x.write(w, jute.OpCreate, createBody("/shared", fmt.Sprintf("%s.%d", c.name, w.changes), jute.ModePersistent)))
	for range x.rng.IntN(3) {
		behind = append(behind, x.one(w))
	}
	m := x.member()
	x.trace("%s moves to %s with session %d and %d requests", c.name, m.name, c.session, len(behind))
	c.connect(m, c.hello(), behind...)
	if x.chance(50) {
		x.r.settle()
	}
}

// pass lets time go by; some clients are silent.
func (x *chaos) pass(d time.Duration) {
	mask := 0
	if x.chance(50) {
		mask = x.rng.IntN(64)
	}
	x.trace("%v pass, silent: %b", d, mask)
	x.r.pass(d, func(c *client) bool {
		i := slices.IndexFunc(x.watchers, func(w *watcher) bool { return w.c == c })
		return mask&(1<<i) != 0
	}, nil)
}

func (x *chaos) lag(m *member) {
	if m.cut {
		return
	}
	x.trace("%s lags: %v", m.name, !m.lagging)
	if !m.lagging {
		m.lagging = true
		return
	}
	behind := len(x.r.log) - m.applied
	if behind > 0 && x.chance(30) {
		m.applyTo(m.applied + 1 + x.rng.IntN(behind)) // some, in one batch
		return
	}
	if from := x.member(); behind > 2 && m != x.r.leader && from.applied > m.applied && x.chance(30) {
		m.restore(bytes.NewReader(from.endSnapshot(from.beginSnapshot())), from.applied)
	}
	m.lagging = false
	m.catchUp()
}

func (x *chaos) cut(m *member) {
	r := x.r
	if m.cut {
		x.trace("%s is healed", m.name)
		x.heal(m)
		return
	}
	if slices.ContainsFunc(r.members, func(o *member) bool { return o.cut }) {
		return // two are a majority
	}
	x.trace("%s is cut off", m.name)
	m.Contact()
	m.cut = true
	if m == r.leader {
		r.lead(r.members[int(m.id)%3])
	}
}

func (x *chaos) heal(m *member) {
	m.cut = false
	if m != x.r.leader {
		m.leading = nil
	}
	m.follow()
	m.catchUp()
}

func (x *chaos) crash(m *member) {
	for _, w := range x.watchers {
		if w.c.link != nil && w.c.link.m == m {
			w.c.link.resume()
		}
	}
	x.trace("%s crashes", m.name)
	m.crash(x.chance(50), x.options)
	if m == x.r.leader {
		x.r.lead(x.r.members[int(m.id)%3])
	}
}

// staleExpiry proposes an expiry of an attachment that is over.
func (x *chaos) staleExpiry(c *client) {
	if t := x.m.machine.Sessions().Get(c.session); t != nil {
		x.r.leader.ProposeAsLeader(statemachine.AppendExpire(nil, c.session, t.Epoch-1))
	}
}

// stuff makes a client stop reading, or go on; one at a time.
func (x *chaos) stuff(c *client) {
	for _, w := range x.watchers {
		if l := w.c.link; l != nil && l.stuffed != nil {
			l.resume()
			return
		}
	}
	if c.link != nil {
		c.link.stuff()
	}
}

func (x *chaos) endLinger() {
	for _, m := range x.r.members {
		for _, l := range slices.Clone(m.links) {
			if l.ended() {
				l.end()
			}
		}
	}
}

// calm lets everything come to its end, and looks whether it has.
func (x *chaos) calm() {
	r := x.r
	r.linger = false
	x.endLinger()
	for _, w := range x.watchers {
		if w.c.link != nil {
			w.c.link.resume()
		}
	}
	for _, m := range r.members {
		m.lagging = false
		x.heal(m)
	}
	r.settle()
	r.lead(r.members[0])
	r.commit()
	if x.t.Failed() {
		return
	}
	for _, w := range x.watchers {
		if w.c.link == nil {
			x.move(w)
		}
		w.c.ping(false)
	}
	r.commit()
	for _, w := range x.watchers {
		if w.c.link != nil && len(w.c.owed) > 0 {
			x.t.Errorf("%s waits for %d answers that don't come; the first is %v", w.c.name, len(w.c.owed), w.c.owed[0].op)
		}
	}
	for _, m := range r.members {
		m.take(nil)
		if m.outbox.Release(); m.outbox.Pending(0) || len(m.srv.handshakes) > 0 || m.srv.Outstanding() > 0 {
			x.t.Errorf("%s: outbox pending %v, %d handshakes, %d requests outstanding when all is quiet", m.name, m.outbox.Pending(0), len(m.srv.handshakes), m.srv.Outstanding())
		}
		if got, want := m.srv.machine.Digest(), x.m.machine.Digest(); m.applied != len(r.log) || got != want {
			x.t.Errorf("%s has applied %d of %d entries, digest %#x, want %#x", m.name, m.applied, len(r.log), got, want)
		}
	}
}
