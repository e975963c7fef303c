package membership_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/membership"
)

const (
	ours   = "0000000000000000000000000000000a"
	theirs = "0000000000000000000000000000000b"
)

// scene is an Observed that is described by words. A word for each voter's pod, in
// order, then, after a bar, for each observer's:
//
//	lead      leads the ensemble
//	ok        a voter (or an observer) in sync
//	lag       a voter that lags
//	learn     a learner that has caught up
//	copy      a learner that has not
//	gone      a voter whose pod does not answer
//	left      a learner whose pod does not answer
//	lost      a voter whose pod is empty, under a new id
//	new       empty, and no member
//	mute      does not answer, and no member
//	damaged   a voter that can't read its data
//	removed   was removed
//	unaware   was removed and has not heard of it
//	other     belongs to another ensemble
//	drain     a voter that is drained, with clients left
//	drained   a voter that is drained, without clients
//
// Members answer as they do with a leader if one of them leads.
type scene struct {
	words  string
	target int
	observers,
	want int
	latches func(*membership.Latches)
	edit    func(*membership.Observed)
}

func (sc scene) observed() membership.Observed {
	voters, observers, _ := strings.Cut(sc.words, "|")
	o := membership.Observed{
		Want:           membership.Target{Voters: sc.target, Observers: sc.observers},
		Latches:        membership.Latches{ClusterID: ours, Bootstrapped: true, Target: membership.Target{Voters: sc.target, Observers: sc.observers}},
		FreshClusterID: "f0", DrainPatience: time.Minute,
		Voters:    membership.Set{Exists: true, Replicas: len(strings.Fields(voters))},
		Observers: membership.Set{Exists: true, Replicas: len(strings.Fields(observers))},
	}
	if sc.want != 0 {
		o.Want.Voters = max(0, sc.want)
	}
	led := strings.Contains(sc.words, "lead")
	var votes, learns []*adminpb.Member
	for observer, words := range map[bool]string{false: voters, true: observers} {
		for i, word := range strings.Fields(words) {
			s := membership.Seat{Observer: observer, Ordinal: i}
			id := uint64(s.ServerName())
			m := &adminpb.Member{Id: id, Name: s.ServerName(), Observer: observer, PeerAddress: "peer", ClientAddress: "client"}
			st := &adminpb.StatusResponse{MemberId: id, Name: s.ServerName(), ClusterId: ours, ConfigurationIndex: 7, PeerAddress: "peer", ClientAddress: "client",
				Membership: adminpb.Membership_MEMBERSHIP_MEMBER, HasQuorum: led, Serving: led, Drain: &adminpb.DrainState{}}
			kind := &votes
			if observer {
				kind = &learns
			}
			m.Connected, m.Synced = true, true
			switch word {
			case "lead":
				st.Role = adminpb.Role_ROLE_LEADER
			case "ok":
			case "lag", "copy":
				m.Synced = false
			case "learn":
			case "gone", "left", "mute":
				m.Connected, m.Synced, st = false, false, nil
			case "lost", "new":
				m.Connected, m.Synced = false, false
				st.Membership, st.ClusterId, st.MemberId = adminpb.Membership_MEMBERSHIP_AWAITING, "", id+0x100
			case "damaged":
				m.Connected, m.Synced = false, false
				st.Membership, st.MembershipReason, st.MemberId, st.ClusterId = adminpb.Membership_MEMBERSHIP_UNREADABLE, "a checksum is wrong", 0, ""
			case "removed":
				st.Membership = adminpb.Membership_MEMBERSHIP_REMOVED
			case "unaware":
			case "other":
				st.ClusterId, st.HasQuorum = theirs, false
			case "drain", "drained":
				st.Drain.Active = true
				if word == "drain" {
					st.Drain.Remaining = 3
				}
			default:
				panic(word)
			}
			switch word {
			case "learn", "copy", "left":
				kind = &learns
			case "new", "mute", "removed", "unaware", "other":
				kind = nil
			}
			if kind != nil {
				*kind = append(*kind, m)
			}
			p := membership.Pod{Seat: s, Name: podName(s), Status: st}
			if st == nil {
				p.NoAnswer = "connection refused"
			}
			o.Pods = append(o.Pods, p)
		}
	}
	for _, p := range o.Pods {
		if p.Status.GetMembership() == adminpb.Membership_MEMBERSHIP_MEMBER {
			p.Status.Voters, p.Status.Learners = votes, learns
		}
	}
	if sc.latches != nil {
		sc.latches(&o.Latches)
	}
	if sc.edit != nil {
		sc.edit(&o)
	}
	return o
}

