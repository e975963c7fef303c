package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// FreshFor is for how long the last word of the stream may be taken for the
// present. The stream says something every second.
const FreshFor = 3 * time.Second

// State is what the copy is worth.
type State uint8

const (
	// Stale: the stream is not there, or has not told everything yet. What is known
	// was so once. It is what a Mirror begins with.
	Stale State = iota
	// Fresh: it is the present, but for what is under way.
	Fresh
	// Frozen: there is no quorum, so that nobody knows who holds what.
	Frozen
)

func (s State) String() string { return [...]string{"Stale", "Fresh", "Frozen"}[s] }

// ErrBehind is returned for a snapshot that is older than what is known: its
// leader has not yet applied what an earlier one had. It passes.
var ErrBehind = errors.New("the snapshot is older than what an earlier leader has told")

// ErrOrder is returned for a message that can't stand where it does. The stream
// has to be begun anew.
var ErrOrder = errors.New("the stream is out of order")

// Mirror is the copy. It is not safe for concurrent use.
type Mirror struct {
	sessions   *sessions
	ephemerals map[string]Ephemeral
	// coming is the snapshot that is being collected, nil if none is; partial are
	// changes of which there is more to come.
	coming  *collected
	partial []Change

	zxid     int64
	position Position
	// whole: there was a snapshot. It stays so.
	whole bool
	// streaming: everything up to position has been told, by a stream that lasts.
	streaming bool
	heard     time.Time
	// quorum is what the last heartbeat said; lost is what others say while there
	// is no stream.
	quorum, lost bool

	beat   Heartbeat
	beatAt time.Time
	// recent are sessions that changed since the last heartbeat, which ranked them
	// as they were before. At most maxRecent.
	recent []uint64
}

type collected struct {
	sessions   *sessions
	ephemerals map[string]Ephemeral
}

const maxRecent = 256

// New returns a Mirror that knows nothing.
func New() *Mirror { return &Mirror{sessions: newSessions(), ephemerals: make(map[string]Ephemeral)} }

// Apply takes one message in. After an error the stream is of no more use; what
// was known stays.
func (m *Mirror) Apply(u *Update, now time.Time) (Delta, error) {
	var d Delta
	var err error
	switch {
	case u.Snapshot != nil:
		d, err = m.snapshot(u, now)
	case m.coming != nil || !m.whole:
		err = fmt.Errorf("%w: a snapshot was to come first", ErrOrder)
	case u.Zxid < m.zxid && !u.Partial:
		err = fmt.Errorf("%w: zxid 0x%x after 0x%x", ErrOrder, u.Zxid, m.zxid)
	case u.Heartbeat != nil:
		m.beat, m.beatAt, m.quorum, m.recent = *u.Heartbeat, now, u.Heartbeat.Quorum, m.recent[:0]
		if m.quorum {
			m.lost = false
		}
		if !u.Partial {
			m.resumed(u)
		}
	case u.Partial:
		m.partial = append(m.partial, u.Changes...)
	default:
		list := u.Changes
		if len(m.partial) > 0 {
			list, m.partial = append(m.partial, list...), nil
		}
		d = m.changes(list, u.Zxid, now)
		m.resumed(u)
	}
	if err != nil {
		m.Broken()
		return Delta{}, err
	}
	m.heard = now
	return d, nil
}

func (m *Mirror) resumed(u *Update) {
	m.zxid, m.position, m.streaming = u.Zxid, u.Position, true
}

