package server

import (
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/roster"
	"github.com/conclave-dev/conclave/internal/session"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/tree"
)

// The sessions of the whole ensemble, as the leader knows them.

// told is what this member has told its leader of its connections; guarded by
// Server.clockMu.
type told struct {
	firstTerm uint64        // in which this process knew a leader; 0 before
	since     time.Duration // when the present leader became that
	all       time.Duration // when a report was last full
}

const (
	// A leader that is new takes reports once it has applied an entry of its own
	// term: so long all of them are full.
	fullAtFirst = 2 * time.Second
	// fullEvery is how often they are afterwards, in case one was lost.
	fullEvery = 10 * time.Second
)

// newReport begins a report, with what has left since the last one.
func (s *Server) newReport(now time.Duration) *roster.Report {
	r := &roster.Report{}
	s.View(func(m *statemachine.Machine) { r.Applied, _ = m.Applied() })
	_, _, watches := s.watches.Counts()
	r.Watches = int64(watches)
	s.clockMu.Lock()
	r.FirstTerm = s.told.firstTerm
	if now-s.told.since < fullAtFirst || now-s.told.all >= fullEvery {
		r.Full, s.told.all = true, now
	}
	s.clockMu.Unlock()
	r.Heard, r.Gone = s.conns.takeLeft()
	return r
}

// tellAll makes the next report a full one.
func (s *Server) tellAll() {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	s.told.all = -fullEvery
}

// attachedIn knows in which term each session was attached, as far as this
// process has seen it: it tells a change of leader from a new beginning.
type attachedIn struct {
	term map[int64]uint64
	// before is the term of those that are not in there: 0 for what the process
	// began with, and later that of the snapshot that it was sent.
	before uint64
}

func (a *attachedIn) of(session int64) uint64 {
	if term, ok := a.term[session]; ok {
		return term
	}
	return a.before
}

// rosterEntry describes a session. The caller holds the state's lock.
func (s *Server) rosterEntry(t *session.Session, index uint64) roster.Attachment {
	return roster.Attachment{
		Session: roster.Session{ID: t.ID, Member: t.Member, Client: t.Client, Timeout: time.Duration(t.Timeout) * time.Millisecond, Created: t.Created},
		Epoch:   t.Epoch, Index: index, Term: s.attached.of(t.ID),
	}
}

// beginRoster starts a reign. The caller holds the state's lock and clockMu.
func (s *Server) beginRoster() {
	m := s.machine
	closed, expired := m.Ended()
	var members []uint64
	for _, p := range m.Members().List {
		members = append(members, p.ID)
	}
	s.roster.Begin(s.opt.Now(), m.Zxid(), closed, expired, members, m.Sessions().Len(), func(yield func(roster.Attachment)) {
		m.Sessions().Each(func(t *session.Session) { yield(s.rosterEntry(t, 0)) })
	})
}

// noteApplied tells those who follow how far they have come. The caller holds
// the state's lock.
func (s *Server) noteApplied() {
	if s.roster.Followed() {
		s.roster.Applied(s.machine.Zxid())
	}
}

// noteChange tells those who follow of an ephemeral node. The state has the
// change already, and maybe later ones of the same transaction.
func (s *Server) noteChange(ev statemachine.Event) {
	t := s.machine.Tree()
	switch ev.Type {
	case jute.EventNodeDeleted:
		s.roster.Gone(ev.Path, ev.Zxid)
	case jute.EventNodeCreated, jute.EventNodeDataChanged:
		if id := t.Find(ev.Path); id != tree.None && t.Kind(id) == tree.Ephemeral {
			s.roster.Node(ephemeral(t, id, strings.Clone(ev.Path)))
		}
	}
}

func ephemeral(t *tree.Tree, id tree.NodeID, path string) roster.Ephemeral {
	var st jute.Stat
	t.Stat(id, &st)
	return roster.Ephemeral{Path: path, Session: st.EphemeralOwner, Czxid: st.Czxid, Mzxid: st.Mzxid, Created: st.Ctime, DataLength: int(st.DataLength)}
}

// FollowSessions begins to read what changes of sessions and ephemerals; see
// roster.Roster.Follow.
func (s *Server) FollowSessions(resume roster.Position) (*roster.Reader, error) {
	s.state.RLock()
	defer s.state.RUnlock()
	t := s.machine.Tree()
	return s.roster.Follow(resume, func(yield func(roster.Ephemeral)) {
		for owner := range t.EphemeralOwners() {
			for _, id := range t.Ephemerals(owner) {
				yield(ephemeral(t, id, t.Path(id)))
			}
		}
	})
}

// SessionTotals counts the sessions of the ensemble by state; false if this
// member does not lead.
func (s *Server) SessionTotals() (roster.Totals, bool) { return s.roster.Totals() }

// MemberGone notes that another member's process is gone.
func (s *Server) MemberGone(id uint64) { s.roster.MemberGone(id) }

// SessionSilence returns for how long nothing has been heard from each session,
// 0 for one that there is not.
func (s *Server) SessionSilence(ids []int64) []time.Duration {
	now := s.opt.Now()
	out := make([]time.Duration, len(ids))
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	for i, id := range ids {
		out[i], _ = s.clock.Silence(now, id)
	}
	return out
}

// SessionsAtRisk returns the n sessions most at risk, the worst first; see
// roster.Rank.
func (s *Server) SessionsAtRisk(n int) []roster.AtRisk {
	if n <= 0 {
		return nil
	}
	now := s.opt.Now()
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	list := s.roster.Worst(n, func(id int64) time.Duration {
		silence, _ := s.clock.Silence(now, id)
		return silence
	})
	if len(list) >= n {
		return list
	}
	// Among so many there are enough that have a connection.
	silence := map[int64]time.Duration{}
	var ids []int64
	for _, r := range s.clock.MostSilent(now, n+s.roster.Apart()) {
		ids, silence[r.ID] = append(ids, r.ID), r.Silence
	}
	for _, t := range s.roster.Get(ids) {
		if t.State == roster.Connected {
			list = append(list, roster.AtRisk{Session: t, Silence: silence[t.ID]})
		}
	}
	roster.Rank(list)
	return list[:min(n, len(list))]
}

// EphemeralData returns the data of ephemeral nodes as it is now, at most max
// bytes of each; nil for a node that is gone.
func (s *Server) EphemeralData(nodes []*roster.Ephemeral, max int) [][]byte {
	out := make([][]byte, len(nodes))
	s.View(func(m *statemachine.Machine) {
		t := m.Tree()
		for i, e := range nodes {
			if id := t.Find(e.Path); id != tree.None && t.Czxid(id) == e.Czxid {
				data := t.Data(id)
				out[i] = slices.Clone(data[:min(max, len(data))])
			}
		}
	})
	return out
}

// QuorumContact returns how long ago a quorum last confirmed the leader; false
// if it never has.
func (s *Server) QuorumContact() (ago time.Duration, ok bool) {
	at, ok := s.node.Contact()
	return s.opt.Now() - at, ok
}
