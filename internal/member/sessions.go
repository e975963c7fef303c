package member

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/roster"
)

// The stream of sessions and ephemerals, for the operator and for people.

const (
	// sessionsHeartbeat is how often a reader hears that the leader lives, and
	// sessionsLook how often it is looked whether that has to be sooner.
	sessionsHeartbeat = time.Second
	sessionsLook      = 100 * time.Millisecond
	// sessionsPart is how many sessions, nodes or changes a message has at most:
	// with the longest paths that is still much less than a client takes.
	sessionsPart = 1000
	// sessionsPause is between two messages with changes: what happens in it goes
	// together.
	sessionsPause = 10 * time.Millisecond
	// sessionsBytes bounds the data in a message.
	sessionsBytes = 512 << 10

	defaultMaxData = 1024
	mostMaxData    = 4096
	mostAtRisk     = 100
	mostPatterns   = 64
	longestPattern = 1024
)

// WatchSessions implements admin.Source.
func (s *source) WatchSessions(ctx context.Context, req *adminpb.WatchSessionsRequest, send func(*adminpb.SessionsUpdate) error) error {
	m := (*Member)(s)
	f, err := newFollower(m, req, send)
	if err != nil {
		return err
	}
	if _, err := m.leading(); err != nil {
		return err
	}
	resume := roster.Position{Reign: req.GetResume().GetReign(), Sequence: req.GetResume().GetSequence()}
	f.reader, err = m.server.FollowSessions(resume)
	switch {
	case errors.Is(err, roster.ErrTooMany):
		return fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	case err != nil:
		// It leads, and has not applied an entry of its own term yet.
		return fmt.Errorf("%w: this member has just begun to lead; call again", admin.ErrUnavailable)
	}
	defer f.reader.Close()
	err = f.run(ctx)
	if errors.Is(err, roster.ErrNotLeading) {
		if _, err := m.leading(); err != nil {
			return err
		}
		return fmt.Errorf("%w: this member has ceased to lead, and leads again; call again", admin.ErrUnavailable)
	}
	return err
}

// follower is one stream.
type follower struct {
	m        *Member
	reader   *roster.Reader
	send     func(*adminpb.SessionsUpdate) error
	patterns []string
	maxData  int
	atRisk   int

	// What the last heartbeat said, and when.
	beat            time.Time
	quorum, settled bool
	last            *adminpb.SessionsPosition
	zxid            int64
}

func newFollower(m *Member, req *adminpb.WatchSessionsRequest, send func(*adminpb.SessionsUpdate) error) (*follower, error) {
	bad := func(format string, args ...any) error {
		return admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, format, args...)
	}
	f := &follower{m: m, send: send, patterns: req.GetDataPatterns(), maxData: int(req.GetMaxDataBytes()), atRisk: int(req.GetAtRisk())}
	if f.maxData == 0 {
		f.maxData = defaultMaxData
	}
	switch {
	case f.maxData < 0 || f.maxData > mostMaxData:
		return nil, bad("max_data_bytes %d: must be 0 to %d", f.maxData, mostMaxData)
	case f.atRisk < 0 || f.atRisk > mostAtRisk:
		return nil, bad("at_risk %d: must be 0 to %d", f.atRisk, mostAtRisk)
	case len(f.patterns) > mostPatterns:
		return nil, bad("%d data_patterns: at most %d are taken", len(f.patterns), mostPatterns)
	}
	for _, p := range f.patterns {
		if len(p) > longestPattern || !strings.HasPrefix(p, "/") {
			return nil, bad("data_patterns: %.100q: must begin with / and have at most %d bytes", p, longestPattern)
		}
	}
	return f, nil
}

// run sends until ctx ends, the client does not take more, or the member ceases
// to lead.
func (f *follower) run(ctx context.Context) error {
	look := time.NewTicker(sessionsLook)
	defer look.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		for {
			b, err := f.reader.Next(sessionsPart)
			if err != nil {
				return err
			}
			if b == nil {
				break
			}
			if err := f.pass(b); err != nil {
				return err
			}
			if err := f.heartbeat(); err != nil {
				return err
			}
			if b.Snapshot {
				continue
			}
			pause.Reset(sessionsPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				return ctx.Err()
			case <-f.m.stop:
				return errNoEnsemble
			}
		}
		if err := f.heartbeat(); err != nil {
			return err
		}
		select {
		case <-f.reader.Ready():
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.m.stop:
			return errNoEnsemble
		}
	}
}

