package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/internal/rollout"
)

// A scene is a word for each voter's pod, in order, then, after a bar, for each
// observer's: new or old for its revision, and after a dot what is with it:
//
//	lead    leads
//	down    does not answer
//	lag     answers, and is not in sync
//	broken  does not run, and will not
//	drain   is drained, with clients left, and not ready
//	drained is drained
//	gone    is being deleted
//	none    is no member
//	absent  is not there, and the StatefulSet wants it
type scene struct {
	words     string
	partition int
	current   string // CurrentRevision; "old" if empty
	edit      func(*rollout.Observed)
}

// observersUpdated: the observers have had their turn, all of them.
func observersUpdated(o *rollout.Observed) { o.Observers.Partition = 0 }

// refused: three voters' pods are wanted on a new template, and there is none.
func refused(founded, seen bool) func(*rollout.Observed) {
	return func(o *rollout.Observed) {
		o.Founded, o.Voters = founded, rollout.Set{Replicas: 3, Partition: 3, UpdateRevision: "new", CurrentRevision: "old", Seen: seen}
	}
}

func (sc scene) observed() rollout.Observed {
	voters, observers, _ := strings.Cut(sc.words, "|")
	o := rollout.Observed{Founded: true, DrainPatience: time.Minute}
	for _, kind := range []struct {
		words, prefix string
		set           *rollout.Set
	}{{voters, "v", &o.Voters}, {observers, "o", &o.Observers}} {
		fields := strings.Fields(kind.words)
		*kind.set = rollout.Set{Replicas: len(fields), Partition: len(fields), UpdateRevision: "new", CurrentRevision: "old", Seen: true}
		if kind.prefix == "v" {
			kind.set.Partition = sc.partition
		}
		if sc.current != "" {
			kind.set.CurrentRevision = sc.current
		}
		for i, word := range fields {
			revision, state, _ := strings.Cut(word, ".")
			p := rollout.Pod{Name: fmt.Sprintf("%s-%d", kind.prefix, i), UID: fmt.Sprintf("uid-%d", i), Ordinal: i, Revision: revision, Ready: true}
			p.Status = &adminpb.StatusResponse{CaughtUp: true, Ready: true, Serving: true, HasQuorum: true, Drain: &adminpb.DrainState{}}
			voter := rollout.Voter{Pod: p.Name, ID: uint64(i + 1), Synced: true}
			switch state {
			case "":
			case "lead":
				o.Leader = p.Name
			case "down":
				p.Status, p.Ready, voter.Synced, voter.Problem = nil, false, false, "it does not answer"
			case "lag":
				p.Status.CaughtUp, p.Status.Ready, p.Ready, voter.Synced, voter.Problem = false, false, false, false, "it lags"
			case "broken":
				p.Status, p.Ready, p.Problem, voter.Synced = nil, false, "ImagePullBackOff", false
			case "drain", "drained":
				p.Status.Drain.Active, p.Status.Ready, p.Ready = true, false, false
				if state == "drain" {
					p.Status.Drain.Remaining = 2
				}
			case "gone":
				p.Terminating = true
			case "none":
				voter.Pod = ""
			case "absent":
				voter.Synced, voter.Problem = false, "it does not answer"
				o.Ensemble = append(o.Ensemble, voter)
				continue
			default:
				panic(state)
			}
			kind.set.Pods = append(kind.set.Pods, p)
			if kind.prefix == "v" && voter.Pod != "" {
				o.Ensemble = append(o.Ensemble, voter)
			}
		}
	}
	if sc.edit != nil {
		sc.edit(&o)
	}
	return o
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name string
		scene
		act    rollout.Act
		reason rollout.Reason
		pod    string
		check  func(rollout.Plan) bool
	}{
		{"nothing to do", scene{words: "new.lead new new|new", edit: func(o *rollout.Observed) { o.Observers.Partition = 0 }}, rollout.Rest, rollout.UpToDate, "", nil},
		{"done", scene{words: "new.lead new new", partition: 3}, rollout.Lower, rollout.UpToDate, "", func(p rollout.Plan) bool { return p.Partition == 0 }},
		{"a pod that is too many", scene{words: "new.lead new new old.gone", edit: func(o *rollout.Observed) { o.Voters.Replicas = 3 }}, rollout.Rest, rollout.UpToDate, "", func(p rollout.Plan) bool { return p.Total == 3 }},
		{"the last is not there yet", scene{words: "new.lead new", edit: func(o *rollout.Observed) { o.Voters.Replicas = 3 }}, rollout.Wait, rollout.AwaitingUpdated, "v-2", func(p rollout.Plan) bool { return p.Pod == "v-2" }},
		{"no pods", scene{words: ""}, rollout.Rest, rollout.UpToDate, "", nil},
		{"not seen yet", scene{words: "old.lead old old", edit: func(o *rollout.Observed) { o.Voters.Seen = false }}, rollout.Wait, rollout.RevisionUnknown, "", func(p rollout.Plan) bool { return p.Updated == 3 && p.Total == 3 }},

		{"observers first", scene{words: "old.lead old old|old old", partition: 3}, rollout.Drain, rollout.Draining, "o-1", nil},
		{"the only observer is not back", scene{words: "old.lead old old|new.absent", partition: 3}, rollout.Wait, rollout.AwaitingUpdated, "", nil},
		{"the only observer is back and not in sync", scene{words: "old.lead old old|new.lag", partition: 3, edit: observersUpdated}, rollout.Wait, rollout.AwaitingUpdated, "", nil},
		{"the only observer does not run on the new revision", scene{words: "old.lead old old|new.broken", partition: 3, edit: observersUpdated}, rollout.Hold, rollout.UpdatedPodBroken, "o-0", nil},
		{"the last of two observers does not run on the new revision", scene{words: "old.lead old old|new.broken new", partition: 3, edit: observersUpdated}, rollout.Hold, rollout.UpdatedPodBroken, "o-0", nil},
		{"a voter that does not run waits for no observer", scene{words: "old.lead old old.broken|new.broken", partition: 3, edit: observersUpdated}, rollout.Lower, rollout.Restarting, "v-2", nil},
		{"then the next observer", scene{words: "old.lead old old|old.drained new", partition: 3, edit: func(o *rollout.Observed) { o.Observers.Partition = 1 }}, rollout.Lower, rollout.Restarting, "o-0", func(p rollout.Plan) bool { return p.Observers && p.Partition == 0 }},
		{"an observer that is stuck holds the voters", scene{words: "old.lead old old|old new.broken", partition: 3, edit: func(o *rollout.Observed) { o.Observers.Partition = 1 }}, rollout.Hold, rollout.UpdatedPodBroken, "o-1", nil},

		{"the leader goes to the lowest", scene{words: "old old old.lead", partition: 3}, rollout.TransferLeadership, rollout.HandingOver, "v-2", func(p rollout.Plan) bool { return p.Ask == "v-2" && p.Member == 1 }},
		{"before its own turn", scene{words: "old old.lead old", partition: 3}, rollout.TransferLeadership, rollout.HandingOver, "v-2", func(p rollout.Plan) bool { return p.Member == 1 }},
		{"the highest first", scene{words: "old.lead old old", partition: 3}, rollout.Drain, rollout.Draining, "v-2", func(p rollout.Plan) bool { return p.Ask == "v-2" && p.Drained[0] == "v-2" }},
		{"clients are left", scene{words: "old.lead old old.drain", partition: 3}, rollout.Wait, rollout.Draining, "v-2", func(p rollout.Plan) bool { return p.Drained[0] == "v-2" }},
		{"the endpoints have it yet", scene{words: "old.lead old old.drained", partition: 3, edit: func(o *rollout.Observed) { o.Voters.Pods[2].Ready = true }}, rollout.Wait, rollout.Draining, "v-2", nil},
		{"they had their time", scene{words: "old.lead old old.drain", partition: 3, edit: func(o *rollout.Observed) { o.Voters.Pods[2].Status.Drain.ActiveMs = 60_000 }}, rollout.Lower, rollout.Restarting, "v-2", nil},
		{"drained", scene{words: "old.lead old old.drained", partition: 3}, rollout.Lower, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return p.Partition == 2 && !p.Observers }},
		{"the StatefulSet is at it", scene{words: "old.lead old old", partition: 2}, rollout.Wait, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return p.Drained[0] == "v-2" }},
		{"the pod is not there yet", scene{words: "old.lead old", partition: 2, edit: func(o *rollout.Observed) { o.Voters.Replicas = 3 }}, rollout.Wait, rollout.AwaitingUpdated, "v-2", nil},
		{"it starts", scene{words: "old.lead old new.down", partition: 2}, rollout.Wait, rollout.AwaitingUpdated, "v-2", nil},
		{"it catches up", scene{words: "old.lead old new.lag", partition: 2}, rollout.Wait, rollout.AwaitingUpdated, "v-2", nil},
		{"the next", scene{words: "old.lead old.drained new", partition: 2}, rollout.Lower, rollout.Restarting, "v-1", func(p rollout.Plan) bool { return p.Partition == 1 && p.Updated == 1 && p.Total == 3 }},
		{"the leader last, after handing over", scene{words: "old.lead new new", partition: 1}, rollout.TransferLeadership, rollout.HandingOver, "v-0", func(p rollout.Plan) bool { return p.Member == 3 }},
		{"the last", scene{words: "old.drained new new.lead", partition: 1}, rollout.Lower, rollout.Restarting, "v-0", func(p rollout.Plan) bool { return p.Partition == 0 }},
		{"an ensemble of one", scene{words: "old.lead", partition: 1}, rollout.Lower, rollout.Restarting, "v-0", nil},
		{"a pod that is no member", scene{words: "old.lead old old old.none", partition: 4, edit: func(o *rollout.Observed) { o.Voters.Pods[3].Status.Serving = false }}, rollout.Lower, rollout.Restarting, "v-3", nil},

		{"a voter lags", scene{words: "old.lead old.lag old", partition: 3}, rollout.Wait, rollout.VotersNotInSync, "v-2", nil},
		{"a voter is down", scene{words: "old.lead old.broken old", partition: 3}, rollout.Wait, rollout.VotersNotInSync, "v-2", nil},
		{"a voter is going", scene{words: "old.lead old.gone old", partition: 3}, rollout.Wait, rollout.PodsNotReady, "v-2", nil},
		{"no leader", scene{words: "old old old", partition: 3}, rollout.Wait, rollout.NoLeader, "v-2", nil},
		{"the membership changes", scene{words: "old.lead old old", partition: 3, edit: func(o *rollout.Observed) { o.Busy = "two leave" }}, rollout.Wait, rollout.MembershipChanging, "v-2", nil},
		{"a disk", scene{words: "old.lead old old", partition: 3, edit: func(o *rollout.Observed) {
			o.Voters.Pods[1].Status.Disk = &adminpb.DiskHealth{Failed: true, Reason: "EIO"}
		}}, rollout.Wait, rollout.DiskFailing, "v-2", nil},

		{"a bad image stops after one", scene{words: "old.lead old new.broken", partition: 2}, rollout.Hold, rollout.UpdatedPodBroken, "v-2", nil},
		{"and is taken back", scene{words: "new.lead new old.broken", partition: 3, current: "new"}, rollout.DeletePod, rollout.TakenBack, "v-2", func(p rollout.Plan) bool { return p.UID == "uid-2" }},
		{"or replaced by a third", scene{words: "other.lead other old.broken", partition: 3, current: "other"}, rollout.Lower, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return p.Partition == 2 }},
		{"the third's pod is stuck below the StatefulSet's turn", scene{words: "other.lead other old.broken", partition: 2, current: "other"}, rollout.DeletePod, rollout.TakenBack, "v-2", nil},
		{"not deleted twice", scene{words: "new.lead new old.broken", partition: 3, current: "new", edit: func(o *rollout.Observed) { o.Voters.Pods[2].Terminating = true }}, rollout.Wait, rollout.Restarting, "v-2", nil},

		{"an evicted pod returns on what it had", scene{words: "old.absent new new.lead", partition: 1}, rollout.Wait, rollout.PodsNotReady, "v-0", nil},
		{"whatever else is going on", scene{words: "old.absent new new.lead", partition: 1, edit: func(o *rollout.Observed) { o.Busy = "two leave" }}, rollout.Wait, rollout.PodsNotReady, "v-0", nil},
		{"all the more in a bad roll", scene{words: "old.absent new.broken new", partition: 1}, rollout.Hold, rollout.UpdatedPodBroken, "v-1", nil},
		{"and in one that goes on", scene{words: "old.absent new.down new", partition: 1}, rollout.Wait, rollout.AwaitingUpdated, "v-1", nil},
		{"two are gone", scene{words: "old.absent new.absent new", partition: 1}, rollout.Wait, rollout.AwaitingUpdated, "v-1", nil},
		{"it is back on what it had", scene{words: "old new new.lead", partition: 1}, rollout.Drain, rollout.Draining, "v-0", nil},
		{"an edit is taken back while a pod is away", scene{words: "new.lead new.absent new", partition: 3, current: "new"}, rollout.Wait, rollout.PodsNotReady, "v-1", nil},
		{"while one is not well", scene{words: "new.lead new new.lag", partition: 3, current: "new"}, rollout.Wait, rollout.AwaitingUpdated, "v-2", nil},
		{"while one is going", scene{words: "new.lead new.gone new", partition: 3, current: "new"}, rollout.Wait, rollout.AwaitingUpdated, "v-1", nil},
		{"an evicted observer", scene{words: "old.lead old old|old.absent new", partition: 3, edit: func(o *rollout.Observed) { o.Observers.Partition = 1 }}, rollout.Wait, rollout.PodsNotReady, "o-0", func(p rollout.Plan) bool { return p.Observers }},
		{"the last pod is on its way back", scene{words: "new.absent new new.lead"}, rollout.Wait, rollout.AwaitingUpdated, "v-0", nil},
		{"the last pod is just back", scene{words: "new.down new new.lead"}, rollout.Rest, rollout.UpToDate, "", nil},
		{"a founding waits for nobody", scene{words: "new.absent new.down new.down", partition: 3, edit: func(o *rollout.Observed) { o.Founded, o.Ensemble = false, nil }}, rollout.Lower, rollout.UpToDate, "", func(p rollout.Plan) bool { return p.Partition == 0 }},
		{"parked in a roll", scene{words: "old.gone old.gone new.gone", partition: 2, edit: func(o *rollout.Observed) { o.Voters.Replicas = 0 }}, rollout.Rest, rollout.UpToDate, "", nil},
		{"coming back from it", scene{words: "new.down new.absent new.absent"}, rollout.Wait, rollout.AwaitingUpdated, "v-1", nil},

		{"all are broken", scene{words: "old.broken old.broken old.broken", partition: 3}, rollout.Lower, rollout.Restarting, "v-2", nil},
		{"the first runs, alone", scene{words: "old.broken old.broken new.lag", partition: 2}, rollout.Lower, rollout.Restarting, "v-1", nil},
		{"the first does not run", scene{words: "old.broken old.broken new.broken", partition: 2}, rollout.Hold, rollout.UpdatedPodBroken, "v-2", nil},
		{"most are broken, and not the highest", scene{words: "old.broken old.broken old.lag", partition: 3}, rollout.Lower, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return p.Partition == 2 }},
		{"whatever is with the observers", scene{words: "old.broken old.broken old.lag|old.lag new.lag", partition: 3}, rollout.Lower, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return !p.Observers }},
		{"nor the next", scene{words: "old.broken old.broken old.broken old.lag new.lag", partition: 4}, rollout.Lower, rollout.Restarting, "v-3", nil},
		{"which waits for the one before it", scene{words: "old.broken old.broken old.broken old.lag new.absent", partition: 4}, rollout.Wait, rollout.AwaitingUpdated, "v-4", nil},
		{"and for an answer", scene{words: "old.broken old.broken old.broken old.lag new.down", partition: 4}, rollout.Wait, rollout.AwaitingUpdated, "v-4", nil},
		{"one more, and there is a quorum", scene{words: "old.broken old.broken new.lag new.lag new.lag", partition: 2}, rollout.Lower, rollout.Restarting, "v-1", nil},
		{"most of the pods are broken, and are no voters yet", scene{words: "old old.broken old.broken old.broken old", partition: 5, edit: func(o *rollout.Observed) { o.Ensemble = o.Ensemble[:1] }}, rollout.Wait, rollout.NoLeader, "v-4", nil},
		{"most are broken, and nobody tells who votes", scene{words: "old.broken old.broken old.down", partition: 3, edit: func(o *rollout.Observed) { o.Ensemble = nil }}, rollout.Lower, rollout.Restarting, "v-2", nil},
		{"some are down, and nobody tells who votes", scene{words: "old.broken old.down old.down", partition: 3, edit: func(o *rollout.Observed) { o.Ensemble = nil }}, rollout.Wait, rollout.NoLeader, "v-2", nil},
		{"a broken one below, and a quorum", scene{words: "old.broken old.lead old", partition: 3}, rollout.Wait, rollout.VotersNotInSync, "v-2", func(p rollout.Plan) bool {
			return strings.Contains(p.Message, "pod v-0 does not run (ImagePullBackOff)") && strings.Contains(p.Message, "kubectl delete statefulset v --cascade=orphan")
		}},
		{"one below that is not there", scene{words: "old.absent old.lead old", partition: 3}, rollout.Wait, rollout.VotersNotInSync, "v-2", func(p rollout.Plan) bool {
			return strings.Contains(p.Message, "pod v-0 is not there; kubectl describe statefulset v says why") && strings.Contains(p.Message, "kubectl delete statefulset v --cascade=orphan")
		}},
		{"its StatefulSet is made again", scene{words: "old.broken old.lead old", partition: 3, current: "new"}, rollout.DeletePod, rollout.TakenBack, "v-0", nil},
		{"a broken one waits for no observer that runs", scene{words: "old.lead old old.broken|old", partition: 3}, rollout.Lower, rollout.Restarting, "v-2", func(p rollout.Plan) bool { return !p.Observers }},

		{"no pod can be made, and none ever was", scene{edit: refused(false, true)}, rollout.Lower, rollout.NotFoundedYet, "", func(p rollout.Plan) bool { return p.Partition == 0 && !p.Observers }},
		{"of a template that is not seen yet", scene{edit: refused(false, false)}, rollout.Wait, rollout.RevisionUnknown, "", nil},
		{"no pod is there of an ensemble", scene{edit: refused(true, true)}, rollout.Wait, rollout.AwaitingUpdated, "", nil},
		{"before there is an ensemble", scene{words: "old old old", partition: 3, edit: func(o *rollout.Observed) { o.Founded, o.Ensemble = false, nil }}, rollout.Lower, rollout.NotFoundedYet, "v-2", func(p rollout.Plan) bool { return p.Partition == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := rollout.Next(c.observed())
			if p.Act != c.act || p.Reason != c.reason || c.pod != "" && p.Pod != c.pod || p.Message == "" {
				t.Fatalf("%s %s %s: %q\nwant %s %s %s", p.Act, p.Reason, p.Pod, p.Message, c.act, c.reason, c.pod)
			}
			if c.check != nil && !c.check(p) {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	seen := map[rollout.Reason]bool{}
	for _, r := range rollout.Reasons {
		if seen[r] || r == "" {
			t.Errorf("reason %q twice", r)
		}
		seen[r] = true
	}
}
