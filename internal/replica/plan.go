package replica

import (
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// Why says why a change of the membership was refused.
type Why uint8

// The reasons. A caller acts upon them; the sentence is for people.
const (
	_ Why = iota
	// WhyNotLeader: only the leader changes the membership.
	WhyNotLeader
	// WhyMoved: the membership is not the one on which the change was planned.
	WhyMoved
	// WhyNotMember: no member has this id.
	WhyNotMember
	// WhyNameTaken: another member has this name, and lives.
	WhyNameTaken
	// WhyDiffers: the member is there, with another name or address.
	WhyDiffers
	// WhyObserver: the member is meant to stay without a vote.
	WhyObserver
	// WhyLagging: the learner is too far behind the leader, or silent.
	WhyLagging
	// WhyLeader: the member leads; leadership has to be handed over first.
	WhyLeader
	// WhyLastVoter: without it nobody would vote.
	WhyLastVoter
	// WhyQuorum: of the voters afterwards, too few answer to commit anything.
	WhyQuorum
)

// Refusal is the error for a change that must not be made.
type Refusal struct {
	Why    Why
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

func refuse(why Why, format string, args ...any) *Refusal {
	return &Refusal{why, fmt.Sprintf(format, args...)}
}

// view is what a change of the membership is planned on: what the leader knows
// at one moment.
type view struct {
	self    uint64 // the leader's id
	members statemachine.Members
	last    uint64 // index of the leader's last entry
	peers   map[uint64]Progress
}

// Progress is what a leader knows of a member.
type Progress struct {
	// Match is the last log index that is durable there.
	Match uint64
	// Active: it has answered within an election timeout; true for the leader.
	Active bool
	// Stuck: it has had entries to acknowledge for some time and acknowledges none.
	// Its disk does not answer, or it is being sent a snapshot.
	Stuck bool
	// Learner: it has no vote, as raft sees it.
	Learner bool
}

// defaultPromoteLag is how many entries a learner may lack to be promoted,
// unless the caller says otherwise.
const defaultPromoteLag = 200

// Each plan function returns the whole membership after the change, or nil if
// it is so already: asking twice is no error.

func planAdd(v *view, p statemachine.Member) ([]statemachine.Member, *Refusal) {
	p.Voter = false
	if old, ok := v.members.Get(p.ID); ok {
		same := old
		same.Voter = false
		if same != p {
			return nil, refuse(WhyDiffers, "member %x is in the ensemble already, as %v (observer: %t), and not as %v (observer: %t)", p.ID, old, old.Observer, p, p.Observer)
		}
		return nil, nil
	}
	var target []statemachine.Member
	for _, old := range v.members.List {
		if old.Name == p.Name {
			if v.peers[old.ID].Active {
				return nil, refuse(WhyNameTaken, "server.%d is a member already, under id %x, and answers; a second process with the same number can't join", p.Name, old.ID)
			}
			if !old.Voter {
				continue // a learner that never caught up and has come back as another
			}
		}
		target = append(target, old)
	}
	return append(target, p), nil
}

// planPromote makes a learner a voter. If a voter has its name (the same server
// before it lost its disk), it takes that seat in the same change.
func planPromote(v *view, id, maxLag uint64) ([]statemachine.Member, *Refusal) {
	if maxLag == 0 {
		maxLag = defaultPromoteLag
	}
	p, ok := v.members.Get(id)
	pr := v.peers[id]
	switch {
	case !ok:
		return nil, refuse(WhyNotMember, "member %x is not in the ensemble: it has to be added as a learner first", id)
	case p.Voter:
		return nil, nil
	case p.Observer:
		return nil, refuse(WhyObserver, "server.%d (member %x) is an observer: it is meant to stay without a vote", p.Name, id)
	case !pr.Active:
		return nil, refuse(WhyLagging, "server.%d (member %x) does not answer the leader", p.Name, id)
	case pr.Stuck:
		return nil, refuse(WhyLagging, "server.%d (member %x) answers the leader and acknowledges nothing: its disk may be stalled", p.Name, id)
	case pr.Match == 0:
		// Raft takes who was just added for active, and with a short log nobody is far
		// behind: without this a process that was never started would get a vote.
		return nil, refuse(WhyLagging, "server.%d (member %x) has not acknowledged anything yet", p.Name, id)
	case pr.Match+maxLag < v.last:
		return nil, refuse(WhyLagging, "server.%d (member %x) is %d entries behind the leader, where %d are allowed", p.Name, id, v.last-pr.Match, maxLag)
	}
	var target []statemachine.Member
	for _, o := range v.members.List {
		if o.ID == id {
			o.Voter = true
		} else if o.Name == p.Name {
			continue
		}
		target = append(target, o)
	}
	return target, checkQuorum(v, target)
}

func planRemove(v *view, id uint64) ([]statemachine.Member, *Refusal) {
	p, ok := v.members.Get(id)
	if !ok {
		return nil, nil
	}
	target := slices.DeleteFunc(slices.Clone(v.members.List), func(o statemachine.Member) bool { return o.ID == id })
	if !p.Voter {
		return target, nil
	}
	if r := checkQuorum(v, target); r != nil {
		return nil, r
	}
	if id == v.self {
		return nil, refuse(WhyLeader, "server.%d (member %x) leads: hand leadership over first, and ask the next leader", p.Name, id)
	}
	return target, nil
}

// planTarget makes the membership what wanted says, in one change: voters and
// observers, by id. Learners that are catching up stay, but for those whose name
// is wanted under another id.
func planTarget(v *view, wanted []statemachine.Member) ([]statemachine.Member, *Refusal) {
	target := slices.Clone(wanted)
	for _, old := range v.members.List {
		if !old.Voter && !old.Observer && !slices.ContainsFunc(wanted, func(p statemachine.Member) bool { return p.ID == old.ID || p.Name == old.Name }) {
			target = append(target, old)
		}
	}
	same := len(target) == len(v.members.List)
	for _, p := range target {
		old, ok := v.members.Get(p.ID)
		same = same && old == p
		if !ok {
			return nil, refuse(WhyNotMember, "server.%d (member %x) is not in the ensemble: it has to be added as a learner first", p.Name, p.ID)
		}
		if pr := v.peers[p.ID]; p.Voter && !old.Voter && (!pr.Active || pr.Stuck || pr.Match == 0 || pr.Match+defaultPromoteLag < v.last) {
			return nil, refuse(WhyLagging, "server.%d (member %x) is not close enough behind the leader to vote", p.Name, p.ID)
		}
	}
	if same {
		return nil, nil
	}
	if r := checkQuorum(v, target); r != nil {
		return nil, r
	}
	if self, ok := (statemachine.Members{List: target}).Get(v.self); !ok || !self.Voter {
		return nil, refuse(WhyLeader, "this member leads and would have no vote: hand leadership over first")
	}
	return target, nil
}

// checkQuorum refuses a membership that could not commit anything: the change
// itself would be the last that is ever made.
func checkQuorum(v *view, target []statemachine.Member) *Refusal {
	voters := 0
	var silent []string
	for _, p := range target {
		if !p.Voter {
			continue
		}
		voters++
		if pr := v.peers[p.ID]; !pr.Active || pr.Stuck {
			silent = append(silent, fmt.Sprintf("server.%d (member %x)", p.Name, p.ID))
		}
	}
	switch {
	case voters == 0:
		return refuse(WhyLastVoter, "no voter would be left: the last one can't be removed")
	case voters-len(silent) < voters/2+1:
		return refuse(WhyQuorum, "of the %d voters that there would be, %d do not answer the leader, or acknowledge nothing: %s; nothing could be committed any more", voters, len(silent), strings.Join(silent, ", "))
	}
	return nil
}

// changesBetween returns what raft has to be told to come from one membership
// to another. It is never empty: an empty change means something else to raft.
func changesBetween(from statemachine.Members, to []statemachine.Member) (changes []*raftpb.ConfChangeSingle) {
	for _, p := range to {
		old, ok := from.Get(p.ID)
		switch {
		case p.Voter && !(ok && old.Voter):
			changes = append(changes, single(raftpb.ConfChangeAddNode, p.ID))
		case !p.Voter && (!ok || old.Voter):
			changes = append(changes, single(raftpb.ConfChangeAddLearnerNode, p.ID))
		}
	}
	after := statemachine.Members{List: to}
	for _, old := range from.List {
		if _, ok := after.Get(old.ID); !ok {
			changes = append(changes, single(raftpb.ConfChangeRemoveNode, old.ID))
		}
	}
	if len(changes) == 0 {
		changes = append(changes, single(raftpb.ConfChangeUpdateNode, to[0].ID)) // addresses only
	}
	return changes
}

func single(typ raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: &typ, NodeId: &id}
}
