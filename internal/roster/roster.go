package roster

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// State is a session's state as the ensemble sees it.
type State uint8

const (
	// NotConnected: restored after a restart of the whole ensemble, and its
	// client not seen since. A change of leader never causes it.
	NotConnected State = iota + 1
	// Connecting: no open connection now, or its handshake is under way.
	Connecting
	// Connected: its member reports an open connection.
	Connected
)

// Options are the bounds of a Roster; zero fields get defaults.
type Options struct {
	// Silent is after how long without a report a member's connections no longer
	// count as open. Default 1.5 s.
	Silent time.Duration
	// Settle is how long a new leader waits for every member's first report
	// before it shows who is connected. Default 2 s.
	Settle time.Duration
	// Changes is how many changes are kept for readers. Default 65536.
	Changes int
	// Readers is how many may read at a time. Default 16.
	Readers int
}

// Session is what is known of one session.
type Session struct {
	ID         int64
	State      State
	Member     uint64 // that it is attached to, or was last
	Client     string // address
	Timeout    time.Duration
	Created    int64 // milliseconds since the Unix epoch
	Ephemerals int   // 0 as long as nobody follows (Roster.Followed)
}

// Attachment says of a session how it is attached now.
type Attachment struct {
	Session
	Epoch uint32
	// Index and Term are of the entry that attached it, as far as this process
	// has applied it; 0 if it came with a snapshot from before it started.
	Index, Term uint64
}

// Ephemeral is one ephemeral node.
type Ephemeral struct {
	Path         string
	Session      int64
	Czxid, Mzxid int64
	Created      int64 // milliseconds since the Unix epoch
	DataLength   int
}

// record is a session's place. The state in Session is not kept; see state.
type record struct {
	Attachment
	open bool // the member's last word: the attachment has a connection
	seen bool // its client, in this reign
	// listed is the full report that had it last.
	listed uint64
}

// view is what a member has told.
type view struct {
	at        time.Duration
	firstTerm uint64
	watches   int64
	full      bool // it has told everything, in this reign
	silent    bool // its last report is too long ago
}

// Roster is a leader's. It is empty, and calls without effect, from End to
// Begin. Its methods may be called from any goroutine; times are on one
// monotonic clock.
type Roster struct {
	opt      Options
	leading  atomic.Bool
	followed atomic.Bool

	mu sync.Mutex
	// reign names the time between Begin and End.
	reign    uint64
	began    time.Duration
	expected []uint64 // the members at Begin
	members  map[uint64]*view
	// floor is the first term that any member's process has seen. What was
	// attached before was attached in another life of the whole ensemble. It is
	// known, and used, once settled.
	floor    uint64
	settled  bool
	sessions map[int64]*record
	// connections counts the sessions of each member that have one there.
	connections map[uint64]int
	// reports counts full reports.
	reports uint64
	// apart are the sessions that are not Connected.
	apart        map[int64]*record
	notConnected int

	zxid            int64
	closed, expired int64
	ephemerals      map[string]*Ephemeral // nil as long as nobody follows
	// going are the ephemerals that went with the transaction goingZxid: those of
	// a session that ends are named with its end.
	going     []*Ephemeral
	goingZxid int64

	ring ring
	// open: a transaction is being told (Node, Gone, Ended), and Applied is to
	// follow. safe is the last change that readers may have: they are given whole
	// transactions, between whose parts nobody held anything.
	open    bool
	safe    uint64
	woken   uint64 // the change of which readers were told last
	readers map[*Reader]struct{}
}

// New returns a roster of nobody.
func New(opt Options) *Roster {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&opt.Silent, 1500*time.Millisecond)
	def(&opt.Settle, 2*time.Second)
	if opt.Changes <= 0 {
		opt.Changes = 1 << 16
	}
	if opt.Readers <= 0 {
		opt.Readers = 16
	}
	return &Roster{opt: opt, readers: map[*Reader]struct{}{}}
}

// Begin starts a reign: this member leads an ensemble of these members and
// sessions. closed and expired count the sessions that have ended before.
func (r *Roster) Begin(now time.Duration, zxid, closed, expired int64, members []uint64, sessions int, each func(yield func(Attachment))) {
	r.End()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.reign = 0; r.reign == 0; {
		r.reign = rand.Uint64()
	}
	r.began, r.expected, r.settled, r.floor = now, members, false, 0
	r.zxid, r.closed, r.expired = zxid, closed, expired
	r.members, r.connections, r.notConnected = map[uint64]*view{}, map[uint64]int{}, 0
	r.sessions, r.apart = make(map[int64]*record, sessions), make(map[int64]*record, sessions)
	each(func(a Attachment) {
		a.State = Connecting // until it is known better
		rec := &record{Attachment: a}
		r.sessions[a.ID], r.apart[a.ID] = rec, rec
	})
	r.ring, r.open, r.safe, r.woken = newRing(r.opt.Changes), false, 0, 0
	r.leading.Store(true)
}

// End ends the reign. Readers are told.
func (r *Roster) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return
	}
	r.leading.Store(false)
	r.followed.Store(false)
	r.sessions, r.apart, r.ephemerals, r.members, r.connections, r.going = nil, nil, nil, nil, nil, nil
	r.ring = ring{}
	for rd := range r.readers {
		rd.wake()
	}
}

