package member

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// callReconfig carries a client's reconfig to the leader: a reconfigCall,
// answered with a reconfigAnswer.
const callReconfig byte = 5

type reconfigCall struct {
	Request jute.ReconfigRequest
	// Allowed: the client's ACLs let it write the configuration.
	Allowed bool
	// Within is how long there is, in milliseconds.
	Within int64
}

type reconfigAnswer struct {
	Code   jute.ErrCode
	Reason string // for the log
	// Index is that of the membership, which the client's member has to apply
	// before it answers.
	Index uint64
	// Elsewhere: this member does not lead, or is handing leadership over.
	Elsewhere bool
}

// reconfigPause is how long to wait before something is looked at again.
const reconfigPause = 50 * time.Millisecond

// reconfig implements server.Reconfigure.
func (m *Member) reconfig(ctx context.Context, req jute.ReconfigRequest, allowed bool) (jute.ErrCode, error) {
	n := m.node.Load()
	for {
		answer := &reconfigAnswer{Elsewhere: true}
		switch lead, known := n.Members().Get(n.Role().Leader); {
		case m.transport == nil:
			return jute.ErrUnimplemented, nil // an ensemble of one, as in ZooKeeper
		case n.Role().IsLeader:
			answer = m.reconfigHere(ctx, n, req, allowed)
		case known:
			var err error
			if answer, err = m.forwardReconfig(ctx, m.peerAddr(lead), req, allowed); err != nil {
				return 0, err
			}
		}
		if !answer.Elsewhere {
			if answer.Code != jute.OK {
				m.log.Warn("a client's reconfig was refused", "code", answer.Code, "reason", answer.Reason)
			}
			return answer.Code, m.awaitApplied(ctx, n, answer.Index)
		}
		if err := m.pause(ctx); err != nil {
			return 0, err
		}
	}
}

func (m *Member) pause(ctx context.Context) error {
	select {
	case <-time.After(reconfigPause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.stop:
		return errStopping
	}
}

func (m *Member) awaitApplied(ctx context.Context, n *replica.Node, index uint64) error {
	for n.Applied() < index {
		if err := m.pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *Member) forwardReconfig(ctx context.Context, addr string, req jute.ReconfigRequest, allowed bool) (*reconfigAnswer, error) {
	call := reconfigCall{Request: req, Allowed: allowed}
	if at, ok := ctx.Deadline(); ok {
		call.Within = time.Until(at).Milliseconds() * 9 / 10 // and the rest for the way back
	}
	payload, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	raw, err := m.transport.Call(ctx, addr, callReconfig, payload)
	if err != nil {
		return nil, err
	}
	answer := &reconfigAnswer{}
	return answer, json.Unmarshal(raw, answer)
}

// answerReconfig answers a member whose client wants a reconfig.
func (m *Member) answerReconfig(payload []byte) ([]byte, error) {
	var call reconfigCall
	if err := json.Unmarshal(payload, &call); err != nil {
		return nil, err
	}
	answer := &reconfigAnswer{Elsewhere: true}
	if n, err := m.leading(); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(call.Within)*time.Millisecond)
		defer cancel()
		answer = m.reconfigHere(ctx, n, call.Request, call.Allowed)
	}
	return json.Marshal(answer)
}

