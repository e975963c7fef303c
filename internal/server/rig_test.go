package server

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/metrics"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

// rig is an ensemble of servers in one goroutine. Where members have raft they
// share a log here: what the outboxes of those in touch with the leader hold
// becomes the next entry, and every member applies it, unless it is told to
// lag. Time moves only when the test says so. The one exception to the one
// goroutine is the server's own: it waits for slow clients in one.
type rig struct {
	t       testing.TB
	members []*member
	clients []*client
	leader  *member
	term    uint64
	log     []*raftpb.Entry
	// digests are what members had at each index: all must have the same.
	digests map[uint64]uint64

	now  time.Duration
	wall int64 // milliseconds since the Unix epoch
	// linger keeps connections that the server has closed until the client
	// closes too, as the server's readers do for a moment.
	linger bool

	// Are called, if set, when an entry is in the log and nobody has applied it,
	// and when all members have ticked.
	appended, ticked func()

	lines []string // of the transcript, not yet shown
	dials int
}

// member is one server and what stands in for its replica.
type member struct {
	rig     *rig
	name    string
	id      uint64
	boot    uint64
	srv     *Server
	outbox  *replica.Outbox
	links   []*link
	leading [][]byte // proposed as the leader
	given   int      // batches of the outbox that were given out
	held    []byte   // taken from the outbox and still on the way
	applied int      // entries of rig.log

	cut     bool          // has no contact with the others
	lagging bool          // is in touch, and does not apply
	contact time.Duration // when it last was in touch
	stalled time.Duration // since when the disk of its log does not answer, 0 if it does
}

func defaultOptions() Options {
	return Options{
		TickTime: time.Second, MinTimeout: 2 * time.Second, MaxTimeout: 20 * time.Second,
		MaxBuffer: jute.DefaultMaxBuffer, MaxUnsent: 1 << 20, MaxOutstanding: 1000, MaxHandshakes: 2,
		EnforceQuota: true, ExtendedTypes: true, DigestAlg: "SHA1",
		SuperDigest:       "super:D/InIHSb7yEEbrWz8b9l71RjZJU=", // password test
		ContainerInterval: time.Second, ContainerPerMinute: 10000,
		QuorumLease: 3,
	}
}

// orderly stands in for crypto/rand: session ids count from 1, and passwords
// come from a seed.
type orderly struct {
	ids uint64
	rng *mathrand.ChaCha8
	// next, if set, is what the next session ids will be.
	next []uint64
}

func (o *orderly) Read(b []byte) (int, error) {
	if len(b) != 8 {
		return o.rng.Read(b)
	}
	if len(o.next) > 0 {
		binary.BigEndian.PutUint64(b, o.next[0]<<1)
		o.next = o.next[1:]
		return len(b), nil
	}
	o.ids++
	binary.BigEndian.PutUint64(b, o.ids<<1) // see randomID
	return len(b), nil
}

func newOrderly(t testing.TB) *orderly {
	o := &orderly{rng: mathrand.NewChaCha8([32]byte{1})}
	genuine := rand.Reader
	rand.Reader = o
	t.Cleanup(func() { rand.Reader = genuine })
	return o
}

// newRig starts an ensemble of n, led by the first.
func newRig(t testing.TB, n int, options func(*Options)) *rig {
	r := &rig{t: t, digests: make(map[uint64]uint64), now: time.Hour, wall: 1_000_000_000}
	for i := range n {
		m := &member{rig: r, name: "m" + string(rune('1'+i)), id: uint64(i + 1)}
		r.members = append(r.members, m)
		m.start(statemachine.New(), options)
	}
	r.lead(r.members[0])
	for _, m := range r.members {
		m.srv.Tick(r.now)
	}
	r.lines = nil
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	for _, m := range r.members {
		for _, l := range m.links {
			l.Abort()
		}
		m.srv.conns.work.Wait()
	}
}