// heartbeat sends one if it is time, or if there is something that can't wait. It
// does not come before, or within, what it would vouch for.
func (f *follower) heartbeat() error {
	if !f.reader.Current() {
		return nil
	}
	totals, ok := f.m.server.SessionTotals()
	if !ok {
		return roster.ErrNotLeading
	}
	ago, known := f.m.server.QuorumContact()
	quorum := known && ago < f.m.quorumContact()
	if now := time.Now(); now.Sub(f.beat) >= sessionsHeartbeat || quorum != f.quorum || totals.Settled != f.settled {
		f.beat, f.quorum, f.settled = now, quorum, totals.Settled
	} else {
		return nil
	}
	h := &adminpb.SessionsHeartbeat{
		Quorum: quorum, Settled: totals.Settled,
		Totals: &adminpb.SessionTotals{
			NotConnected: int64(totals.NotConnected), Connecting: int64(totals.Connecting), Connected: int64(totals.Connected),
			Closed: totals.Closed, Expired: totals.Expired, Ephemerals: int64(totals.Ephemerals), Watches: totals.Watches,
		},
	}
	if !quorum {
		h.NoQuorumMs = max(1, ago.Milliseconds())
	}
	for _, r := range f.m.server.SessionsAtRisk(f.atRisk) {
		h.AtRisk = append(h.AtRisk, sessionMessage(&r.Session, r.Silence))
	}
	f.zxid = max(f.zxid, f.reader.Zxid())
	return f.send(&adminpb.SessionsUpdate{Position: f.last, Zxid: f.zxid, Body: &adminpb.SessionsUpdate_Heartbeat{Heartbeat: h}})
}

// pass sends a batch, in as many messages as the data in it needs.
func (f *follower) pass(b *roster.Batch) error {
	f.zxid = max(f.zxid, b.Zxid)
	f.last = nil
	if b.Position.Reign != 0 {
		f.last = &adminpb.SessionsPosition{Reign: b.Position.Reign, Sequence: b.Position.Sequence}
	}
	if b.Snapshot {
		return f.passSnapshot(b)
	}
	return f.passChanges(b)
}

func (f *follower) passSnapshot(b *roster.Batch) error {
	part := &adminpb.SessionsSnapshot{First: b.First}
	ids := make([]int64, len(b.Sessions))
	for i := range b.Sessions {
		ids[i] = b.Sessions[i].ID
	}
	for i, silence := range f.m.server.SessionSilence(ids) {
		part.Sessions = append(part.Sessions, sessionMessage(&b.Sessions[i], silence))
	}
	nodes := f.ephemerals(b.Nodes)
	for {
		n := fitting(nodes)
		part.Ephemerals, nodes = nodes[:n], nodes[n:]
		part.Last = b.Last && len(nodes) == 0
		u := &adminpb.SessionsUpdate{Zxid: f.zxid, Body: &adminpb.SessionsUpdate_Snapshot{Snapshot: part}}
		if part.Last {
			u.Position = f.last
		}
		if err := f.send(u); err != nil || len(nodes) == 0 {
			return err
		}
		part = &adminpb.SessionsSnapshot{}
	}
}

// fitting is how many of the nodes go into one message.
func fitting(nodes []*adminpb.Ephemeral) (n int) {
	for size := 0; n < len(nodes); n++ {
		if size += len(nodes[n].GetPath()) + len(nodes[n].GetData()); size > sessionsBytes && n > 0 {
			break
		}
	}
	return n
}

