package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/replica"
	"github.com/conclave-dev/conclave/internal/statemachine"
	"github.com/conclave-dev/conclave/internal/storage"
)

// Recovery from a lost majority. The order is judged while the member runs and
// can ask the others (RecoverLostMajority), written into the identity, and
// carried out at the next start from what is on disk (recoverLost), so that it
// is finished or not begun whenever the process dies.

// recoveryTerms is how many terms a recovery skips. The upper half of a zxid is
// the term it was issued in, and every term that the lost members can have
// been in since the survivor last heard of them took a majority of them an
// election: at one every 100 ms, without a pause, this many take more than a
// day. A zxid has room for two thousand recoveries.
const recoveryTerms = 1 << 20

// recoveryLooks is how often the others are asked before they are given up: one
// that is slow once is not lost.
const recoveryLooks = 3

// recoveryPatience is for how many election timeouts there has to be no quorum:
// an ensemble that is just starting has none either.
const recoveryPatience = 10

// recovery is what was decided, as the identity keeps it.
type recovery struct {
	Old, New string // cluster ids
	Reason   string
	Time     int64  // milliseconds since the Unix epoch
	Term     uint64 // in which the new ensemble begins
	GivenUp  []string
}

// RecoverLostMajority implements admin.Orders.
func (s *source) RecoverLostMajority(ctx context.Context, req admin.RecoverRequest) (admin.Recovery, error) {
	m := (*Member)(s)
	id := m.dir.Identity.Get()
	if id.MemberID == req.Member && slices.Contains(id.Former, req.ClusterID) && id.ClusterID != "" {
		st := s.Status()
		return admin.Recovery{ClusterID: id.ClusterID, LastZxid: st.Zxid, FirstZxid: st.Zxid}, nil // done already
	}
	n := m.node.Load()
	switch {
	case id.MemberID != req.Member || id.ClusterID != req.ClusterID:
		return admin.Recovery{}, admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_WRONG_MEMBER,
			"this is member %x of ensemble %q, and the survivor is to be member %x of ensemble %q", id.MemberID, id.ClusterID, req.Member, req.ClusterID)
	case n == nil || m.transport == nil || m.standing.Load().refuses():
		return admin.Recovery{}, admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_OTHER_ENSEMBLE,
			"this member does not take part in an ensemble with others: %s", membershipText(m.standing.Load().state))
	case strings.TrimSpace(req.Reason) == "" && !req.DryRun:
		return admin.Recovery{}, admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_BAD_REQUEST, "a reason must be given: who decided this, and why the others are lost for good")
	}
	last, err := m.raftLog.LastIndex()
	if err != nil {
		return admin.Recovery{}, err
	}
	self := &whoReply{MemberID: id.MemberID, ClusterID: id.ClusterID, LastIndex: last, Term: n.Role().Term}
	if since := s.Status().NoQuorumSince; !m.hasQuorum() && time.Since(since) < recoveryPatience*m.cfg.Election {
		return admin.Recovery{}, admin.Refuse(adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM,
			"this member has been without a majority for %v only: a majority is given up after %v at the earliest", time.Since(since).Round(time.Millisecond), recoveryPatience*m.cfg.Election)
	}
	var answers []sight
	for range recoveryLooks {
		answers = m.look(ctx)
		if why, text := recoverable(self, n.Members(), m.hasQuorum(), answers); why != 0 {
			return admin.Recovery{}, admin.Refuse(why, "%s", text)
		}
	}
	rec := recovery{Old: id.ClusterID, New: newClusterID(), Reason: req.Reason, Time: wallMillis()}
	out := admin.Recovery{LastZxid: s.Status().Zxid}
	// What others say of their terms counts, whoever they are.
	rec.Term = self.Term
	for _, a := range answers {
		if a.said != nil {
			rec.Term = max(rec.Term, a.said.Term)
		}
		if a.Voter {
			out.GivenUp = append(out.GivenUp, a.Sighting)
			rec.GivenUp = append(rec.GivenUp, fmt.Sprintf("server.%d (member %x) at %s, last zxid heard of %#x", a.Name, a.ID, a.Address, a.Zxid))
		}
	}
	if rec.Term = max(rec.Term, uint64(out.LastZxid)>>32) + recoveryTerms; rec.Term > math.MaxInt32 {
		return admin.Recovery{}, fmt.Errorf("no room for another recovery: the next term would be %d", rec.Term)
	}
	out.FirstZxid = int64(rec.Term<<32) + 1
	if req.DryRun {
		return out, nil
	}
	out.ClusterID = rec.New
	raw, err := json.Marshal(rec)
	if err != nil {
		return admin.Recovery{}, err
	}
	m.orders.Lock()
	defer m.orders.Unlock()
	if old := m.dir.Identity.Get().Recovery; old != nil {
		return admin.Recovery{}, fmt.Errorf("%w: a recovery is under way", admin.ErrUnavailable)
	}
	if err := m.dir.Identity.Update(func(id *storage.Identity) { id.Recovery = raw }); err != nil {
		m.fail(err)
		return admin.Recovery{}, err
	}
	m.log.Warn("RECOVERY FROM A LOST MAJORITY was ordered: this member becomes the only voter of a new ensemble",
		"reason", req.Reason, "old_cluster", rec.Old, "new_cluster", rec.New, "given_up", strings.Join(rec.GivenUp, "; "))
	m.server.SetServing(false)
	m.startOver()
	return out, nil
}

