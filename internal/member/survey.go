package member

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// A member asks each of the others who it is, now and then, and more often
// while it has no contact with a quorum. No leader is needed for that: it is how
// a member finds out that it was removed while it was away, or that those whom
// it calls are not its ensemble, and how it can say who is missing.

// sight is what was last heard of another member.
type sight struct {
	admin.Sighting
	said *whoReply // nil if it has never answered
}

type survey struct {
	mu    sync.Mutex
	sight map[string]sight // by address
}

// others are those to ask: the members, and who else has a server line.
func (m *Member) others() (out []admin.Sighting) {
	self := m.dir.Identity.Get().MemberID
	known := map[int]bool{m.cfg.MyID: true}
	if n := m.node.Load(); n != nil {
		for _, p := range n.Members().List {
			known[p.Name] = true
			if p.ID != self && p.PeerPort != 0 {
				out = append(out, admin.Sighting{ID: p.ID, Name: p.Name, Address: m.peerAddr(p), Voter: p.Voter})
			}
		}
	}
	for _, s := range m.cfg.Servers {
		if !known[s.ID] {
			out = append(out, admin.Sighting{Name: s.ID, Address: net.JoinHostPort(s.Host, strconv.Itoa(s.PeerPort))})
		}
	}
	return out
}

// look asks all others once and notes what they say.
func (m *Member) look(ctx context.Context) []sight {
	others := m.others()
	replies := make([]*whoReply, len(others))
	errs := make([]error, len(others))
	var wg sync.WaitGroup
	for i, o := range others {
		wg.Go(func() { replies[i], errs[i] = m.askWho(ctx, o.Address) })
	}
	wg.Wait()
	m.survey.mu.Lock()
	defer m.survey.mu.Unlock()
	next := make(map[string]sight, len(others))
	out := make([]sight, len(others))
	cluster := m.dir.Identity.Get().ClusterID
	for i, o := range others {
		s := heard(m.survey.sight[o.Address], o, replies[i], errs[i], cluster, time.Now())
		out[i], next[o.Address] = s, s
	}
	m.survey.sight = next
	return out
}

// heard is what is known of another once it was asked: reply is nil if it did not
// answer. What a member said last is kept when somebody else answers in its
// place: after a volume was lost that is all that tells how much was on it.
func heard(old sight, o admin.Sighting, reply *whoReply, err error, cluster string, now time.Time) sight {
	s := sight{Sighting: o, said: old.said}
	s.ClusterID = old.ClusterID
	if old.ID == o.ID {
		s.Seen, s.Zxid, s.LastIndex = old.Seen, old.Zxid, old.LastIndex
	}
	if reply == nil {
		s.Problem = err.Error()
		return s
	}
	s.said, s.Answers, s.ClusterID, s.Problem = reply, true, reply.ClusterID, odd(reply, o.ID, cluster)
	if o.ID == 0 || reply.MemberID == o.ID {
		s.Seen, s.Zxid, s.LastIndex = now, reply.Zxid, reply.LastIndex
	}
	return s
}

// odd says what is wrong with a process that answers in the place of a member;
// id is 0 if no member is known there.
func odd(r *whoReply, id uint64, cluster string) string {
	switch {
	case r.Refusal != "":
		return "it refuses to serve: " + r.Refusal
	case r.ClusterID == "":
		return "it belongs to no ensemble yet"
	case r.ClusterID != cluster:
		return "it belongs to ensemble " + r.ClusterID
	case id != 0 && r.MemberID != id:
		return fmt.Sprintf("member %x answers in its place", r.MemberID)
	}
	return ""
}

// verdict is what the answers of others mean for a member.
type verdict struct {
	state        adminpb.Membership // 0 if it may go on
	supersededBy string
	why          string
}