func (f *follower) passChanges(b *roster.Batch) error {
	var ids []int64
	var nodes []*roster.Ephemeral
	for _, c := range b.Changes {
		switch {
		case c.Session != nil:
			ids = append(ids, c.Session.ID)
		case c.Node != nil:
			nodes = append(nodes, c.Node)
		}
	}
	silence, known := f.m.server.SessionSilence(ids), f.ephemerals(nodes)
	body := &adminpb.SessionsChanges{}
	size := 0
	flush := func(position *adminpb.SessionsPosition) error {
		u := &adminpb.SessionsUpdate{Position: position, Zxid: f.zxid, Body: &adminpb.SessionsUpdate_Changes{Changes: body}}
		if position == nil {
			u.Zxid = 0 // not all of it has been told
		}
		body, size = &adminpb.SessionsChanges{}, 0
		return f.send(u)
	}
	for _, c := range b.Changes {
		out := &adminpb.SessionsChange{}
		switch {
		case c.Session != nil:
			out.Change = &adminpb.SessionsChange_Session{Session: sessionMessage(c.Session, silence[0])}
			silence = silence[1:]
		case c.End != nil:
			size += 64 * len(c.End.Paths)
			out.Change = &adminpb.SessionsChange_End{End: &adminpb.SessionEnd{
				Session: sessionMessage(&c.End.Session, 0), Expired: c.End.Expired, Zxid: c.End.Zxid, Paths: c.End.Paths,
			}}
		case c.Node != nil:
			size += len(known[0].GetPath()) + len(known[0].GetData())
			out.Change = &adminpb.SessionsChange_Ephemeral{Ephemeral: known[0]}
			known = known[1:]
		case c.Gone != nil:
			size += len(c.Gone.Path)
			out.Change = &adminpb.SessionsChange_Gone{Gone: &adminpb.EphemeralGone{
				Path: c.Gone.Path, SessionId: uint64(c.Gone.Session), Czxid: c.Gone.Czxid, Zxid: c.Zxid,
			}}
		}
		body.Changes = append(body.Changes, out)
		if size > sessionsBytes {
			if err := flush(nil); err != nil {
				return err
			}
		}
	}
	return flush(f.last)
}

func (f *follower) ephemerals(nodes []*roster.Ephemeral) []*adminpb.Ephemeral {
	out := make([]*adminpb.Ephemeral, len(nodes))
	var wanted []*roster.Ephemeral
	var at []int
	for i, e := range nodes {
		out[i] = &adminpb.Ephemeral{Path: e.Path, SessionId: uint64(e.Session), Czxid: e.Czxid, Mzxid: e.Mzxid, CreatedMs: e.Created, DataLength: int64(e.DataLength)}
		if f.matches(e.Path) {
			wanted, at = append(wanted, e), append(at, i)
		}
	}
	for i, data := range f.m.server.EphemeralData(wanted, f.maxData) {
		out[at[i]].Data = data
	}
	return out
}

func (f *follower) matches(p string) bool {
	for _, pattern := range f.patterns {
		if matchPath(pattern, p) {
			return true
		}
	}
	return false
}

// matchPath reports whether a path is meant by a pattern: element by element, *
// standing for any letters, and ** as the last element for one element or more.
func matchPath(pattern, p string) bool {
	for {
		wantHead, want, wantMore := strings.Cut(pattern, "/")
		haveHead, have, haveMore := strings.Cut(p, "/")
		switch {
		case wantHead == "**" && !wantMore:
			return p != ""
		case !matchElement(wantHead, haveHead) || wantMore != haveMore:
			return false
		case !wantMore:
			return true
		}
		pattern, p = want, have
	}
}

// matchElement matches one element. Stars are few, and so is the work: what is
// between two of them is looked for from the left.
func matchElement(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		middle, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, rest)
		}
		i := strings.Index(name, middle)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(middle):], next
	}
}

var sessionStates = map[roster.State]adminpb.SessionState{
	roster.NotConnected: adminpb.SessionState_SESSION_STATE_NOT_CONNECTED,
	roster.Connecting:   adminpb.SessionState_SESSION_STATE_CONNECTING,
	roster.Connected:    adminpb.SessionState_SESSION_STATE_CONNECTED,
}

func sessionMessage(s *roster.Session, silence time.Duration) *adminpb.Session {
	return &adminpb.Session{
		Id: uint64(s.ID), State: sessionStates[s.State], MemberId: s.Member, Client: s.Client, TimeoutMs: s.Timeout.Milliseconds(),
		SilenceMs: silence.Milliseconds(), Ephemerals: int64(s.Ephemerals), CreatedMs: s.Created,
	}
}