// Followed reports whether anybody has asked for changes in this reign:
// whether Node, Gone and Applied want to be called.
func (r *Roster) Followed() bool { return r.followed.Load() }

// state is a record's present state.
func (r *Roster) state(rec *record) State {
	switch v := r.members[rec.Member]; {
	case rec.open && v != nil && !v.silent:
		return Connected
	case rec.open && v == nil && !r.settled:
		return Connected // attached in this reign; its member's report is on its way
	case !r.settled || rec.seen || rec.Term >= r.floor:
		return Connecting
	}
	return NotConnected
}

// setOpen notes whether a session has a connection at its member.
func (r *Roster) setOpen(rec *record, open bool) {
	if rec.open == open {
		return
	}
	rec.open = open
	if open {
		r.connections[rec.Member]++
	} else {
		r.connections[rec.Member]--
	}
}

// refile puts a record where its present state belongs, and notes the change if
// it is one.
func (r *Roster) refile(rec *record, changed bool) {
	old, now := rec.State, r.state(rec)
	if old == now && !changed {
		return
	}
	if old == NotConnected {
		r.notConnected--
	}
	if now == NotConnected {
		r.notConnected++
	}
	if now == Connected {
		delete(r.apart, rec.ID)
	} else {
		r.apart[rec.ID] = rec
	}
	rec.State = now
	if r.followed.Load() {
		r.ring.add(entry{kind: changedSession, zxid: r.zxid, id: rec.ID})
		if !r.open {
			r.safe = r.ring.last
		}
	}
}

// tell adds a change that is part of a transaction.
func (r *Roster) tell(e entry) {
	r.open = true
	r.ring.add(e)
}

// Attached notes that a session is new, or attached anew.
func (r *Roster) Attached(a Attachment) {
	if !r.leading.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return
	}
	rec := r.sessions[a.ID]
	if rec == nil {
		rec = &record{}
		r.sessions[a.ID] = rec
	}
	r.setOpen(rec, false) // where it was
	state, ephemerals := rec.State, rec.Ephemerals
	rec.Attachment, rec.seen = a, true
	rec.State, rec.Ephemerals = state, ephemerals
	r.setOpen(rec, true)
	r.refile(rec, true)
	r.wakeReaders()
}

// Ended notes that a session has ended, after its ephemerals have gone. Readers
// are told with Applied, if anybody follows.
func (r *Roster) Ended(id, zxid int64, expired bool) {
	if !r.leading.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading.Load() {
		return
	}
	r.zxid = max(r.zxid, zxid)
	if expired {
		r.expired++
	} else {
		r.closed++
	}
	rec := r.sessions[id]
	if rec == nil {
		return
	}
	if rec.State == NotConnected {
		r.notConnected--
	}
	r.setOpen(rec, false)
	delete(r.sessions, id)
	delete(r.apart, id)
	if r.followed.Load() {
		end := &End{Session: rec.Session, Expired: expired, Zxid: zxid}
		end.Session.Ephemerals = 0
		if r.goingZxid == zxid {
			for _, e := range r.going {
				if e.Session != id {
					continue
				}
				if end.Session.Ephemerals++; len(end.Paths) < maxEndPaths {
					end.Paths = append(end.Paths, e.Path)
				}
			}
		}
		r.going = r.going[:0]
		r.tell(entry{kind: endedSession, zxid: zxid, id: id, end: end})
	}
}

// maxEndPaths is how many of the paths that went with a session its end names.
const maxEndPaths = 64

// Node notes that an ephemeral node is new, or that its data has changed. Readers
// are told with Applied.
func (r *Roster) Node(e Ephemeral) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.followed.Load() {
		return
	}
	zxid := max(e.Czxid, e.Mzxid)
	r.zxid = max(r.zxid, zxid-1)
	r.put(&e)
	r.tell(entry{kind: changedNode, zxid: zxid, node: &e})
}

func (r *Roster) put(e *Ephemeral) {
	if old := r.ephemerals[e.Path]; old != nil {
		r.count(old.Session, -1)
	}
	r.ephemerals[e.Path] = e
	r.count(e.Session, 1)
}

func (r *Roster) count(session int64, n int) {
	if rec := r.sessions[session]; rec != nil {
		rec.Ephemerals += n
	}
}

// Has reports whether there is an ephemeral node of this path.
func (r *Roster) Has(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ephemerals[path] != nil
}

// Gone notes that a node is gone; one that was not ephemeral is none of ours.
func (r *Roster) Gone(path string, zxid int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.ephemerals[path]
	if e == nil {
		return
	}
	r.zxid = max(r.zxid, zxid-1)
	delete(r.ephemerals, path)
	r.count(e.Session, -1)
	if r.goingZxid != zxid {
		r.going, r.goingZxid = r.going[:0], zxid
	}
	r.going = append(r.going, e)
	r.tell(entry{kind: goneNode, zxid: zxid, node: e})
}

// Applied notes that everything up to zxid has been told, and has readers look.
func (r *Roster) Applied(zxid int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zxid = max(r.zxid, zxid)
	r.going = r.going[:0]
	r.open, r.safe = false, r.ring.last
	r.wakeReaders()
}
