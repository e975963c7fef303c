package roster

import (
	"errors"
	"fmt"
)

var (
	// ErrNotLeading: this member does not lead, or no longer.
	ErrNotLeading = errors.New("roster: this member does not lead")
	// ErrTooMany: as many read as may.
	ErrTooMany = errors.New("roster: too many readers")
)

// Position is a place in the changes of one reign.
type Position struct{ Reign, Sequence uint64 }

// End tells that a session has ended.
type End struct {
	Session Session // as it was last
	Expired bool
	Zxid    int64
	Paths   []string // of its ephemerals, the first of them
}

// Change is one change; one of the fields is set.
type Change struct {
	Session *Session
	End     *End
	Node    *Ephemeral
	Gone    *Ephemeral
	Zxid    int64 // of Gone
}

// Batch is what a reader gets at a time.
type Batch struct {
	// Position is the place behind this batch. It is zero within a snapshot until
	// its last part.
	Position Position
	// Zxid is the transaction up to which everything has been told.
	Zxid int64
	// Snapshot: the batch is a part of the whole, and with the first part whatever
	// was known before is void.
	Snapshot, First, Last bool
	Sessions              []Session
	Nodes                 []*Ephemeral
	// Changes, if it is not a part of a snapshot, in order.
	Changes []Change
}

type kind uint8

const (
	changedSession kind = iota // session id is another than before
	endedSession
	changedNode
	goneNode
)

// entry is a change in the ring. That of a session says which; how it is then is
// looked up when it is read, so that a reader who lags is told once.
type entry struct {
	kind kind
	zxid int64
	id   int64
	end  *End
	node *Ephemeral
}

// ring keeps the latest changes. Sequence numbers count from 1.
type ring struct {
	entries []entry
	limit   int
	last    uint64 // the sequence number of the newest
}

func newRing(limit int) ring { return ring{limit: limit} }

func (g *ring) add(e entry) {
	g.last++
	if len(g.entries) < g.limit {
		g.entries = append(g.entries, e)
		return
	}
	g.entries[(g.last-1)%uint64(g.limit)] = e
}

// first is the sequence number of the oldest that is kept.
func (g *ring) first() uint64 { return g.last - uint64(len(g.entries)) + 1 }

func (g *ring) get(seq uint64) *entry { return &g.entries[(seq-1)%uint64(g.limit)] }

// Reader goes through the changes of a reign at its own pace. It is for one
// goroutine; whatever it holds is bounded: one snapshot that it is going
// through, besides what a Batch takes.
type Reader struct {
	r     *Roster
	reign uint64
	ready chan struct{}
	at    uint64 // the last change that it has read
	zxid  int64  // it was told
	whole *whole // the snapshot it goes through, if it does
	began bool   // it has something to go on from
}

// whole is a snapshot that a reader goes through.
type whole struct {
	first    bool
	at       uint64
	zxid     int64
	sessions []Session
	nodes    []*Ephemeral
}

// Follow begins to read. If resume is a place that the changes kept reach back
// to, it goes on from there, and otherwise with a snapshot. load hands over all
// ephemeral nodes; it is called if nobody has followed in this reign, and
// nothing may be applied during the call to Follow.
func (r *Roster) Follow(resume Position, load func(yield func(Ephemeral))) (*Reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.leading.Load():
		return nil, ErrNotLeading
	case len(r.readers) >= r.opt.Readers:
		return nil, fmt.Errorf("%w: %d, the bound", ErrTooMany, len(r.readers))
	}
	if !r.followed.Load() {
		r.ephemerals = map[string]*Ephemeral{}
		load(func(e Ephemeral) { r.put(&e) })
		r.followed.Store(true)
	}
	rd := &Reader{r: r, reign: r.reign, ready: make(chan struct{}, 1)}
	if resume.Reign == r.reign && resume.Sequence <= r.ring.last && resume.Sequence+1 >= r.ring.first() {
		rd.at, rd.began = resume.Sequence, true
	}
	r.readers[rd] = struct{}{}
	return rd, nil
}

// Close ends reading.
func (rd *Reader) Close() {
	rd.r.mu.Lock()
	defer rd.r.mu.Unlock()
	delete(rd.r.readers, rd)
}

// Ready is signalled when there may be something to read.
func (rd *Reader) Ready() <-chan struct{} { return rd.ready }

func (rd *Reader) wake() {
	select {
	case rd.ready <- struct{}{}:
	default:
	}
}

// wakeReaders has readers look, if there is something new for them.
func (r *Roster) wakeReaders() {
	if r.woken == r.safe {
		return
	}
	r.woken = r.safe
	for rd := range r.readers {
		rd.wake()
	}
}