// reconfigHere carries a reconfig out on the leader. The order of the checks is
// ZooKeeper's, but that nobody is asked for a client that may not have it so.
func (m *Member) reconfigHere(ctx context.Context, n *replica.Node, req jute.ReconfigRequest, allowed bool) *reconfigAnswer {
	refuse := func(code jute.ErrCode, format string, args ...any) *reconfigAnswer {
		return &reconfigAnswer{Code: code, Reason: fmt.Sprintf(format, args...)}
	}
	if n.Changing() {
		return refuse(jute.ErrReconfigInProgress, "another change of the membership is under way")
	}
	var now statemachine.Members
	m.server.View(func(sm *statemachine.Machine) { now = sm.Members() })
	if req.CurConfigID != -1 && req.CurConfigID != now.Version {
		return refuse(jute.ErrBadVersion, "it is for the configuration of version %x, and this is %x", req.CurConfigID, now.Version)
	}
	notAllowed := func() *reconfigAnswer {
		return refuse(jute.ErrNoAuth, "the client may not write %s", statemachine.ConfigPath)
	}
	wanted, code, err := planReconfig(now.List, &req)
	switch {
	case errors.Is(err, zooconfig.ErrServerNumber) && !allowed:
		return notAllowed() // ZooKeeper takes any number
	case err != nil:
		return refuse(code, "%v", err)
	}
	voters := 0
	for _, p := range wanted {
		if p.Voter {
			voters++
		}
	}
	if least := 2; voters < 1 || m.cfg.StandaloneEnabled && voters < least {
		return refuse(jute.ErrBadArguments, "there would be %d voters; at least 1 is needed, and %d with standaloneEnabled", voters, least)
	}
	if !allowed {
		return notAllowed()
	}
	// Raft knows members by their ids, so those that join are asked who they are;
	// also one that is named and silent: it may have come back on a new disk.
	var joining []statemachine.Member
	progress := n.Progress()
	for i, p := range wanted {
		if p.ID != 0 && (!asksFor(&req, p.Name) || progress[p.ID].Active) {
			continue
		}
		there, err := m.askWho(ctx, p.PeerAddr())
		if p.ID != 0 && (err != nil || there.MemberID == p.ID) {
			continue
		}
		if err != nil {
			return refuse(jute.ErrNewConfigNoQuorum, "server.%d does not answer at %s: %v", p.Name, p.PeerAddr(), err)
		}
		if why, text := candidate(there, there.MemberID, *m.clusterID.Load()); why != 0 {
			return refuse(jute.ErrNewConfigNoQuorum, "%s: %s", p.PeerAddr(), text)
		}
		wanted[i].ID = there.MemberID
		joining = append(joining, wanted[i])
	}
	index := now.Index
	for _, p := range joining {
		members, err := n.AddLearner(ctx, index, p)
		if err != nil {
			return m.reconfigError(err)
		}
		index = members.Index
		if err := m.invite(ctx, p.PeerAddr(), p.ID); err != nil {
			m.log.Info("a joining member was not told so; it may join by itself", "server", p.Name, "error", err)
		}
	}
	return m.reconfigure(ctx, n, index, wanted)
}

func (m *Member) reconfigure(ctx context.Context, n *replica.Node, index uint64, wanted []statemachine.Member) *reconfigAnswer {
	for {
		members, err := n.Reconfigure(ctx, index, wanted)
		var refused *replica.Refusal
		switch {
		case err == nil:
			m.log.Info("a client has changed the membership", "members", len(members.List), "index", members.Index)
			return &reconfigAnswer{Index: members.Index}
		case errors.As(err, &refused) && refused.Why == replica.WhyLagging:
			if m.pause(ctx) == nil {
				continue // it has just joined
			}
		case errors.As(err, &refused) && refused.Why == replica.WhyLeader:
			for _, p := range wanted {
				if p.Voter && n.TransferLeadership(p.ID) == nil {
					return &reconfigAnswer{Elsewhere: true}
				}
			}
		}
		return m.reconfigError(err)
	}
}

// reconfigError gives a replica's error ZooKeeper's code.
func (m *Member) reconfigError(err error) *reconfigAnswer {
	a := &reconfigAnswer{Code: jute.ErrNewConfigNoQuorum, Reason: err.Error()}
	var refused *replica.Refusal
	switch {
	case errors.Is(err, replica.ErrNotLeader):
		a.Elsewhere = true
	case errors.As(err, &refused):
		switch refused.Why {
		case replica.WhyMoved:
			a.Code = jute.ErrReconfigInProgress
		case replica.WhyDiffers, replica.WhyNameTaken:
			a.Code = jute.ErrBadArguments
		}
	}
	return a
}

