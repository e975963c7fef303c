package mirror

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// SessionState is a session's state as the ensemble sees it.
type SessionState uint8

// The states; a session that has ended has none.
const (
	// NotConnected was restored after a restart of the whole ensemble, its client
	// not seen since.
	NotConnected SessionState = iota + 1
	// Connecting has no open connection now.
	Connecting
	// Connected has one, by its member's word.
	Connected
)

// String is the state's name in status.
func (s SessionState) String() string {
	switch s {
	case NotConnected:
		return "NOT_CONNECTED"
	case Connecting:
		return "CONNECTING"
	case Connected:
		return "CONNECTED"
	}
	return fmt.Sprintf("SessionState(%d)", uint8(s))
}

// Session is one session.
type Session struct {
	ID    uint64
	State SessionState
	// Member is the id of the member that it is attached to, or was last.
	Member uint64
	// Client is the client's address as that member saw it; zero if unknown.
	Client  netip.AddrPort
	Timeout time.Duration
	// Silence is how long nothing has been heard of the client. In the copy it is
	// as of the moment the stream sent it.
	Silence time.Duration
	// Ephemerals is the number of its ephemeral nodes; in the copy, of those that
	// are in the copy.
	Ephemerals int
	Created    time.Time
}

// Ephemeral is one ephemeral node.
type Ephemeral struct {
	Path    string
	Session uint64
	// Czxid and Mzxid are the transactions that made it and set its data last.
	Czxid, Mzxid int64
	Created      time.Time
	// Data is the beginning of its data, if a rule wants it. Nobody changes it.
	Data []byte
	// DataLength is the length of all of it.
	DataLength int
}

func (e Ephemeral) equal(o Ephemeral) bool {
	return e.Path == o.Path && e.Session == o.Session && e.Czxid == o.Czxid && e.Mzxid == o.Mzxid &&
		e.DataLength == o.DataLength && bytes.Equal(e.Data, o.Data)
}

// End is a session that has ended.
type End struct {
	Session Session
	Expired bool
	Zxid    int64
	// Paths are some of the Session.Ephemerals nodes that went with it.
	Paths []string
}

// Totals are the leader's counts.
type Totals struct {
	NotConnected, Connecting, Connected int64
	// Closed and Expired count since the ensemble began.
	Closed, Expired     int64
	Ephemerals, Watches int64
}

// Position is a place in one leader's stream, where it can be taken up again.
type Position struct{ Reign, Sequence uint64 }

// Update is one message of the stream. One of Snapshot, Changes and Heartbeat is
// set.
type Update struct {
	// Position and Zxid say what has been told by now. They mean nothing if the
	// message is Partial.
	Position Position
	Zxid     int64
	// Partial: changes go on in a later message, or a heartbeat comes between two
	// such; what belongs together is not complete.
	Partial   bool
	Snapshot  *Snapshot
	Changes   []Change
	Heartbeat *Heartbeat
}

// Snapshot is a part of the whole.
type Snapshot struct {
	First, Last bool
	Sessions    []Session
	Ephemerals  []Ephemeral
}

// Change is one change; exactly one field is set.
type Change struct {
	// Session is new, or another than before.
	Session *Session
	// End comes after the session's ephemerals have gone.
	End *End
	// Ephemeral is new, or has other data.
	Ephemeral *Ephemeral
	Gone      *Gone
}

// Gone is an ephemeral node that was removed, by the transaction Zxid.
type Gone struct {
	Path  string
	Czxid int64
	Zxid  int64
}

// Heartbeat comes every second.
type Heartbeat struct {
	// Quorum: a majority has confirmed the leader lately.
	Quorum bool
	// Settled: every member has told the leader who is connected to it.
	Settled bool
	Totals  Totals
	// AtRisk are the sessions nearest to expiry, worst first.
	AtRisk []Session
}

// Delta is what an Update has changed of ephemerals, in order.
type Delta struct {
	// Transactions that changed ephemerals. A snapshot counts as one.
	Transactions []Transaction
	// Ended are the sessions of which the stream said that they ended. Those that
	// are merely missing from a snapshot are not among them: how they ended is
	// unknown.
	Ended []End
	// Touched are the sessions that are new or different, by changes.
	Touched []uint64
	// Whole: the copy is complete as of this update, and was not before it.
	Whole bool
}

// Transaction is what one transaction did to ephemerals.
type Transaction struct {
	Zxid int64
	// Set are nodes that are new, made anew, or have other data.
	Set []Ephemeral
	// Gone are nodes that were removed and not made again; the same transaction
	// may have made them.
	Gone []string
}