func (m *Mirror) snapshot(u *Update, now time.Time) (Delta, error) {
	s := u.Snapshot
	switch {
	case s.First:
		// What is known goes on being shown, as stale, until all has come.
		m.coming = &collected{sessions: newSessions(), ephemerals: make(map[string]Ephemeral)}
		m.streaming, m.quorum, m.partial = false, false, nil
	case m.coming == nil:
		return Delta{}, fmt.Errorf("%w: a part of a snapshot whose beginning is missing", ErrOrder)
	}
	for i := range s.Sessions {
		m.coming.sessions.put(s.Sessions[i], now)
	}
	for _, e := range s.Ephemerals {
		m.coming.ephemerals[e.Path] = e
	}
	if !s.Last {
		return Delta{}, nil
	}
	if u.Zxid < m.zxid {
		return Delta{}, fmt.Errorf("%w: 0x%x, and 0x%x is known", ErrBehind, u.Zxid, m.zxid)
	}
	next := m.coming
	m.coming = nil
	t := Transaction{Zxid: u.Zxid}
	for path, e := range next.ephemerals {
		if old, ok := m.ephemerals[path]; !ok || !old.equal(e) {
			t.Set = append(t.Set, e)
		}
	}
	for path := range m.ephemerals {
		if _, ok := next.ephemerals[path]; !ok {
			t.Gone = append(t.Gone, path)
		}
	}
	for _, e := range next.ephemerals {
		next.sessions.held(e.Session, 1)
	}
	// Map order is nobody's business.
	slices.SortFunc(t.Set, func(a, b Ephemeral) int { return cmp.Or(cmp.Compare(a.Czxid, b.Czxid), cmp.Compare(a.Path, b.Path)) })
	slices.Sort(t.Gone)
	m.sessions, m.ephemerals = next.sessions, next.ephemerals
	m.recent, m.beat.AtRisk = m.recent[:0], nil
	d := Delta{Transactions: []Transaction{t}, Whole: !m.whole}
	m.whole = true
	// A leader streams only what a majority has committed.
	m.quorum, m.lost = true, false
	m.resumed(u)
	return d, nil
}

// changes applies changes in order. What belongs to one transaction stays
// together: between its parts nobody held anything.
func (m *Mirror) changes(list []Change, upTo int64, now time.Time) Delta {
	var d Delta
	var steps []step
	flush := func() {
		if len(steps) > 0 {
			d.Transactions = append(d.Transactions, transaction(steps))
			steps = steps[:0]
		}
	}
	take := func(s step) {
		// Data may be sent that is newer than what has been told.
		s.zxid = min(s.zxid, upTo)
		if len(steps) > 0 && steps[0].zxid != s.zxid {
			flush()
		}
		steps = append(steps, s)
	}
	for _, c := range list {
		switch {
		case c.Session != nil:
			m.sessions.put(*c.Session, now)
			m.touch(c.Session.ID)
			d.Touched = append(d.Touched, c.Session.ID)
		case c.End != nil:
			m.sessions.remove(c.End.Session.ID)
			m.beat.count(c.End.Expired)
			d.Ended = append(d.Ended, *c.End)
		case c.Ephemeral != nil:
			e := *c.Ephemeral
			old, ok := m.ephemerals[e.Path]
			if ok && old.equal(e) {
				continue
			}
			if ok {
				m.sessions.held(old.Session, -1)
			}
			m.sessions.held(e.Session, 1)
			m.ephemerals[e.Path] = e
			take(step{zxid: max(e.Czxid, e.Mzxid), path: e.Path, set: e})
		case c.Gone != nil:
			old, ok := m.ephemerals[c.Gone.Path]
			if !ok || old.Czxid != c.Gone.Czxid {
				continue
			}
			m.sessions.held(old.Session, -1)
			delete(m.ephemerals, c.Gone.Path)
			take(step{zxid: c.Gone.Zxid, path: c.Gone.Path, gone: true})
		}
	}
	flush()
	return d
}

type step struct {
	zxid int64
	path string
	set  Ephemeral
	gone bool
}

// transaction is what steps of one transaction come to: of each path the last.
func transaction(steps []step) Transaction {
	t := Transaction{Zxid: steps[0].zxid}
	last := make(map[string]int, len(steps))
	for i, s := range steps {
		last[s.path] = i
	}
	for i, s := range steps {
		switch {
		case last[s.path] != i:
		case s.gone:
			t.Gone = append(t.Gone, s.path)
		default:
			t.Set = append(t.Set, s.set)
		}
	}
	return t
}

func (h *Heartbeat) count(expired bool) {
	if expired {
		h.Totals.Expired++
	} else {
		h.Totals.Closed++
	}
}

func (m *Mirror) touch(id uint64) {
	if len(m.recent) < maxRecent {
		m.recent = append(m.recent, id)
	}
}

// Broken tells that the stream has ended.
func (m *Mirror) Broken() {
	m.streaming, m.coming, m.partial = false, nil, nil
}

// NoQuorum tells that there is no quorum by the members' own word, while there is
// no stream; or that this is over.
func (m *Mirror) NoQuorum(lost bool) { m.lost = lost }

