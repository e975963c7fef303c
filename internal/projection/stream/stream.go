package stream

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/projection/mirror"
)

// MaxDataBytes of a node's data are asked for: enough for a name in a JSON object.
const MaxDataBytes = 2048

// Receiver is the client's end of a stream, as gRPC makes it.
type Receiver interface {
	Recv() (*adminpb.SessionsUpdate, error)
}

// Request asks for what the mirror lacks, the data of nodes that match the patterns,
// and a ranking of so many sessions. A mirror whose stream had other patterns has to
// begin anew: resume is false.
func Request(m *mirror.Mirror, patterns []string, atRisk int, resume bool) *adminpb.WatchSessionsRequest {
	r := &adminpb.WatchSessionsRequest{DataPatterns: patterns, MaxDataBytes: MaxDataBytes, AtRisk: int32(atRisk)}
	if p := m.Resume(); resume && p != (mirror.Position{}) {
		r.Resume = &adminpb.SessionsPosition{Reign: p.Reign, Sequence: p.Sequence}
	}
	return r
}

// Update translates a message. What it does not know is an error: a later server may
// have said something that can't be left out.
func Update(u *adminpb.SessionsUpdate) (*mirror.Update, error) {
	out := &mirror.Update{Zxid: u.GetZxid(), Partial: u.GetPosition() == nil}
	if p := u.GetPosition(); p != nil {
		out.Position = mirror.Position{Reign: p.GetReign(), Sequence: p.GetSequence()}
	}
	var err error
	switch body := u.GetBody().(type) {
	case *adminpb.SessionsUpdate_Snapshot:
		out.Snapshot, err = snapshot(body.Snapshot)
	case *adminpb.SessionsUpdate_Changes:
		for _, c := range body.Changes.GetChanges() {
			x, e := change(c)
			out.Changes, err = append(out.Changes, x), errors.Join(err, e)
		}
	case *adminpb.SessionsUpdate_Heartbeat:
		out.Heartbeat, err = heartbeat(body.Heartbeat)
	default:
		err = fmt.Errorf("a message of a kind that is not known: the member is of a later version")
	}
	if err != nil {
		return nil, fmt.Errorf("stream of sessions: %w", err)
	}
	return out, nil
}

func snapshot(s *adminpb.SessionsSnapshot) (*mirror.Snapshot, error) {
	out := &mirror.Snapshot{First: s.GetFirst(), Last: s.GetLast()}
	out.Sessions = make([]mirror.Session, 0, len(s.GetSessions()))
	for _, x := range s.GetSessions() {
		y, err := session(x)
		if err != nil {
			return nil, err
		}
		out.Sessions = append(out.Sessions, y)
	}
	for _, x := range s.GetEphemerals() {
		out.Ephemerals = append(out.Ephemerals, ephemeral(x))
	}
	return out, nil
}

func change(c *adminpb.SessionsChange) (mirror.Change, error) {
	switch x := c.GetChange().(type) {
	case *adminpb.SessionsChange_Session:
		s, err := session(x.Session)
		return mirror.Change{Session: &s}, err
	case *adminpb.SessionsChange_End:
		s, err := session(x.End.GetSession())
		return mirror.Change{End: &mirror.End{Session: s, Expired: x.End.GetExpired(), Zxid: x.End.GetZxid(), Paths: x.End.GetPaths()}}, err
	case *adminpb.SessionsChange_Ephemeral:
		e := ephemeral(x.Ephemeral)
		return mirror.Change{Ephemeral: &e}, nil
	case *adminpb.SessionsChange_Gone:
		return mirror.Change{Gone: &mirror.Gone{Path: x.Gone.GetPath(), Czxid: x.Gone.GetCzxid(), Zxid: x.Gone.GetZxid()}}, nil
	}
	return mirror.Change{}, fmt.Errorf("a change of a kind that is not known: the member is of a later version")
}

func heartbeat(h *adminpb.SessionsHeartbeat) (*mirror.Heartbeat, error) {
	t := h.GetTotals()
	out := &mirror.Heartbeat{Quorum: h.GetQuorum(), Settled: h.GetSettled(), Totals: mirror.Totals{
		NotConnected: t.GetNotConnected(), Connecting: t.GetConnecting(), Connected: t.GetConnected(),
		Closed: t.GetClosed(), Expired: t.GetExpired(), Ephemerals: t.GetEphemerals(), Watches: t.GetWatches(),
	}}
	for _, x := range h.GetAtRisk() {
		y, err := session(x)
		if err != nil {
			return nil, err
		}
		out.AtRisk = append(out.AtRisk, y)
	}
	return out, nil
}

func session(s *adminpb.Session) (mirror.Session, error) {
	out := mirror.Session{
		ID: s.GetId(), Member: s.GetMemberId(), Ephemerals: int(s.GetEphemerals()),
		Timeout: milliseconds(s.GetTimeoutMs()), Silence: milliseconds(s.GetSilenceMs()), Created: time.UnixMilli(s.GetCreatedMs()),
	}
	switch s.GetState() {
	case adminpb.SessionState_SESSION_STATE_NOT_CONNECTED:
		out.State = mirror.NotConnected
	case adminpb.SessionState_SESSION_STATE_CONNECTING:
		out.State = mirror.Connecting
	case adminpb.SessionState_SESSION_STATE_CONNECTED:
		out.State = mirror.Connected
	default:
		return out, fmt.Errorf("session 0x%x has a state that is not known, %v", s.GetId(), s.GetState())
	}
	// A member that has not seen the client has no address.
	if a, err := netip.ParseAddrPort(s.GetClient()); err == nil {
		out.Client = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return out, nil
}

func ephemeral(e *adminpb.Ephemeral) mirror.Ephemeral {
	return mirror.Ephemeral{
		Path: e.GetPath(), Session: e.GetSessionId(), Czxid: e.GetCzxid(), Mzxid: e.GetMzxid(),
		Created: time.UnixMilli(e.GetCreatedMs()), Data: e.GetData(), DataLength: int(e.GetDataLength()),
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
