package fake

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/ensemble"
)

// At implements ensemble.Ensemble.
func (w *World) At(e ensemble.Endpoint) (adminpb.AdminClient, error) {
	return &client{world: w, pod: e.Pod}, nil
}

// Keep implements ensemble.Ensemble.
func (w *World) Keep([]ensemble.Endpoint) {}

// client is the admin API of one pod. Calls that the operator does not make are
// left out.
type client struct {
	adminpb.AdminClient
	world *World
	pod   string
}

// Status implements adminpb.AdminClient.
func (c *client) Status(context.Context, *adminpb.StatusRequest, ...grpc.CallOption) (*adminpb.StatusResponse, error) {
	if c.world.OnCall != nil {
		if err := c.world.OnCall(c.pod, "Status"); err != nil {
			return nil, err
		}
	}
	if st := c.world.Status(c.pod); st != nil {
		return st, nil
	}
	return nil, status.Error(codes.Unavailable, "connection refused")
}

// order carries out what a call says, under the lock, unless something is in the
// way.
func (c *client) order(name string, do func(w *World, p *Process) error) error {
	w := c.world
	if w.OnCall != nil {
		if err := w.OnCall(c.pod, name); err != nil {
			return err
		}
	}
	err := func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		p := w.procs[c.pod]
		if p == nil || p.Silent {
			return status.Error(codes.Unavailable, "connection refused")
		}
		return do(w, p)
	}()
	if err == nil && w.OnDone != nil {
		return w.OnDone(c.pod, name)
	}
	return err
}

// Bootstrap implements adminpb.AdminClient.
func (c *client) Bootstrap(_ context.Context, r *adminpb.BootstrapRequest, _ ...grpc.CallOption) (*adminpb.BootstrapResponse, error) {
	return &adminpb.BootstrapResponse{ClusterId: r.ClusterId, MemberId: r.MemberId}, c.order("Bootstrap", func(w *World, p *Process) error {
		v := p.vol
		switch {
		case v.ID != r.MemberId:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, "this is member %x", v.ID)
		case v.Cluster == r.ClusterId && !v.Removed && !v.Superseded:
			return nil
		case v.Cluster != "":
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE, "it belongs to %s", v.Cluster)
		}
		w.note("Bootstrap(%s, %x)", r.ClusterId, r.MemberId)
		w.Founded = append(w.Founded, r.ClusterId)
		conf := config{1, []seat{{id: v.ID, name: p.Name, voter: true, peer: p.pod + ":2888", client: p.pod + ":2181"}}}
		w.ensembles[r.ClusterId] = &group{last: 1, term: 1, leader: v.ID, conf: conf}
		v.Cluster, v.match, v.known = r.ClusterId, 1, conf
		return nil
	})
}

// leading returns the group that a process leads.
func (w *World) leading(p *Process, index uint64) (*group, error) {
	g := w.ensembles[p.vol.Cluster]
	switch {
	case g == nil || g.leader != p.vol.ID || p.vol.Removed:
		return nil, ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_LEADER, "another leads")
	case index != 0 && index != g.conf.index:
		return g, ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_CONFIGURATION_MOVED, "planned on %d, and it is %d", index, g.conf.index)
	}
	return g, nil
}

// commit makes a membership the committed one, known to its leader.
func (w *World) commit(p *Process, g *group, members []seat) {
	g.last++
	g.conf = config{g.last, members}
	p.vol.known, p.vol.match = g.conf, g.last
}

func find(members []seat, id uint64) int {
	return slices.IndexFunc(members, func(s seat) bool { return s.id == id })
}