// Next returns what there is to read, with at most max sessions, nodes or
// changes, or one transaction if that has more; nil if there is nothing. A
// snapshot is held back until the reign has settled. The error is ErrNotLeading.
func (rd *Reader) Next(max int) (*Batch, error) {
	r := rd.r
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.leading.Load() || r.reign != rd.reign:
		return nil, ErrNotLeading
	case rd.whole != nil:
		return rd.part(max), nil
	case !rd.began || rd.at+1 < r.ring.first():
		if !r.settled || r.open {
			return nil, nil
		}
		w := &whole{first: true, at: r.ring.last, zxid: r.zxid, sessions: make([]Session, 0, len(r.sessions)), nodes: make([]*Ephemeral, 0, len(r.ephemerals))}
		for _, rec := range r.sessions {
			w.sessions = append(w.sessions, rec.Session)
		}
		for _, e := range r.ephemerals {
			w.nodes = append(w.nodes, e)
		}
		rd.whole = w
		return rd.part(max), nil
	case rd.at >= r.safe:
		return nil, nil
	}
	return rd.changes(max), nil
}

// Current reports whether the reader has been told a whole, be it older than the
// present, and is not in the middle of another.
func (rd *Reader) Current() bool {
	rd.r.mu.Lock()
	defer rd.r.mu.Unlock()
	return rd.current()
}

func (rd *Reader) current() bool { return rd.began && rd.whole == nil }

// Zxid is the transaction up to which the reader has been told everything: also
// what does not concern him moves it.
func (rd *Reader) Zxid() int64 {
	rd.r.mu.Lock()
	defer rd.r.mu.Unlock()
	if rd.current() && rd.reign == rd.r.reign && rd.at == rd.r.ring.last {
		rd.zxid = max(rd.zxid, rd.r.zxid)
	}
	return rd.zxid
}

func (rd *Reader) position() Position { return Position{rd.reign, rd.at} }

// part returns the next part of the snapshot.
func (rd *Reader) part(max int) *Batch {
	w := rd.whole
	b := &Batch{Zxid: w.zxid, Snapshot: true, First: w.first}
	w.first = false
	n := min(max, len(w.sessions))
	b.Sessions, w.sessions = w.sessions[:n:n], w.sessions[n:]
	n = min(max-n, len(w.nodes))
	b.Nodes, w.nodes = w.nodes[:n:n], w.nodes[n:]
	if b.Last = len(w.sessions)+len(w.nodes) == 0; b.Last {
		rd.whole, rd.began, rd.at, rd.zxid = nil, true, w.at, w.zxid
		b.Position = rd.position()
	}
	return b
}

// changes returns the next changes. A session that has changed several times is
// in it once, as it is now, in the place of its last change.
func (rd *Reader) changes(max int) *Batch {
	r := rd.r
	to := r.cut(rd.at, max)
	lastOf := make(map[int64]uint64)
	for seq := rd.at + 1; seq <= to; seq++ {
		if e := r.ring.get(seq); e.kind == changedSession {
			lastOf[e.id] = seq
		}
	}
	b := &Batch{}
	for seq := rd.at + 1; seq <= to; seq++ {
		switch e := r.ring.get(seq); e.kind {
		case changedSession:
			// One that has ended since is told as it ends.
			if rec := r.sessions[e.id]; rec != nil && lastOf[e.id] == seq {
				s := rec.Session
				b.Changes = append(b.Changes, Change{Session: &s})
			}
		case endedSession:
			b.Changes = append(b.Changes, Change{End: e.end})
		case changedNode:
			b.Changes = append(b.Changes, Change{Node: e.node})
		case goneNode:
			b.Changes = append(b.Changes, Change{Gone: e.node, Zxid: e.zxid})
		}
	}
	rd.at = to
	b.Position = rd.position()
	told := r.zxid
	if to < r.ring.last {
		e := r.ring.get(to + 1)
		if told = e.zxid; e.kind != changedSession { // which is in no transaction
			told--
		}
	}
	if told > rd.zxid {
		rd.zxid = told
	}
	b.Zxid = rd.zxid
	return b
}

// cut returns where a batch of about max changes behind at ends: between two
// transactions.
func (r *Roster) cut(at uint64, max int) uint64 {
	to := min(r.safe, at+uint64(max))
	within := func(seq uint64) bool { // a transaction goes on behind seq
		if seq >= r.safe {
			return false
		}
		a, b := r.ring.get(seq), r.ring.get(seq+1)
		return a.kind != changedSession && b.kind != changedSession && a.zxid == b.zxid
	}
	end := to
	for end > at && within(end) {
		end--
	}
	if end > at {
		return end
	}
	for within(to) {
		to++
	}
	return to
}
