package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/conclave-dev/conclave/internal/statemachine"
)

// parseView reads "1* 2 3! 4l 5l! 6o": members by number, their id a hundred
// times that. * leads, ! is silent, l is a learner, o an observer; 2/7 is
// server.2 under id 700, and -50 behind a member is its lag.
func parseView(text string) *view {
	v := &view{last: 1000, peers: map[uint64]Progress{}, members: statemachine.Members{Index: 40}}
	for word := range strings.FieldsSeq(text) {
		var p statemachine.Member
		pr := Progress{Match: 1000, Active: true}
		if mine, lag, ok := strings.Cut(word, "-"); ok {
			var n uint64
			fmt.Sscan(lag, &n)
			word, pr.Match = mine, 1000-n
		}
		p.Voter = true
		leads := false
		for len(word) > 0 && strings.ContainsAny(word[len(word)-1:], "*!lo") {
			switch word[len(word)-1] {
			case '*':
				leads = true
			case '!':
				pr.Active = false
			case 'l':
				p.Voter = false
			case 'o':
				p.Voter, p.Observer = false, true
			}
			word = word[:len(word)-1]
		}
		name, id, ok := strings.Cut(word, "/")
		fmt.Sscan(name, &p.Name)
		if !ok {
			id = name
		}
		fmt.Sscan(id+"00", &p.ID)
		p.Host, p.PeerPort = "h"+name, 2888
		if leads {
			v.self = p.ID
		}
		v.members.List = append(v.members.List, p)
		v.peers[p.ID] = pr
	}
	return v
}