// planReconfig returns the voters and observers that a request asks for. Those
// that are no members yet have no id.
func planReconfig(list []statemachine.Member, req *jute.ReconfigRequest) ([]statemachine.Member, jute.ErrCode, error) {
	next := make(map[int]statemachine.Member)
	if req.NewMembers == "" {
		for _, p := range list {
			if p.Voter || p.Observer {
				next[p.Name] = p
			}
		}
		for _, id := range fields(req.Leaving, ",") {
			n, err := strconv.Atoi(id)
			if err != nil {
				return nil, jute.ErrMarshalling, fmt.Errorf("leaving: %q is no number of a server", id)
			}
			delete(next, n)
		}
	}
	for _, line := range append(fields(req.Joining, ","), fields(req.NewMembers, ",\n")...) {
		if req.NewMembers != "" && strings.HasPrefix(line, "version=") {
			continue
		}
		p, code, err := parseJoining(line)
		if err != nil {
			return nil, code, err
		}
		if old, ok := memberNamed(list, p.Name); ok {
			p.ID = old.ID
		}
		next[p.Name] = p
	}
	taken := make(map[string]int)
	var wanted []statemachine.Member
	for _, p := range next {
		wanted = append(wanted, p)
		for _, port := range []int{p.PeerPort, p.ElectionPort} {
			addr := net.JoinHostPort(strings.ToLower(p.Host), strconv.Itoa(port))
			if other, ok := taken[addr]; ok {
				return nil, jute.ErrBadArguments, fmt.Errorf("server.%d and server.%d have one address: %s", other, p.Name, addr)
			}
			taken[addr] = p.Name
		}
	}
	slices.SortFunc(wanted, func(a, b statemachine.Member) int { return cmp.Compare(a.Name, b.Name) })
	return wanted, jute.OK, nil
}

// asksFor reports whether the request has a line for the server.
func asksFor(req *jute.ReconfigRequest, name int) bool {
	for _, line := range append(fields(req.Joining, ","), fields(req.NewMembers, ",\n")...) {
		if p, _, err := parseJoining(line); err == nil && p.Name == name {
			return true
		}
	}
	return false
}

// memberNamed is the member that stands for a name: of several, the one that
// clients are shown.
func memberNamed(list []statemachine.Member, name int) (found statemachine.Member, ok bool) {
	for _, p := range list {
		if p.Name == name && (!ok || p.Voter || p.Observer) {
			found, ok = p, true
		}
	}
	return found, ok
}

func fields(list, separators string) (out []string) {
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func parseJoining(line string) (statemachine.Member, jute.ErrCode, error) {
	key, spec, ok := strings.Cut(line, "=")
	if !ok {
		return statemachine.Member{}, jute.ErrBadArguments, fmt.Errorf("%q is no server line", line)
	}
	key = strings.TrimSpace(key)
	n, err := strconv.Atoi(key[strings.LastIndexByte(key, '.')+1:])
	if err != nil {
		return statemachine.Member{}, jute.ErrMarshalling, fmt.Errorf("%q does not name a server's number", line)
	}
	s, err := zooconfig.ParseServer(n, strings.TrimSpace(spec))
	if err != nil {
		return statemachine.Member{}, jute.ErrBadArguments, fmt.Errorf("%q: %w", line, err)
	}
	if s.ClientPort == 0 {
		return statemachine.Member{}, jute.ErrBadArguments, fmt.Errorf("%q: it has no port for clients", line)
	}
	return statemachine.Member{
		Name: s.ID, Voter: !s.Observer, Observer: s.Observer, Host: s.Host, PeerPort: s.PeerPort, ElectionPort: s.ElectionPort,
		ClientHost: s.ClientHost, ClientPort: s.ClientPort,
	}, jute.OK, nil
}
