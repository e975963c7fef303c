package session

import (
	"cmp"
	"crypto/subtle"
	"slices"

	"github.com/conclave-dev/conclave/internal/jute"
)

// PasswordSize is the length of a session's password in bytes, as ZooKeeper's
// clients expect it.
const PasswordSize = 16

// Session is the replicated part of a session: what every member knows of it.
type Session struct {
	ID       int64
	Password [PasswordSize]byte
	Timeout  int32 // milliseconds, as negotiated
	Created  int64 // milliseconds since the Unix epoch, by the leader's clock

	// Member is the raft id of the member that the session is attached to.
	// Invariant: a write that reaches Apply from any other member, or under an
	// older Epoch, is refused.
	Member uint64
	// Epoch counts attachments. It rises by one each time that the session is
	// attached, to the same member or another.
	Epoch uint32
	// LastSeq is the number of the last write executed under Epoch. Writes are
	// numbered from 1 in each attachment. Invariant: the next write executed is
	// LastSeq+1; a smaller number is a repeat and dropped, a larger one has a
	// gap before it and is refused, so that none executes twice or out of order.
	LastSeq uint64

	// Client is the address that the client connected from.
	Client string
	// IDs are the identities that the client has proven in this attachment,
	// its address (scheme ip) first.
	IDs []jute.ID
}

// CheckPassword reports whether pw is the session's password.
func (s *Session) CheckPassword(pw []byte) bool {
	return subtle.ConstantTimeCompare(s.Password[:], pw) == 1
}

// HasID reports whether the client has proven id.
func (s *Session) HasID(id jute.ID) bool { return slices.Contains(s.IDs, id) }

// Table is the replicated session table. Only the state machine writes it;
// whoever reads it holds the state machine's lock.
type Table struct {
	sessions map[int64]*Session
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{sessions: make(map[int64]*Session)} }

// Get returns the session with this id, or nil.
func (t *Table) Get(id int64) *Session { return t.sessions[id] }

// Put adds s, replacing whatever had its id.
func (t *Table) Put(s *Session) { t.sessions[s.ID] = s }

// Delete removes the session with this id.
func (t *Table) Delete(id int64) { delete(t.sessions, id) }

// Len returns the number of sessions.
func (t *Table) Len() int { return len(t.sessions) }

// Sorted returns all sessions in the order of their ids.
func (t *Table) Sorted() []*Session {
	// Ids stand beside the pointers, so that sorting a hundred thousand sessions
	// does not visit each of them a dozen times.
	type entry struct {
		id int64
		s  *Session
	}
	entries := make([]entry, 0, len(t.sessions))
	for id, s := range t.sessions {
		entries = append(entries, entry{id, s})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	out := make([]*Session, len(entries))
	for i := range entries {
		out[i] = entries[i].s
	}
	return out
}

// Each calls f for every session, in no particular order.
func (t *Table) Each(f func(*Session)) {
	for _, s := range t.sessions {
		f(s)
	}
}