// recoverable judges whether a member may make a new ensemble of what it has:
// not while a majority of the voters answers, whether or not they have a leader
// at the moment, and not while one of them answers that has more.
func recoverable(self *whoReply, members statemachine.Members, quorum bool, answers []sight) (why admin.RefusalReason, text string) {
	if quorum {
		return adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM, "this member has contact with a leader that has a majority: nothing is lost"
	}
	voters, alive := 0, []string{}
	for _, p := range members.List {
		if !p.Voter {
			continue
		}
		voters++
		if p.ID == self.MemberID {
			alive = append(alive, fmt.Sprintf("server.%d", p.Name))
		}
	}
	for _, a := range answers {
		if !a.Answers || a.said.ClusterID != self.ClusterID || a.said.MemberID != a.ID || !a.Voter {
			continue
		}
		alive = append(alive, fmt.Sprintf("server.%d", a.Name))
		if a.said.LastIndex > self.LastIndex {
			return adminpb.RefusalReason_REFUSAL_REASON_NOT_FURTHEST,
				fmt.Sprintf("server.%d (member %x) answers and has more (log index %d, zxid %#x; here %d): recover that one, and this one joins it", a.Name, a.ID, a.said.LastIndex, a.said.Zxid, self.LastIndex)
		}
	}
	if len(alive) >= voters/2+1 {
		return adminpb.RefusalReason_REFUSAL_REASON_HAS_QUORUM,
			fmt.Sprintf("%s answer, which are %d of %d voters, a majority: they will elect a leader by themselves, and nothing is lost", strings.Join(alive, ", "), len(alive), voters)
	}
	return 0, ""
}