// start starts the member with the state it has on disk.
func (m *member) start(state *statemachine.Machine, options func(*Options)) {
	m.boot++
	opt := defaultOptions()
	if options != nil {
		options(&opt)
	}
	opt.Member, opt.Boot = m.id, m.boot
	opt.Now = func() time.Duration { return m.rig.now }
	opt.WallMillis = func() int64 { return m.rig.wall }
	opt.Metrics = metrics.New()
	opt.Logger = slog.New(&logTap{m: m})
	m.outbox = replica.NewOutbox(func() {})
	m.given, m.leading, m.links = 0, nil, nil // what is held is on its way
	m.contact = m.rig.now
	m.srv = New(opt)
	m.srv.Load(state)
	m.srv.Attach(m, m)
	m.srv.SetServing(true)
}

// A member is its server's Replica and Reporter.

func (m *member) Outbox() *replica.Outbox { return m.outbox }

func (m *member) ProposeAsLeader(ops []byte) { m.leading = append(m.leading, bytes.Clone(ops)) }

func (m *member) Contact() (time.Duration, bool) {
	if !m.cut && !m.rig.leader.cut {
		m.contact = m.rig.now
	}
	return m.contact, true
}

func (m *member) Stalled() (time.Duration, bool) { return m.stalled, m.stalled != 0 }

func (m *member) CaughtUp() bool { return m.applied == len(m.rig.log) }

func (m *member) Report(to uint64, payload []byte) bool {
	leader := m.rig.leader
	if m.cut || leader.cut || leader.id != to {
		return false
	}
	leader.srv.Report(m.id, bytes.Clone(payload))
	return true
}

// lead makes m the leader of a new term. Everybody in touch gives out again
// what it has.
func (r *rig) lead(m *member) {
	r.term++
	r.leader = m
	for _, o := range r.members {
		o.leading = nil
		if !o.cut {
			o.follow()
		}
	}
	r.append(nil)
}

// follow tells the member who leads.
func (m *member) follow() {
	r := m.rig
	m.given = 0
	m.srv.RoleChanged(replica.Role{Leader: r.leader.id, Term: r.term, IsLeader: m == r.leader})
}

// append commits an entry and lets everybody who is in touch apply it.
func (r *rig) append(data []byte) {
	index, term := uint64(len(r.log)+1), r.term
	r.log = append(r.log, &raftpb.Entry{Index: &index, Term: &term, Data: data})
	if r.appended != nil {
		r.appended()
	}
	for _, m := range r.members {
		m.catchUp()
	}
}

// catchUp applies what is committed and not applied here.
func (m *member) catchUp() {
	for !m.cut && !m.lagging && m.stalled == 0 && m.applied < len(m.rig.log) {
		m.applyTo(m.applied + 1)
	}
}

// applyTo applies the log up to index to, in one batch.
func (m *member) applyTo(to int) {
	m.rig.t.Helper()
	if err := m.srv.Apply(m.rig.log[m.applied:to]); err != nil {
		m.rig.t.Fatalf("%s: %v", m.name, err)
	}
	m.applied = to
	m.flush()
	m.checkDigest()
}

// flush does what the server's flusher does when it runs.
func (m *member) flush() {
	f := &m.srv.flusher
	list := f.list
	f.list = nil
	for _, c := range list {
		c.flushTouched()
	}
}

func (m *member) checkDigest() {
	r := m.rig
	index, _ := m.srv.machine.Applied()
	got := m.srv.machine.Digest()
	if want, known := r.digests[index]; known && got != want {
		r.t.Errorf("%s has digest %#x at index %d, another member %#x", m.name, got, index, want)
	}
	r.digests[index] = got
}

// take empties the member's outbox into b.
func (m *member) take(b []byte) []byte {
	m.given = max(0, m.given-m.outbox.Release())
	m.given = m.outbox.Take(m.given, func(ops []byte) { b = append(b, ops...) })
	return b
}