// judge tells from what others say whether a member of cluster, under id, may
// go on. index is that of the membership that it knows itself to be part of; 0
// if it does not know.
func judge(cluster string, id, index uint64, answers []sight) verdict {
	var foreign []sight
	own := false
	for _, s := range answers {
		r := s.said
		switch {
		case !s.Answers || r.ClusterID == "":
		case r.ClusterID == cluster:
			own = true
			// Ids are never used twice: a later membership without the member is
			// the end of it.
			if !r.HasYou && index != 0 && r.ConfigIndex > index && r.Refusal == "" {
				return verdict{state: adminpb.Membership_MEMBERSHIP_REMOVED,
					why: fmt.Sprintf("the ensemble %s has removed this member (%x): server.%d says so, from the membership of index %d", cluster, id, r.Name, r.ConfigIndex)}
			}
		case slices.Contains(r.Former, cluster):
			return verdict{state: adminpb.Membership_MEMBERSHIP_SUPERSEDED, supersededBy: r.ClusterID,
				why: fmt.Sprintf("the ensemble %s lost its majority, this member (%x) with it, and goes on as %s: server.%d says so, which was told to recover without it", cluster, id, r.ClusterID, r.Name)}
		default:
			foreign = append(foreign, s)
		}
	}
	if own || len(foreign) == 0 {
		return verdict{}
	}
	f := foreign[0]
	return verdict{state: adminpb.Membership_MEMBERSHIP_FOREIGN,
		why: fmt.Sprintf("this directory belongs to ensemble %s, and who answers for server.%d at %s belongs to ensemble %s: correct the addresses, or the data directory, if one of them is wrong; if this member is to join the other ensemble, %s", cluster, f.Name, f.Address, f.ClusterID, cleanHint)}
}

// ownIndex is the index of the latest membership that this member knows itself
// to be part of, 0 if there is none.
func (m *Member) ownIndex() uint64 {
	id := m.dir.Identity.Get()
	index := id.HostsIndex
	if n := m.node.Load(); n != nil {
		index = max(index, n.Members().Index)
	}
	return index
}

func (m *Member) judge(answers []sight) verdict {
	id := m.dir.Identity.Get()
	return judge(id.ClusterID, id.MemberID, m.ownIndex(), answers)
}

// vet holds the member back before it takes part for as long as the others say
// that it has no business there, and reports whether it may go on at all.
func (m *Member) vet(ctx context.Context) (goOn bool, err error) {
	if m.transport == nil {
		return true, nil
	}
	for {
		v := m.judge(m.look(ctx))
		switch {
		case v.state == 0:
			if m.standing.Load().refuses() {
				m.stand(adminpb.Membership_MEMBERSHIP_MEMBER, "")
				m.log.Info("a member of this ensemble answers: going on")
			}
			return true, nil
		case v.state != adminpb.Membership_MEMBERSHIP_FOREIGN:
			m.refuseForGood(v.supersededBy, v.why)
			return false, nil
		case !m.standing.Load().refuses():
			m.stand(v.state, v.why)
			m.log.Error("this member refuses to serve", "reason", v.why)
		}
		select {
		case <-time.After(m.surveyInterval()):
		case <-ctx.Done():
			return false, errStopping
		}
	}
}

// watchOthers surveys the others for as long as the member takes part.
func (m *Member) watchOthers(ctx context.Context) {
	self, said := m.dir.Identity.Get().MemberID, ""
	for m.transport != nil && !m.standing.Load().refuses() {
		wait := m.surveyInterval()
		if m.hasQuorum() {
			wait *= 8
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		members := m.node.Load().Members()
		if _, ok := members.Get(self); !ok && members.Index != 0 {
			m.refuseForGood("", fmt.Sprintf("the ensemble %s has removed this member (%x), with the membership of index %d", *m.clusterID.Load(), self, members.Index))
			return
		}
		switch v := m.judge(m.look(ctx)); v.state {
		case adminpb.Membership_MEMBERSHIP_REMOVED, adminpb.Membership_MEMBERSHIP_SUPERSEDED:
			m.refuseForGood(v.supersededBy, v.why)
		case adminpb.Membership_MEMBERSHIP_FOREIGN:
			// It was one of its ensemble when it began: an address leads astray.
			if v.why != said {
				m.log.Warn("another ensemble's member answers in the place of one of this ensemble", "reason", v.why)
			}
			said = v.why
		}
	}
}

// surveyInterval is how often the others are asked while there is no quorum.
func (m *Member) surveyInterval() time.Duration { return max(m.cfg.Election, 100*time.Millisecond) }

// Sightings implements admin.Source.
func (s *source) Sightings() []admin.Sighting {
	m := (*Member)(s)
	m.survey.mu.Lock()
	defer m.survey.mu.Unlock()
	var out []admin.Sighting
	for _, o := range m.others() {
		if s, ok := m.survey.sight[o.Address]; ok {
			s.ID, s.Name, s.Voter = o.ID, o.Name, o.Voter
			o = s.Sighting
		}
		out = append(out, o)
	}
	slices.SortStableFunc(out, func(a, b admin.Sighting) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}