// recoverLost carries out a recovery that was decided upon, from what is on
// disk. It may be done again after a crash at any point.
func (m *Member) recoverLost() error {
	id := m.dir.Identity.Get()
	if id.Recovery == nil {
		return nil
	}
	var rec recovery
	if err := json.Unmarshal(id.Recovery, &rec); err != nil {
		return fmt.Errorf("the recovery noted in the identity is unreadable: %w", err)
	}
	machine, last, err := m.replay(rec.New)
	if err != nil {
		return fmt.Errorf("recovery from a lost majority: %w", err)
	}
	self, ok := machine.Members().Get(id.MemberID)
	if !ok {
		return fmt.Errorf("recovery from a lost majority: member %x is not in its own membership", id.MemberID)
	}
	before := machine.Zxid()
	self.Voter, self.Observer = true, false
	machine.ApplyMembers(last+1, rec.Term, []statemachine.Member{self}, discard{})
	if err := m.writeState(machine, rec.New, rec.Time); err != nil {
		return fmt.Errorf("recovery from a lost majority: %w", err)
	}
	line := audit{
		Time: time.UnixMilli(rec.Time).UTC().Format(time.RFC3339), Event: "recovered from a lost majority", Reason: rec.Reason,
		Member: fmt.Sprintf("%x", id.MemberID), OldCluster: rec.Old, NewCluster: rec.New, GivenUp: rec.GivenUp,
		LastZxid: fmt.Sprintf("%#x", before), FirstZxid: fmt.Sprintf("%#x", machine.Zxid()),
	}
	if err := m.writeAudit(line); err != nil {
		return fmt.Errorf("recovery from a lost majority: audit trail: %w", err)
	}
	err = m.dir.Identity.Update(func(id *storage.Identity) {
		id.Former = append(id.Former, rec.Old)
		id.ClusterID, id.Recovery, id.Formation, id.Hosts, id.HostsIndex = rec.New, nil, nil, nil, 0
	})
	if err != nil {
		return err
	}
	m.log.Warn("RECOVERED FROM A LOST MAJORITY: this member is the only voter of a new ensemble", "reason", rec.Reason,
		"old_cluster", rec.Old, "new_cluster", rec.New, "last_zxid", line.LastZxid, "first_zxid", line.FirstZxid, "sessions", machine.Sessions().Len())
	return nil
}

// replay restores everything that is in snapshot and log: what was acknowledged
// is among the entries whose commit this member has not heard of, and those
// that were not may come about as well as not. Snapshots of the ensemble skip
// are those of a try that was cut short.
func (m *Member) replay(skip string) (*statemachine.Machine, uint64, error) {
	list, err := m.dir.Snapshots.List()
	if err != nil {
		return nil, 0, err
	}
	list = slices.DeleteFunc(list, func(s storage.SnapshotMeta) bool { return s.ClusterID == skip })
	if len(list) == 0 {
		return nil, 0, errors.New("there is no snapshot to begin with: this member had just joined, and has nothing")
	}
	meta := list[len(list)-1]
	machine, err := restore(m.dir.Snapshots, meta)
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot of index %d: %w", meta.Index, err)
	}
	log, _, err := m.dir.OpenLog(storage.Options{SegmentSize: m.opt.SegmentSize, Spares: m.opt.SpareSegments})
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	if err := m.alignLog(log, meta); err != nil {
		return nil, 0, err
	}
	last, err := log.LastIndex()
	if err != nil {
		return nil, 0, err
	}
	for next := meta.Index + 1; next <= last; {
		entries, err := log.Entries(next, last+1, 1<<20)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range entries {
			if e.GetType() != raftpb.EntryNormal {
				members, err := replica.MembersIn(e, machine.Members().List)
				if err != nil {
					return nil, 0, err
				}
				machine.ApplyMembers(e.GetIndex(), e.GetTerm(), members, discard{})
			} else if err := machine.Apply(e.GetIndex(), e.GetTerm(), e.GetData(), discard{}); err != nil {
				return nil, 0, err
			}
		}
		next += uint64(len(entries))
	}
	return machine, last, nil
}

// discard is nobody who would want to know.
type discard struct{}

func (discard) Changed(statemachine.Event)        {}
func (discard) Replied(*statemachine.Result)      {}
func (discard) Refused(statemachine.SessionOp)    {}
func (discard) Attached(*statemachine.Attachment) {}
func (discard) Ended(statemachine.End)            {}

// audit is a line of the audit trail.
type audit struct {
	Time, Event, Reason    string
	Member                 string
	OldCluster, NewCluster string
	LastZxid, FirstZxid    string
	GivenUp                []string
}

// auditName is the file, beside the identity, to which every recovery adds a
// line. Nothing reads it but people.
const auditName = "audit.log"

func (m *Member) writeAudit(line audit) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return m.dir.AppendLine(auditName, raw)
}