// commitOnce makes one entry of everything that is on its way to the leader.
func (r *rig) commitOnce() bool {
	if r.leader.cut || r.leader.stalled != 0 {
		return false
	}
	entry := statemachine.AppendHeader(nil, r.wall)
	for _, m := range r.members {
		if !m.cut {
			entry = m.take(entry)
		}
	}
	for _, ops := range r.leader.leading {
		entry = append(entry, ops...)
	}
	r.leader.leading = nil
	if len(entry) == statemachine.HeaderSize {
		return false
	}
	r.append(entry)
	return true
}

// settle lets readers read and clients see what has come for them.
func (r *rig) settle() {
	for again := true; again; {
		again = false
		for _, m := range r.members {
			m.await()
			for _, l := range slices.Clone(m.links) {
				again = l.pump() || again
			}
		}
	}
	for _, c := range r.clients {
		c.read()
	}
	r.check()
}

// commit lets everything that clients have sent take effect.
func (r *rig) commit() {
	r.settle()
	for r.commitOnce() {
		r.settle()
	}
}

// await waits for the goroutines of the server that wait for clients that read
// again, or will never read.
func (m *member) await() {
	if !slices.ContainsFunc(m.links, (*link).blocked) {
		m.srv.conns.work.Wait()
	}
}

// pass lets time go by, tick after tick. Clients ping as ZooKeeper's do, but
// for those that are silent. frozen is a member whose process stands still.
func (r *rig) pass(d time.Duration, silent func(*client) bool, frozen *member) {
	if frozen != nil {
		cut := frozen.cut
		frozen.Contact()
		frozen.cut = true
		defer func() {
			frozen.cut = cut
			frozen.srv.Tick(r.now)
			frozen.catchUp()
			r.commit()
		}()
	}
	step := tickInterval(r.members[0].srv.opt)
	for end := r.now + d; r.now < end; {
		dt := min(step, end-r.now)
		r.now += dt
		r.wall += dt.Milliseconds()
		for _, c := range r.clients {
			if c.link != nil && c.greeted && c.link.m != frozen && !silent(c) && r.now-c.lastSent >= c.timeout/3 {
				c.ping(true)
			}
		}
		r.settle()
		for _, m := range r.members {
			if m != frozen {
				m.srv.Tick(r.now)
			}
		}
		if r.ticked != nil {
			r.ticked()
		}
		r.commit()
	}
}

// crash ends a member's process and starts it again on what is left: the log,
// from its beginning or behind a snapshot of the state that it had.
func (m *member) crash(snapshot bool, options func(*Options)) {
	r := m.rig
	var state []byte
	if snapshot {
		state = m.endSnapshot(m.beginSnapshot())
	}
	for _, l := range slices.Clone(m.links) {
		l.say("the member has crashed")
		l.Abort()
		m.srv.leave(l.c)
		l.left = true
	}
	m.srv.conns.work.Wait()
	for _, c := range r.clients {
		c.read()
	}
	restored := statemachine.New()
	if snapshot {
		var err error
		if restored, err = statemachine.Restore(bytes.NewReader(state)); err != nil {
			r.t.Fatal(err)
		}
	} else {
		m.applied = 0
	}
	m.start(restored, options)
	m.follow()
	m.catchUp()
}

// beginSnapshot fixes the member's state as it is now.
func (m *member) beginSnapshot() *statemachine.Snapshot {
	snap, err := m.srv.BeginSnapshot()
	if err != nil {
		m.rig.t.Fatal(err)
	}
	return snap
}

// endSnapshot writes the snapshot, a little at a time.
func (m *member) endSnapshot(snap *statemachine.Snapshot) []byte {
	var b []byte
	for done := false; !done; {
		m.srv.ReadSnapshot(func() { b, done = snap.Next(b, 200) })
	}
	m.srv.EndSnapshot(snap)
	return b
}

// restore brings a member up to date by a snapshot of another's state, taken
// at that one's index.
func (m *member) restore(from io.Reader, index int) {
	if _, err := m.srv.Restore(from); err != nil {
		m.rig.t.Fatal(err)
	}
	m.applied = index
	m.flush()
	m.checkDigest()
}