func unfounded(l *membership.Latches) { *l = membership.Latches{} }
func founding(l *membership.Latches)  { *l = membership.Latches{ClusterID: ours, FirstMember: 0x101} }
func parked(n int) func(*membership.Latches) {
	return func(l *membership.Latches) { l.Parked = membership.Target{Voters: n} }
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name string
		scene
		act    membership.Act
		reason membership.Reason
		about  string // what the message names
	}{
		// Before an ensemble is known.
		{"nothing is there", scene{words: "", target: 3, latches: unfounded, edit: func(o *membership.Observed) { o.Voters.Exists, o.Observers.Exists = false, false }}, membership.SetPods, membership.Creating, "3 voters"},
		{"all empty", scene{words: "new new new", target: 3, latches: unfounded}, membership.LatchBootstrap, membership.Founding, "member 101"},
		{"one silent", scene{words: "new new mute", target: 3, latches: unfounded}, membership.Wait, membership.AskingMembers, "server.3"},
		{"all silent, as when names do not resolve", scene{words: "mute mute mute", target: 3, latches: unfounded}, membership.Wait, membership.AskingMembers, "server.1"},
		{"another answers in a pod's place", scene{words: "new new new", target: 3, latches: unfounded, edit: func(o *membership.Observed) { o.Pods[1].Status.Name = 9 }}, membership.Wait, membership.AskingMembers, "server.9 answers"},
		{"a pod is terminating", scene{words: "new", target: 1, latches: unfounded, edit: func(o *membership.Observed) { o.Pods[0].Terminating = true }}, membership.Wait, membership.AskingMembers, "terminating"},
		{"a volume that no pod has", scene{words: "new", target: 1, latches: unfounded, edit: func(o *membership.Observed) { o.Voters.Volumes = []int{0, 4} }}, membership.SetPods, membership.Creating, "5 voters"},
		{"one has data, the others are empty", scene{words: "new new ok", target: 3, latches: unfounded}, membership.LatchEnsemble, membership.EnsembleFound, ours},
		{"a leader answers, another does not", scene{words: "lead gone gone", target: 3, latches: unfounded}, membership.LatchEnsemble, membership.EnsembleFound, ours},
		{"a minority with data answers", scene{words: "ok gone gone", target: 3, latches: unfounded}, membership.Wait, membership.AskingMembers, "server.2"},
		{"two ensembles", scene{words: "ok ok other", target: 3, latches: unfounded}, membership.Hold, membership.SeveralEnsembles, theirs},
		{"a recovered ensemble and its past", scene{words: "ok other other", target: 3, latches: unfounded, edit: func(o *membership.Observed) {
			o.Pods[0].Status.FormerClusterIds, o.Pods[0].Status.HasQuorum = []string{theirs}, true
		}}, membership.LatchEnsemble, membership.EnsembleFound, ours},
		{"only members that were removed", scene{words: "new removed removed", target: 3, latches: unfounded}, membership.Hold, membership.OnlyRefusingMembers, "pod v-1: removed"},
		{"nobody is wanted", scene{words: "", target: 0, latches: unfounded}, membership.Rest, membership.Parked, ""},

		// Between the latch and the ensemble.
		{"the call is due", scene{words: "new new new", target: 3, latches: founding}, membership.Bootstrap, membership.Founding, "member 101"},
		{"the call was made", scene{words: "lead new new", target: 3, latches: founding}, membership.LatchEnsemble, membership.Founded, ours},
		{"the first is silent", scene{words: "mute new new", target: 3, latches: founding}, membership.Wait, membership.AwaitingFirstMember, "server.1"},
		{"the first has lost its volume", scene{words: "new new", target: 1, latches: func(l *membership.Latches) { founding(l); l.FirstMember = 0x55 }}, membership.Hold, membership.FirstMemberGone, "member 55"},

		// Without a leader.
		{"a member that has just been founded", scene{words: "ok", target: 1, edit: func(o *membership.Observed) { o.Pods[0].Status.Voters = nil }}, membership.Wait, membership.AskingMembers, "membership yet"},
		{"an election", scene{words: "ok ok ok", target: 3}, membership.Wait, membership.NoLeader, "3 of 3"},
		{"the majority is down", scene{words: "ok gone lost", target: 3}, membership.Wait, membership.QuorumLost, "server.3 (member 3): pod v-2: empty"},
		{"nobody answers", scene{words: "gone gone gone", target: 3}, membership.Wait, membership.QuorumUnknown, "server.2"},
		{"no pod can be made", scene{words: "", target: 3, edit: func(o *membership.Observed) { o.Voters.Replicas, o.Voters.Exists = 3, true }}, membership.Wait, membership.QuorumUnknown, "kubectl describe statefulset"},
		{"all volumes are empty", scene{words: "new new new", target: 3}, membership.Hold, membership.EnsembleLost, ours},
		{"the only volume is empty", scene{words: "new", target: 1}, membership.Hold, membership.EnsembleLost, ours},
		{"the StatefulSet is gone, and the pods", scene{words: "", target: 3, edit: func(o *membership.Observed) { o.Voters.Exists = false }}, membership.SetPods, membership.RestoringPods, "3 voters"},
		{"pods of voters were scaled away", scene{words: "ok gone gone", target: 3, edit: func(o *membership.Observed) { o.Voters.Replicas, o.Pods = 1, o.Pods[:1] }}, membership.SetPods, membership.RestoringPods, "3 voters"},
		{"it goes on under another id", scene{words: "lead", target: 1, latches: func(l *membership.Latches) { l.ClusterID = theirs }, edit: func(o *membership.Observed) { o.Pods[0].Status.FormerClusterIds = []string{theirs} }}, membership.LatchEnsemble, membership.EnsembleRecovered, ours},
		{"another ensemble serves", scene{words: "lead", target: 1, latches: func(l *membership.Latches) { l.ClusterID = theirs }}, membership.Hold, membership.SeveralEnsembles, theirs},

		// Growing.
		{"at rest", scene{words: "lead ok ok", target: 3}, membership.Rest, membership.AtTarget, "3 voters"},
		{"the first learner", scene{words: "lead new new", target: 3}, membership.AddLearner, membership.ScalingUp, "server.2 (member 102)"},
		{"one copies", scene{words: "lead copy new", target: 3}, membership.Wait, membership.CatchingUp, "server.2"},
		{"the second learner", scene{words: "lead learn new", target: 3}, membership.AddLearner, membership.ScalingUp, "server.3"},
		{"one waits for two", scene{words: "lead learn mute", target: 3}, membership.Wait, membership.AwaitingPod, "server.3"},
		{"one waits for the other's copy", scene{words: "lead learn copy", target: 3}, membership.Wait, membership.CatchingUp, "server.3"},
		{"both", scene{words: "lead learn learn", target: 3}, membership.Promote, membership.ScalingUp, "server.2"},
		{"the second at once", scene{words: "lead ok learn", target: 3}, membership.Promote, membership.ScalingUp, "server.3"},
		{"two, and more to come", scene{words: "lead learn learn", target: 5}, membership.Promote, membership.ScalingUp, "server.2"},
		{"a pod more", scene{words: "lead ok ok", target: 5}, membership.SetPods, membership.ScalingUp, "server.4"},
		{"not two pods at a time", scene{words: "lead ok ok mute", target: 5}, membership.Wait, membership.AwaitingPod, "server.4"},
		{"a promotion at risk", scene{words: "lead lag gone learn learn", target: 5}, membership.Wait, membership.QuorumAtRisk, "server.2"},
		{"the same learner, empty again", scene{words: "lead ok copy", target: 3, edit: func(o *membership.Observed) {
			o.Pods[2].Status.Membership, o.Pods[2].Status.ClusterId = adminpb.Membership_MEMBERSHIP_AWAITING, ""
		}}, membership.AddLearner, membership.ScalingUp, "server.3"},

		// Members that return.
		{"a volume was lost", scene{words: "lead ok lost", target: 3}, membership.AddLearner, membership.ReplacingMember, "in the place of member 3"},
		{"and the old process still answers", scene{words: "lead ok ok", target: 3, edit: func(o *membership.Observed) {
			o.Pods[2].Status = &adminpb.StatusResponse{MemberId: 0x103, Name: 3, Membership: adminpb.Membership_MEMBERSHIP_AWAITING}
		}}, membership.Wait, membership.FormerMemberAnswers, "member 3"},
		{"returned on an old volume", scene{words: "lead removed removed", target: 3}, membership.StartClean, membership.CleaningMember, "server.2"},
		{"not where no pod is wanted", scene{words: "lead removed removed", target: 1}, membership.SetPods, membership.ScalingDown, "3 to 1"},
		{"removed, and not told", scene{words: "lead unaware ok", target: 3}, membership.Wait, membership.AwaitingRefusal, "server.2"},
		{"data of strangers", scene{words: "lead ok other", target: 3, edit: func(o *membership.Observed) {
			o.Pods[2].Status.Membership = adminpb.Membership_MEMBERSHIP_FOREIGN
		}}, membership.StartClean, membership.CleaningMember, "server.3"},
		{"met by strangers", scene{words: "lead ok unaware", target: 3, edit: func(o *membership.Observed) {
			o.Pods[2].Status.Membership = adminpb.Membership_MEMBERSHIP_FOREIGN
		}}, membership.Wait, membership.AwaitingPod, "server.3"},
		{"a disk is damaged", scene{words: "lead ok damaged", target: 3}, membership.StartClean, membership.CleaningMember, "a checksum is wrong"},
		{"a disk is damaged, and another voter lags", scene{words: "lead lag damaged", target: 3}, membership.Wait, membership.AwaitingPod, "a checksum is wrong"},
		{"the only disk is damaged", scene{words: "damaged", target: 1}, membership.Hold, membership.EnsembleLost, "a checksum is wrong"},
		{"a damaged disk is not an empty one", scene{words: "new new damaged", target: 3, latches: unfounded}, membership.Hold, membership.OnlyRefusingMembers, "a checksum is wrong"},
		{"a voter is down", scene{words: "lead ok gone", target: 3}, membership.Wait, membership.VotersNotInSync, "server.3"},

		// Shrinking.
		{"drain first", scene{words: "lead ok ok ok ok", target: 3}, membership.Drain, membership.Draining, "server.5"},
		{"both of a pair", scene{words: "lead ok ok ok drained", target: 3}, membership.Drain, membership.Draining, "server.4"},
		{"clients are left", scene{words: "lead ok ok drained drain", target: 3}, membership.Wait, membership.Draining, "server.5"},
		{"clients had their time", scene{words: "lead ok ok drained drain", target: 3, edit: func(o *membership.Observed) { o.Pods[4].Status.Drain.ActiveMs = 60_000 }}, membership.Remove, membership.ScalingDown, "server.5"},
		{"drained", scene{words: "lead ok ok drained drained", target: 3}, membership.Remove, membership.ScalingDown, "server.5"},
		{"the second of a pair", scene{words: "lead ok ok drained removed", target: 3}, membership.Remove, membership.ScalingDown, "server.4"},
		{"then the pods", scene{words: "lead ok ok removed removed", target: 3}, membership.SetPods, membership.ScalingDown, "5 to 3"},
		{"until they are gone", scene{words: "lead ok ok removed removed", target: 3, edit: func(o *membership.Observed) { o.Voters.Replicas = 3 }}, membership.Wait, membership.PodsLeaving, "terminating"},
		{"a pod that leaves keeps nobody waiting", scene{words: "lead ok ok removed removed", target: 3, want: 5, edit: func(o *membership.Observed) { o.Voters.Replicas = 3 }}, membership.LatchTarget, membership.SpecChanged, "5 voters"},
		{"the leader hands over", scene{words: "ok ok ok lead ok", target: 3}, membership.TransferLeadership, membership.ScalingDown, "to server.1"},
		{"one that stays lags", scene{words: "lead lag ok ok ok", target: 3}, membership.Wait, membership.VotersNotInSync, "server.2"},
		{"one that goes is dead", scene{words: "lead ok ok gone ok", target: 3}, membership.Drain, membership.Draining, "server.5"},
		{"the dead one first", scene{words: "lead ok ok gone drained", target: 3}, membership.Remove, membership.ScalingDown, "server.4"},
		{"too many of those that go are dead", scene{words: "lead gone gone", target: 1}, membership.Wait, membership.QuorumAtRisk, "server.3"},
		{"a learner in the way", scene{words: "lead ok ok learn", target: 3}, membership.Remove, membership.ScalingDown, "server.4"},
		{"to one", scene{words: "lead drained drained", target: 1}, membership.Remove, membership.ScalingDown, "server.3"},

		// Observers.
		{"an observer's pod", scene{words: "lead", target: 1, observers: 1}, membership.SetPods, membership.ScalingUp, "server.101"},
		{"an observer", scene{words: "lead|new", target: 1, observers: 1}, membership.AddLearner, membership.ScalingUp, "as an observer"},
		{"an observer copies", scene{words: "lead|copy", target: 1, observers: 1}, membership.Wait, membership.ObserversNotInSync, "server.101"},
		{"observers while voters wait", scene{words: "lead ok mute|new", target: 3, observers: 1}, membership.AddLearner, membership.ScalingUp, "server.101"},
		{"an observer's volume was lost", scene{words: "lead|lost", target: 1, observers: 1}, membership.AddLearner, membership.ReplacingMember, "server.101"},
		{"an observer too many", scene{words: "lead|ok ok", target: 1, observers: 1}, membership.Drain, membership.Draining, "server.102"},
		{"is taken out", scene{words: "lead|ok drained", target: 1, observers: 1}, membership.Remove, membership.ScalingDown, "server.102"},
		{"until it is gone", scene{words: "lead|ok removed", target: 1, observers: 1, edit: func(o *membership.Observed) { o.Observers.Replicas = 1 }}, membership.Wait, membership.PodsLeaving, "terminating"},
		{"and its pod", scene{words: "lead|ok removed", target: 1, observers: 1}, membership.SetPods, membership.ScalingDown, "2 to 1"},

		// Edits in mid-flight, and parking.
		{"the spec changed", scene{words: "lead ok ok", target: 3, want: 5}, membership.LatchTarget, membership.SpecChanged, "5 voters"},
		{"in the middle of a pair", scene{words: "lead ok ok ok learn", target: 5, want: 3}, membership.Promote, membership.ScalingUp, "after that step: 3 voters"},
		{"in the middle of a pair that is stuck", scene{words: "lead ok ok ok mute", target: 5, want: 3}, membership.LatchTarget, membership.SpecChanged, "3 voters"},
		{"parking", scene{words: "lead ok ok", target: 3, want: -1}, membership.LatchParked, membership.Parking, "3 voters"},
		{"the pods go", scene{words: "lead ok ok", target: 3, want: -1, latches: parked(3)}, membership.SetPods, membership.Parking, "3 voters"},
		{"parked", scene{words: "", target: 3, want: -1, latches: parked(3)}, membership.Rest, membership.Parked, "3 voters"},
		{"parked once they are gone", scene{words: "ok", target: 3, want: -1, latches: parked(3), edit: func(o *membership.Observed) { o.Voters.Replicas = 0 }}, membership.Wait, membership.Parking, "terminating"},
		{"back at another size", scene{words: "", target: 3, want: 5, latches: parked(3)}, membership.SetPods, membership.Unparking, "at 3 voters"},
		{"as it was, first", scene{words: "lead ok ok", target: 3, want: 5, latches: parked(3)}, membership.LatchParked, membership.Unparking, "back"},
		{"back, and nobody has begun", scene{words: "gone gone gone", target: 3, latches: parked(3)}, membership.Wait, membership.Unparking, "server.2"},
		{"back, and not complete", scene{words: "ok gone gone", target: 3, latches: parked(3)}, membership.Wait, membership.QuorumLost, "server.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := membership.Next(c.observed())
			if p.Act != c.act || p.Reason != c.reason || !strings.Contains(p.Message, c.about) || p.Message == "" {
				t.Errorf("%s %s: %q\nwant %s %s about %q", p.Act, p.Reason, p.Message, c.act, c.reason, c.about)
			}
		})
	}
}

// Every reason that is documented is given, and no other.
func TestReasons(t *testing.T) {
	seen := map[membership.Reason]bool{}
	for _, r := range membership.Reasons {
		if seen[r] || r == "" {
			t.Errorf("reason %q twice", r)
		}
		seen[r] = true
	}
}

func TestSeats(t *testing.T) {
	for n := int32(-1); n < 140; n++ {
		s, ok := membership.SeatOf(n)
		if ok != (n > 0) || ok && s.ServerName() != n || s.Observer != (n > 100) {
			t.Errorf("%d: %v, %t", n, s, ok)
		}
	}
	if got := fmt.Sprint(membership.Target{Voters: 1, Observers: 2}); got != "1 voter and 2 observers" {
		t.Error(got)
	}
}
