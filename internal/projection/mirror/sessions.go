package mirror

import (
	"net/netip"
	"time"
)

// sessions is a table of sessions. Its records hold no pointers, so that the
// collector has nothing to look for in them.
type sessions struct {
	index   map[uint64]uint32
	records []record
	// free are indexes of records that are not in use.
	free []uint32
	// counts are by state.
	counts [Connected + 1]int
}

type record struct {
	id, member uint64
	// created and heard are in milliseconds since the Unix epoch; heard is when
	// the client was last heard of, by the stream's word at the time.
	created, heard int64
	address        [16]byte
	timeout        int32
	ephemerals     int32
	port           uint16
	state          SessionState
	// v4: the address is an IPv4 address; known: there is one.
	v4, known bool
}

func newSessions() *sessions { return &sessions{index: make(map[uint64]uint32)} }

func (t *sessions) len() int { return len(t.index) }

func (t *sessions) put(s Session, now time.Time) {
	i, ok := t.index[s.ID]
	// The ephemerals are counted here: a session is not sent again for them, and
	// one that is sent may count what comes behind it.
	var held int32
	switch {
	case ok:
		t.counts[t.records[i].state]--
		held = t.records[i].ephemerals
	case len(t.free) > 0:
		i = t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
	default:
		i = uint32(len(t.records))
		t.records = append(t.records, record{})
	}
	t.index[s.ID] = i
	a := s.Client.Addr()
	t.records[i] = record{
		id: s.ID, member: s.Member, state: s.State,
		created: s.Created.UnixMilli(), heard: now.Add(-s.Silence).UnixMilli(),
		timeout: int32(s.Timeout.Milliseconds()), ephemerals: held,
		port: s.Client.Port(), v4: a.Is4(), known: a.IsValid(),
	}
	if a.IsValid() {
		t.records[i].address = a.As16()
	}
	t.counts[s.State]++
}

// get returns a session, its silence reckoned up to now.
func (t *sessions) get(id uint64, now time.Time) (Session, bool) {
	i, ok := t.index[id]
	if !ok {
		return Session{}, false
	}
	return t.records[i].session(now), true
}

func (t *sessions) remove(id uint64) {
	i, ok := t.index[id]
	if !ok {
		return
	}
	t.counts[t.records[i].state]--
	t.records[i] = record{}
	delete(t.index, id)
	t.free = append(t.free, i)
}

// held adds to the number of a session's ephemerals.
func (t *sessions) held(id uint64, n int32) {
	if i, ok := t.index[id]; ok {
		t.records[i].ephemerals += n
	}
}

func (r *record) client() netip.AddrPort {
	if !r.known {
		return netip.AddrPort{}
	}
	a := netip.AddrFrom16(r.address)
	if r.v4 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, r.port)
}

func (r *record) session(now time.Time) Session {
	return Session{
		ID: r.id, Member: r.member, State: r.state, Client: r.client(),
		Timeout: time.Duration(r.timeout) * time.Millisecond,
		Silence: max(0, now.Sub(time.UnixMilli(r.heard))),
		Created: time.UnixMilli(r.created), Ephemerals: int(r.ephemerals),
	}
}