// AddLearner implements adminpb.AdminClient.
func (c *client) AddLearner(_ context.Context, r *adminpb.AddLearnerRequest, _ ...grpc.CallOption) (*adminpb.MembershipResponse, error) {
	return &adminpb.MembershipResponse{}, c.order("AddLearner", func(w *World, p *Process) error {
		g, moved := w.leading(p, r.ConfigurationIndex)
		if g == nil {
			return moved
		}
		var there *Process
		for _, q := range w.procs {
			if q.pod+":2888" == r.PeerAddress && !q.Cut && !q.restart {
				there = q
			}
		}
		switch {
		case there == nil:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_UNREACHABLE, "nobody answers at %s", r.PeerAddress)
		case there.vol.ID != r.MemberId:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, "member %x answers there", there.vol.ID)
		case there.vol.Removed || there.vol.Superseded || there.vol.Damaged || there.vol.Cluster != "" && there.vol.Cluster != p.vol.Cluster:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE, "it belongs to %s", there.vol.Cluster)
		}
		if i := find(g.conf.members, r.MemberId); i >= 0 {
			if s := g.conf.members[i]; s.name != r.Name || s.observer != r.Observer {
				return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_DIFFERS, "it is server.%d, observer %t", s.name, s.observer)
			}
			there.vol.Cluster = p.vol.Cluster
			return nil
		}
		if moved != nil {
			return moved
		}
		var members []seat
		for _, s := range g.conf.members {
			if s.name == r.Name {
				if w.connected(p.vol.Cluster, s) {
					return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NAME_TAKEN, "member %x lives", s.id)
				}
				if !s.voter {
					continue
				}
			}
			members = append(members, s)
		}
		w.note("AddLearner(server.%d, %x)", r.Name, r.MemberId)
		w.commit(p, g, append(members, seat{id: r.MemberId, name: r.Name, observer: r.Observer, peer: r.PeerAddress, client: r.ClientAddress}))
		there.vol.Cluster = p.vol.Cluster
		return nil
	})
}

// Promote implements adminpb.AdminClient.
func (c *client) Promote(_ context.Context, r *adminpb.PromoteRequest, _ ...grpc.CallOption) (*adminpb.MembershipResponse, error) {
	return &adminpb.MembershipResponse{}, c.order("Promote", func(w *World, p *Process) error {
		g, moved := w.leading(p, r.ConfigurationIndex)
		if g == nil {
			return moved
		}
		i := find(g.conf.members, r.MemberId)
		switch {
		case i < 0:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_A_MEMBER, "no member %x", r.MemberId)
		case g.conf.members[i].voter:
			return nil
		case moved != nil:
			return moved
		case g.conf.members[i].observer:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_OBSERVER, "it is an observer")
		case !w.synced(g, p.vol.Cluster, g.conf.members[i]):
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_LAGGING, "it lags")
		}
		var members []seat
		for _, s := range g.conf.members {
			if s.id == r.MemberId {
				s.voter = true
			} else if s.name == g.conf.members[i].name {
				continue
			}
			members = append(members, s)
		}
		if !w.quorum(p.vol.Cluster, members) {
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_QUORUM_AT_RISK, "too few answer")
		}
		w.note("Promote(server.%d, %x)", g.conf.members[i].name, r.MemberId)
		w.commit(p, g, members)
		return nil
	})
}

// Remove implements adminpb.AdminClient.
func (c *client) Remove(_ context.Context, r *adminpb.RemoveRequest, _ ...grpc.CallOption) (*adminpb.MembershipResponse, error) {
	return &adminpb.MembershipResponse{}, c.order("Remove", func(w *World, p *Process) error {
		g, moved := w.leading(p, r.ConfigurationIndex)
		if g == nil {
			return moved
		}
		i := find(g.conf.members, r.MemberId)
		if i < 0 {
			return nil
		}
		if moved != nil {
			return moved
		}
		gone := g.conf.members[i]
		members := slices.Delete(slices.Clone(g.conf.members), i, i+1)
		if gone.voter {
			switch {
			case !slices.ContainsFunc(members, func(s seat) bool { return s.voter }):
				return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_LAST_VOTER, "it is the last")
			case !w.quorum(p.vol.Cluster, members):
				return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_QUORUM_AT_RISK, "too few answer")
			case gone.id == p.vol.ID:
				return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_IS_LEADER, "it leads")
			}
		}
		w.note("Remove(server.%d, %x)", gone.name, gone.id)
		w.commit(p, g, members)
		return nil
	})
}