func show(list []statemachine.Member) string {
	var out []string
	for _, p := range list {
		s := fmt.Sprint(p.Name)
		if p.ID != uint64(100*p.Name) {
			s += fmt.Sprintf("/%d", p.ID/100)
		}
		switch {
		case p.Observer:
			s += "o"
		case !p.Voter:
			s += "l"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func changesText(list []*raftpb.ConfChangeSingle) string {
	var out []string
	for _, c := range list {
		kind := map[raftpb.ConfChangeType]string{raftpb.ConfChangeAddNode: "voter", raftpb.ConfChangeAddLearnerNode: "learner", raftpb.ConfChangeRemoveNode: "remove", raftpb.ConfChangeUpdateNode: "update"}[c.GetType()]
		out = append(out, fmt.Sprint(kind, " ", c.GetNodeId()/100))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestPlans(t *testing.T) {
	add := func(text string) func(*view) ([]statemachine.Member, *Refusal) {
		p := parseView(text).members.List[0]
		return func(v *view) ([]statemachine.Member, *Refusal) { return planAdd(v, p) }
	}
	promote := func(id, lag uint64) func(*view) ([]statemachine.Member, *Refusal) {
		return func(v *view) ([]statemachine.Member, *Refusal) { return planPromote(v, id*100, lag) }
	}
	remove := func(id uint64) func(*view) ([]statemachine.Member, *Refusal) {
		return func(v *view) ([]statemachine.Member, *Refusal) { return planRemove(v, id*100) }
	}
	target := func(text string) func(*view) ([]statemachine.Member, *Refusal) {
		return func(v *view) ([]statemachine.Member, *Refusal) { return planTarget(v, parseView(text).members.List) }
	}
	for _, c := range []struct {
		name, from string
		plan       func(*view) ([]statemachine.Member, *Refusal)
		to         string // "" if nothing is to be done
		changes    string
		why        Why
		says       string
	}{
		{"add", "1*", add("2"), "1 2l", "learner 2", 0, ""},
		{"add again", "1* 2l", add("2"), "", "", 0, ""},
		{"add one that has been promoted meanwhile", "1* 2", add("2"), "", "", 0, ""},
		{"add as another server", "1* 2l", add("3/2"), "", "", WhyDiffers, "member c8 is in the ensemble already"},
		{"add as an observer what is none", "1* 2l", add("2o"), "", "", WhyDiffers, "observer: true"},
		{"add an observer", "1*", add("2o"), "1 2o", "learner 2", 0, ""},
		{"a name that lives", "1* 2", add("2/7"), "", "", WhyNameTaken, "server.2 is a member already, under id c8"},
		{"a name that is silent keeps its seat", "1* 2! 3", add("2/7"), "1 2 3 2/7l", "learner 7", 0, ""},
		{"a learner that came back as another", "1* 2l!", add("2/7"), "1 2/7l", "learner 7, remove 2", 0, ""},

		{"promote", "1* 2l", promote(2, 0), "1 2", "voter 2", 0, ""},
		{"promote again", "1* 2", promote(2, 0), "", "", 0, ""},
		{"promote into its seat", "1* 2! 3 2/7l", promote(7, 0), "1 3 2/7", "remove 2, voter 7", 0, ""},
		{"promote nobody", "1*", promote(2, 0), "", "", WhyNotMember, "added as a learner first"},
		{"promote an observer", "1* 2o", promote(2, 0), "", "", WhyObserver, ""},
		{"promote too early", "1* 2l-201", promote(2, 0), "", "", WhyLagging, "201 entries behind the leader, where 200 are allowed"},
		{"promote within the stated lag", "1* 2l-201", promote(2, 300), "1 2", "voter 2", 0, ""},
		{"promote beyond the stated lag", "1* 2l-11", promote(2, 10), "", "", WhyLagging, "where 10 are allowed"},
		{"promote a silent one", "1* 2l!", promote(2, 0), "", "", WhyLagging, "does not answer"},
		{"promote while too few answer", "1* 2! 3l 4!", promote(3, 0), "", "", WhyQuorum, "server.2 (member c8), server.4 (member 190)"},

		{"remove", "1* 2 3", remove(3), "1 2", "remove 3", 0, ""},
		{"remove again", "1* 2", remove(3), "", "", 0, ""},
		{"remove a silent voter", "1* 2 3!", remove(3), "1 2", "remove 3", 0, ""},
		{"remove a learner", "1* 2! 3l", remove(3), "1 2", "remove 3", 0, ""},
		{"remove the last voter", "1*", remove(1), "", "", WhyLastVoter, "the last one can't be removed"},
		{"remove the last voter beside a learner", "1* 2l", remove(1), "", "", WhyLastVoter, ""},
		{"remove the leader", "1* 2 3", remove(1), "", "", WhyLeader, "hand leadership over first"},
		{"remove one that is needed", "1* 2 3!", remove(2), "", "", WhyQuorum, "of the 2 voters that there would be, 1 do not answer"},
		{"two of four are silent, one of these goes", "1* 2 3! 4!", remove(4), "1 2 3", "remove 4", 0, ""},
		{"three at once", "1* 2 3 4l 5l 6l", target("1 4 5o"), "1 4 5o 6l", "remove 2, remove 3, voter 4", 0, ""},
		{"the same", "1* 2 3 4l", target("3 2 1"), "", "", 0, ""},
		{"a voter becomes an observer", "1* 2 3", target("1 2 3o"), "1 2 3o", "learner 3", 0, ""},
		{"one that is not there", "1* 2", target("1 2 3"), "", "", WhyNotMember, ""},
		{"one that has not caught up", "1* 2 3l-900", target("1 2 3"), "", "", WhyLagging, ""},
		{"without the leader", "1* 2 3", target("2 3"), "", "", WhyLeader, ""},
		{"without a quorum", "1* 2! 3! 4 5", target("1 2 3"), "", "", WhyQuorum, ""},
		{"without voters", "1* 2", target("1o"), "", "", WhyLastVoter, ""},
		{"two of five are silent, a live one may not go", "1* 2 3 4! 5!", remove(2), "", "", WhyQuorum, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := parseView(c.from)
			got, refusal := c.plan(v)
			if c.why != 0 || refusal != nil {
				if refusal == nil || refusal.Why != c.why || !strings.Contains(refusal.Error(), c.says) {
					t.Fatalf("refused with %+v; want reason %d, %q", refusal, c.why, c.says)
				}
				return
			}
			if show(got) != c.to {
				t.Fatalf("the membership becomes %q, want %q", show(got), c.to)
			}
			if got != nil && changesText(changesBetween(v.members, got)) != c.changes {
				t.Errorf("raft is told: %s; want %s", changesText(changesBetween(v.members, got)), c.changes)
			}
		})
	}
}

// Raft takes a member that was just added for active. It gets no vote before it
// has acknowledged something, however short the log is.
func TestPromotedUnheard(t *testing.T) {
	v := parseView("1* 2l")
	v.last = 100
	v.peers[200] = Progress{Active: true, Learner: true}
	wanted := slices.Clone(v.members.List)
	wanted[1].Voter = true
	for name, plan := range map[string]func() ([]statemachine.Member, *Refusal){
		"promote": func() ([]statemachine.Member, *Refusal) { return planPromote(v, 200, 0) },
		"target":  func() ([]statemachine.Member, *Refusal) { return planTarget(v, wanted) },
	} {
		if target, refusal := plan(); refusal == nil || refusal.Why != WhyLagging {
			t.Errorf("%s: %v, %v", name, target, refusal)
		}
	}
	v.peers[200] = Progress{Active: true, Learner: true, Match: 1}
	if target, refusal := planPromote(v, 200, 0); refusal != nil || len(target) != 2 {
		t.Errorf("after its first acknowledgement: %v, %v", target, refusal)
	}
}
