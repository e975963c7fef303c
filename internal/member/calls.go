package member

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

// Kinds of calls between members, behind those of package formation. They are
// rare and small, so they are JSON: a field that one side does not know does no
// harm.
const (
	callWho    byte = 3 // a whoRequest, answered with a whoReply
	callInvite byte = 4 // an invitation, answered with nothing
)

// whoTime bounds a call of these kinds.
const whoTime = time.Second

// whoRequest asks a process who it is, and what it knows of the one that asks.
type whoRequest struct {
	ClusterID string
	MemberID  uint64
}

// whoReply is what a process says of itself.
type whoReply struct {
	ClusterID string // empty if it belongs to no ensemble
	MemberID  uint64
	Name      int
	// Awaiting: it is empty, and waits to be told which ensemble it belongs to.
	Awaiting bool
	// Refusal is why it refuses to serve; empty if it does not.
	Refusal string
	// ConfigIndex is that of the membership that it has applied, and HasYou
	// tells whether the one that asks is in it.
	ConfigIndex uint64
	HasYou      bool
	// Former are the ensembles of which this one is the recovery.
	Former []string
	// Zxid and LastIndex are how far its data goes, Term what it has heard of.
	Zxid      int64
	LastIndex uint64
	Term      uint64
}

// invitation tells a member that waits which ensemble has taken it in.
type invitation struct {
	ClusterID string
	MemberID  uint64 // whom it is for
	Index     uint64 // of the membership
	Members   []byte // as EncodeMembers makes it
}

// who answers a whoRequest.
func (m *Member) who(req *whoRequest) *whoReply {
	id := m.dir.Identity.Get()
	r := &whoReply{ClusterID: id.ClusterID, MemberID: id.MemberID, Name: m.cfg.MyID, Former: id.Former}
	st := m.standing.Load()
	r.Awaiting = st.state == adminpb.Membership_MEMBERSHIP_AWAITING
	if st.refuses() {
		r.Refusal = st.reason
		return r
	}
	n := m.node.Load()
	if n == nil {
		return r
	}
	members := n.Members()
	r.ConfigIndex = members.Index
	if _, ok := members.Get(req.MemberID); ok && req.ClusterID == id.ClusterID {
		r.HasYou = true
	}
	m.server.View(func(sm *statemachine.Machine) { r.Zxid = sm.Zxid() })
	r.Term = n.Role().Term
	r.LastIndex, _ = m.raftLog.LastIndex()
	return r
}

// ask asks the process at addr, whatever ensemble it is of.
func (m *Member) askWho(ctx context.Context, addr string) (*whoReply, error) {
	ctx, cancel := context.WithTimeout(ctx, whoTime)
	defer cancel()
	id := m.dir.Identity.Get()
	req, err := json.Marshal(whoRequest{ClusterID: id.ClusterID, MemberID: id.MemberID})
	if err != nil {
		return nil, err
	}
	raw, err := m.transport.Ask(ctx, addr, callWho, req)
	if err != nil {
		return nil, err
	}
	reply := &whoReply{}
	if err := json.Unmarshal(raw, reply); err != nil {
		return nil, fmt.Errorf("an unreadable answer: %w", err)
	}
	return reply, nil
}

// invite tells a member that waits that it has been taken in.
func (m *Member) invite(ctx context.Context, addr string, to uint64) error {
	members := m.node.Load().Members()
	payload, err := json.Marshal(invitation{
		ClusterID: *m.clusterID.Load(), MemberID: to, Index: members.Index, Members: statemachine.EncodeMembers(members.List),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*whoTime)
	defer cancel()
	_, err = m.transport.Call(ctx, addr, callInvite, payload)
	return err
}

// invited makes a member that waits part of the ensemble that has taken it in.
func (m *Member) invited(in *invitation) error {
	m.orders.Lock()
	defer m.orders.Unlock()
	id := m.dir.Identity.Get()
	list, err := statemachine.DecodeMembers(in.Members)
	switch {
	case err != nil:
		return err
	case in.MemberID != id.MemberID:
		return fmt.Errorf("this is member %x, and the invitation is for member %x", id.MemberID, in.MemberID)
	case id.ClusterID == in.ClusterID && id.ClusterID != "":
		return nil // told again
	case id.ClusterID != "":
		return fmt.Errorf("this member belongs to ensemble %s", id.ClusterID)
	case m.standing.Load().refuses():
		return errors.New(m.standing.Load().reason)
	case !slices.ContainsFunc(list, func(p statemachine.Member) bool { return p.ID == id.MemberID }) || clusterID(in.ClusterID).IsZero():
		return fmt.Errorf("the invitation to ensemble %q does not name this member", in.ClusterID)
	}
	if err := m.leaveFormation(in.ClusterID); err != nil {
		return err
	}
	err = m.dir.Identity.Update(func(id *storage.Identity) {
		id.ClusterID, id.Hosts, id.HostsIndex = in.ClusterID, bytes.Clone(in.Members), in.Index
	})
	if err != nil {
		m.fail(err)
		return err
	}
	m.log.Info("taken into the ensemble as a learner", "cluster", in.ClusterID, "members", len(list))
	m.settle()
	return nil
}

// leaveFormation makes sure that a member that is founding an ensemble with
// others can join another: not if it has accepted one already.
func (m *Member) leaveFormation(cluster string) error {
	f := m.former.Load()
	if f == nil {
		return nil
	}
	f.SetMember(clusterID(cluster)) // from here on it promises and accepts nothing
	stored := m.dir.Identity.Get().Formation
	if stored == nil {
		return nil
	}
	st, err := formation.DecodeState(stored)
	if err == nil && (!st.Accepted.IsZero() || st.Decided) {
		f.SetMember(formation.ClusterID{})
		err = fmt.Errorf("server.%d has accepted to found an ensemble with its configured servers", m.cfg.MyID)
	}
	return err
}

// handleCall answers a call of these kinds.
func (m *Member) handleCall(kind byte, payload []byte) ([]byte, error) {
	switch kind {
	case callWho:
		req := &whoRequest{}
		if err := json.Unmarshal(payload, req); err != nil {
			return nil, err
		}
		return json.Marshal(m.who(req))
	case callInvite:
		in := &invitation{}
		if err := json.Unmarshal(payload, in); err != nil {
			return nil, err
		}
		return nil, m.invited(in)
	case callReconfig:
		return m.answerReconfig(payload)
	}
	return nil, fmt.Errorf("call %d is unknown: it may come from a newer conclave-server", kind)
}
