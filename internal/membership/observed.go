package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// ObserverOffset is what an observer's server number is above its ordinal + 1,
// so that it is never a voter's.
const ObserverOffset = 100

// Target is a size of an ensemble.
type Target struct {
	Voters, Observers int
}

func (t Target) String() string {
	if t.Observers == 0 {
		return count(t.Voters, "voter")
	}
	return count(t.Voters, "voter") + " and " + count(t.Observers, "observer")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Seat is a place in the ensemble: a StatefulSet and an ordinal in it.
type Seat struct {
	Observer bool
	Ordinal  int
}

// ServerName is the N of server.N.
func (s Seat) ServerName() int32 {
	if s.Observer {
		return int32(ObserverOffset + s.Ordinal + 1)
	}
	return int32(s.Ordinal + 1)
}

// SeatOf returns the seat that a server number belongs to; ok is false for
// numbers that no pod has.
func SeatOf(name int32) (s Seat, ok bool) {
	switch {
	case name > ObserverOffset:
		return Seat{true, int(name) - ObserverOffset - 1}, true
	case name > 0:
		return Seat{false, int(name) - 1}, true
	}
	return Seat{}, false
}

// Pod is one pod of the cluster and what the member in it says.
type Pod struct {
	Seat
	Name string
	UID  string
	// Terminating: it has been deleted, and may still answer.
	Terminating bool
	// Problem is why it does not run, in Kubernetes' words; empty if it does.
	Problem string
	// Status is the member's own answer of this pass; nil if there is none.
	Status *adminpb.StatusResponse
	// NoAnswer is why Status is nil.
	NoAnswer string
}

// Set is what there is of a StatefulSet and its volumes.
type Set struct {
	Exists   bool
	Replicas int
	// Volumes are the ordinals of the data volumes that are bound: those that
	// can hold data, whether or not a pod is there that would say so.
	Volumes []int
}

// covers is how many pods it takes so that every volume has one.
func (s Set) covers() int {
	n := 0
	for _, o := range s.Volumes {
		n = max(n, o+1)
	}
	return n
}

// Latches are what earlier passes have written to status before they acted upon
// it. All but Target are written once and not changed for another value, but for
// ClusterID after a recovery from a lost majority.
type Latches struct {
	// ClusterID is the one ensemble that this resource stands for.
	ClusterID string
	// FirstMember is the one that Bootstrap names; 0 if the ensemble was found
	// and not made.
	FirstMember uint64
	// Bootstrapped: the ensemble exists. Bootstrap is never called again.
	Bootstrapped bool
	// Target is what the ensemble is being brought to; zero before the first.
	Target Target
	// Parked is how many pods there were when the ensemble was parked; zero if it
	// is not. They come back before anything else is changed.
	Parked Target
}

// Observed is all that Next looks at.
type Observed struct {
	// Want is what the spec asks for. No voters: the ensemble is parked.
	Want Target
	Latches
	Voters, Observers Set
	// Pods that exist, in any order.
	Pods []Pod
	// FreshClusterID is a new random id, for the case that one is needed.
	FreshClusterID string
	// DrainPatience is how long clients of a member that goes are waited for. Those
	// that are still connected then lose their connection, and not their session.
	DrainPatience time.Duration
}

// Act is what is to be done.
type Act string

// The acts. Each says which fields of the Plan it uses.
const (
	// Rest: everything is as it should be.
	Rest Act = "Rest"
	// Wait: nothing can be done now; it goes on by itself.
	Wait Act = "Wait"
	// Hold: nothing will be done until a person has decided.
	Hold Act = "Hold"

	// LatchEnsemble writes Latches to status: an ensemble was found (or goes on
	// under another id, or has begun).
	LatchEnsemble Act = "LatchEnsemble"
	// LatchBootstrap writes Latches to status: which ensemble is about to be made.
	LatchBootstrap Act = "LatchBootstrap"
	// LatchTarget writes Latches to status: another size is aimed at.
	LatchTarget Act = "LatchTarget"
	// LatchParked writes Latches to status: the ensemble is parked, or is back.
	LatchParked Act = "LatchParked"

	// SetPods brings both StatefulSets to Pods.
	SetPods Act = "SetPods"

	// The others are calls to the member in the pod Ask.

	// Bootstrap makes the ensemble ClusterID of Member.
	Bootstrap Act = "Bootstrap"
	// StartClean lets the refusing Member of ensemble ClusterID begin anew.
	StartClean Act = "StartClean"
	// AddLearner takes Member in.
	AddLearner Act = "AddLearner"
	// Promote gives Member a vote.
	Promote Act = "Promote"
	// TransferLeadership hands leadership to Member.
	TransferLeadership Act = "TransferLeadership"
	// Drain lets the clients of the member asked go.
	Drain Act = "Drain"
	// Remove takes Member out.
	Remove Act = "Remove"
)

// Changes tells whether an act changes something outside of status.
func (a Act) Changes() bool {
	switch a {
	case Rest, Wait, Hold, LatchEnsemble, LatchBootstrap, LatchTarget, LatchParked:
		return false
	}
	return true
}

// Latch tells whether an act writes Latches.
func (a Act) Latch() bool { return strings.HasPrefix(string(a), "Latch") }

// Member is whom a step is about.
type Member struct {
	Seat
	ID            uint64
	PeerAddress   string
	ClientAddress string
}

func (m Member) String() string { return describe(m.ServerName(), m.ID) }

func describe(name int32, id uint64) string {
	return fmt.Sprintf("server.%d (member %x)", name, id)
}

// Plan is the one next step, or why there is none.
type Plan struct {
	Act    Act
	Reason Reason
	// Message is the reason with its evidence, for people.
	Message string

	// Ask is the name of the pod whose member is asked.
	Ask string
	// Member is whom it is about.
	Member Member
	// ClusterID is the ensemble's id that the call names.
	ClusterID string
	// Index is the configuration index on which the step was planned.
	Index uint64
	// Pods is what SetPods asks for.
	Pods Target
	// Latches are what is to stand in status, all of them.
	Latches Latches

	// Drained are the pods whose clients are to be let go for this plan's sake,
	// by name. A drain of any other pod is nobody's any more.
	Drained []string
	// Unsettled: a step is under way that must be finished before anything else
	// takes a member away: the number of voters is even, or some are leaving.
	Unsettled bool
}

func (o *Observed) pod(s Seat) *Pod {
	i := slices.IndexFunc(o.Pods, func(p Pod) bool { return p.Seat == s })
	if i < 0 {
		return nil
	}
	return &o.Pods[i]
}

func (o *Observed) set(observer bool) Set {
	if observer {
		return o.Observers
	}
	return o.Voters
}

// why says why a seat's member did not answer.
func (o *Observed) why(s Seat) string {
	p := o.pod(s)
	switch {
	case p == nil:
		return "there is no pod"
	case p.Problem != "":
		return fmt.Sprintf("pod %s: %s", p.Name, p.Problem)
	case p.Status == nil:
		return fmt.Sprintf("pod %s does not answer: %s", p.Name, p.NoAnswer)
	case p.Terminating:
		return fmt.Sprintf("pod %s is terminating", p.Name)
	}
	return fmt.Sprintf("pod %s: %s", p.Name, standing(p.Status))
}

// standing says where a member that answers stands.
func standing(st *adminpb.StatusResponse) string {
	word := strings.ToLower(strings.TrimPrefix(st.GetMembership().String(), "MEMBERSHIP_"))
	switch {
	case st.GetMembershipReason() != "" && refuses(st):
		return fmt.Sprintf("%s (member %x of ensemble %s): %s", word, st.GetMemberId(), st.GetClusterId(), st.GetMembershipReason())
	case st.GetMembership() == adminpb.Membership_MEMBERSHIP_AWAITING:
		return fmt.Sprintf("empty, under the new id %x", st.GetMemberId())
	case st.GetNotReadyReason() != "":
		return fmt.Sprintf("member %x: %s", st.GetMemberId(), st.GetNotReadyReason())
	}
	return fmt.Sprintf("%s, member %x of ensemble %s", word, st.GetMemberId(), st.GetClusterId())
}

func refuses(st *adminpb.StatusResponse) bool {
	switch st.GetMembership() {
	case adminpb.Membership_MEMBERSHIP_REMOVED, adminpb.Membership_MEMBERSHIP_FOREIGN, adminpb.Membership_MEMBERSHIP_SUPERSEDED,
		adminpb.Membership_MEMBERSHIP_UNREADABLE:
		return true
	}
	return false
}

func belongs(st *adminpb.StatusResponse) bool {
	return st.GetMembership() == adminpb.Membership_MEMBERSHIP_MEMBER && st.GetClusterId() != ""
}

func awaits(st *adminpb.StatusResponse) bool {
	return st.GetMembership() == adminpb.Membership_MEMBERSHIP_AWAITING && st.GetMemberId() != 0
}

func leads(st *adminpb.StatusResponse) bool {
	return belongs(st) && st.GetHasQuorum() && (st.GetRole() == adminpb.Role_ROLE_LEADER || st.GetRole() == adminpb.Role_ROLE_STANDALONE)
}