// StartClean implements adminpb.AdminClient.
func (c *client) StartClean(_ context.Context, r *adminpb.StartCleanRequest, _ ...grpc.CallOption) (*adminpb.StartCleanResponse, error) {
	return &adminpb.StartCleanResponse{}, c.order("StartClean", func(w *World, p *Process) error {
		switch {
		case p.vol.Damaged && r.UnreadableIdentity:
		case p.vol.ID != r.MemberId || p.vol.Cluster != r.ClusterId:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, "this is member %x", p.vol.ID)
		case !p.vol.Removed && !p.vol.Superseded:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_REFUSING, "its data is good")
		}
		w.note("StartClean(server.%d, %x)", p.Name, p.vol.ID)
		p.restart = true
		return nil
	})
}

// TransferLeadership implements adminpb.AdminClient.
func (c *client) TransferLeadership(_ context.Context, r *adminpb.TransferLeadershipRequest, _ ...grpc.CallOption) (*adminpb.TransferLeadershipResponse, error) {
	return &adminpb.TransferLeadershipResponse{LeaderId: r.TargetMemberId}, c.order("TransferLeadership", func(w *World, p *Process) error {
		g, err := w.leading(p, 0)
		if err != nil {
			return err
		}
		q := w.process(p.vol.Cluster, r.TargetMemberId)
		i := find(g.conf.members, r.TargetMemberId)
		switch {
		case i < 0 || !g.conf.members[i].voter || r.TargetMemberId == p.vol.ID:
			return status.Error(codes.InvalidArgument, "the target is no other voter")
		case q == nil || q.Cut || q.Slow:
			return status.Error(codes.DeadlineExceeded, "the transfer did not come about in time")
		}
		w.note("TransferLeadership(server.%d)", q.Name)
		g.term++
		g.leader, q.vol.match, q.vol.known = q.vol.ID, g.last, g.conf
		return nil
	})
}

// Drain implements adminpb.AdminClient.
func (c *client) Drain(_ context.Context, r *adminpb.DrainRequest, _ ...grpc.CallOption) (*adminpb.DrainResponse, error) {
	return &adminpb.DrainResponse{}, c.order("Drain", func(w *World, p *Process) error {
		if p.draining != !r.Cancel {
			w.note("Drain(server.%d, %t)", p.Name, !r.Cancel)
		}
		p.draining = !r.Cancel
		return nil
	})
}

// RecoverLostMajority implements adminpb.AdminClient.
func (c *client) RecoverLostMajority(_ context.Context, r *adminpb.RecoverLostMajorityRequest, _ ...grpc.CallOption) (*adminpb.RecoverLostMajorityResponse, error) {
	out := &adminpb.RecoverLostMajorityResponse{}
	return out, c.order("RecoverLostMajority", func(w *World, p *Process) error {
		v := p.vol
		g := w.ensembles[v.Cluster]
		switch {
		case v.ID == r.MemberId && slices.Contains(v.Former, r.ClusterId):
			out.ClusterId = v.Cluster
			return nil
		case g == nil || v.Cluster != r.ClusterId || v.ID != r.MemberId:
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER, "this is member %x of %s", v.ID, v.Cluster)
		case w.quorum(v.Cluster, g.conf.members):
			return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM, "a majority answers")
		case r.DryRun:
			return nil
		}
		for _, s := range g.conf.members {
			if q := w.process(v.Cluster, s.id); q != nil && s.voter && q.vol.match > v.match {
				return ensemble.Refuse(adminpb.RefusalReason_REFUSAL_REASON_NOT_FURTHEST, "server.%d has more", s.name)
			}
		}
		w.note("RecoverLostMajority(%s, %x)", r.ClusterId, r.MemberId)
		old := v.Cluster
		v.Cluster, v.Former = "f"+old[1:], append(v.Former, old)
		if v.Cluster == old {
			v.Cluster = "e" + old[1:]
		}
		i := find(g.conf.members, v.ID)
		conf := config{v.match + 1, []seat{g.conf.members[i]}}
		conf.members[0].voter = true
		w.ensembles[v.Cluster] = &group{last: v.match + 1, term: g.term + 1, leader: v.ID, conf: conf}
		v.match, v.known = v.match+1, conf
		for _, other := range w.volumes {
			if other.Cluster == old {
				other.Superseded = true
			}
		}
		out.ClusterId = v.Cluster
		return nil
	})
}