// State tells what the copy is worth now.
func (m *Mirror) State(now time.Time) State {
	switch {
	case m.streaming && !m.quorum, !m.streaming && m.lost:
		return Frozen
	case m.streaming && now.Sub(m.heard) <= FreshFor:
		return Fresh
	}
	return Stale
}

// ConfirmedAt is when the stream last said something, which is when everything
// known was the present, if State was Fresh then.
func (m *Mirror) ConfirmedAt() time.Time { return m.heard }

// Whole tells whether everything has been told once.
func (m *Mirror) Whole() bool { return m.whole }

// Settled tells whether the states of sessions can be relied on: not so for a
// moment after a change of leader.
func (m *Mirror) Settled() bool { return m.streaming && m.beat.Settled }

// Resume is where a new stream should go on; zero if it has to begin anew.
func (m *Mirror) Resume() Position {
	if !m.whole {
		return Position{}
	}
	return m.position
}

// Zxid is the transaction up to which everything is known.
func (m *Mirror) Zxid() int64 { return m.zxid }

// Session returns a session.
func (m *Mirror) Session(id uint64, now time.Time) (Session, bool) {
	s, ok := m.sessions.get(id, now)
	for i := range m.beat.AtRisk {
		m.hear(&s, &m.beat.AtRisk[i], now)
	}
	return s, ok
}

// hear corrects a silence by the leader's ranking, which knows better: changes do
// not tell that a client was heard again.
func (m *Mirror) hear(s, ranked *Session, now time.Time) {
	if s.ID == ranked.ID && s.State == ranked.State {
		s.Silence = ranked.Silence + now.Sub(m.beatAt)
	}
}

// Sessions is the number of sessions.
func (m *Mirror) Sessions() int { return m.sessions.len() }

// Ephemeral returns an ephemeral node.
func (m *Mirror) Ephemeral(path string) (Ephemeral, bool) {
	e, ok := m.ephemerals[path]
	return e, ok
}

// Ephemerals are all ephemeral nodes, in no order.
func (m *Mirror) Ephemerals() iter.Seq[Ephemeral] { return maps.Values(m.ephemerals) }

// Totals are the counts of the copy, and what only the leader knows of as it said
// last.
func (m *Mirror) Totals() Totals {
	t := m.beat.Totals
	t.NotConnected = int64(m.sessions.counts[NotConnected])
	t.Connecting = int64(m.sessions.counts[Connecting])
	t.Connected = int64(m.sessions.counts[Connected])
	t.Ephemerals = int64(len(m.ephemerals))
	return t
}

// AtRisk are at most n sessions, those nearest to expiry first, as the leader
// ranked them, brought up to date with what has changed since; all sessions if
// there are no more than n.
func (m *Mirror) AtRisk(n int, now time.Time) []Session {
	var list []Session
	if m.sessions.len() <= n {
		for id := range m.sessions.index {
			s, _ := m.sessions.get(id, now)
			list = append(list, s)
		}
	} else {
		seen := make(map[uint64]bool)
		add := func(id uint64) {
			if s, ok := m.sessions.get(id, now); ok && !seen[id] {
				seen[id] = true
				list = append(list, s)
			}
		}
		for i := range m.beat.AtRisk {
			add(m.beat.AtRisk[i].ID)
		}
		for _, id := range m.recent {
			add(id)
		}
	}
	ranking := make(map[uint64]*Session, len(m.beat.AtRisk))
	for i := range m.beat.AtRisk {
		ranking[m.beat.AtRisk[i].ID] = &m.beat.AtRisk[i]
	}
	for i := range list {
		if r := ranking[list[i].ID]; r != nil {
			m.hear(&list[i], r, now)
		}
	}
	slices.SortFunc(list, func(a, b Session) int {
		return cmp.Or(rank(a.State)-rank(b.State), cmp.Compare(b.used(), a.used()), cmp.Compare(a.ID, b.ID))
	})
	return list[:min(n, len(list))]
}

// rank puts those without a connection before those with one.
func rank(s SessionState) int {
	if s == Connected {
		return 1
	}
	return 0
}

// used is the share of the timeout that a silence has used up.
func (s Session) used() float64 { return float64(s.Silence) / float64(max(s.Timeout, 1)) }
