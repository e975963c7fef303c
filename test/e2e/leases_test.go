//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/test/e2e/witness"
)

// Sessions that expire soon, and those that a fault of members is nothing to.
const quick, slow = 6 * time.Second, 40 * time.Second

// An electorate is an election of candidates of one language.
type electorate struct {
	e                *ensemble
	r                *readers
	language, recipe string
	path, lease      string
	timeout          time.Duration
	made             int
	standing         []*candidate
	// before is what the Lease showed when the last one left.
	before witness.Shown
}

// add lets one more stand.
func (x *electorate) add() *candidate {
	x.e.t.Helper()
	x.made++
	began := time.Now()
	c := stand(x.e.t, x.language, strings.Join(x.e.addresses(), ","), x.timeout, x.recipe, x.path, fmt.Sprintf("%s-%d", x.lease, x.made))
	c.said("SESSION", began)
	until(x.e.t, c.name+" stands", func() error {
		names, _, err := x.r.zk.Children(x.path)
		if err == nil && len(names) <= len(x.standing) {
			err = fmt.Errorf("%d stand", len(names))
		}
		return err
	})
	x.standing = append(x.standing, c)
	return c
}

// leave has who leads by the Lease leave, in some way. Of Curator's candidates the
// order is not that in which they came: who loses his connection stands again.
func (x *electorate) leave(how func(*candidate) time.Time) {
	x.e.t.Helper()
	x.before = x.r.last(x.lease)
	i := slices.IndexFunc(x.standing, func(c *candidate) bool { return c.name == x.before.Holder })
	if i < 0 {
		x.e.t.Fatalf("Lease %s: nobody is called %q", x.lease, x.before.Holder)
	}
	how(x.standing[i])
	x.standing = slices.Delete(x.standing, i, i+1)
}

// next waits until another is shown, and thinks so himself.
func (x *electorate) next() {
	x.e.t.Helper()
	s := x.r.lease(x.lease, "another holds", time.Time{}, func(s witness.Shown) error {
		if s.Holder == "" || s.Token <= x.before.Token {
			return fmt.Errorf("%q with token %d, which was %d", s.Holder, s.Token, x.before.Token)
		}
		return nil
	})
	i := slices.IndexFunc(x.standing, func(c *candidate) bool { return c.name == s.Holder })
	if i < 0 {
		x.e.t.Fatalf("Lease %s: nobody is called %q", x.lease, s.Holder)
	}
	x.standing[i].said("LEADS", time.Time{})
}

func (x *electorate) leads() {
	x.e.t.Helper()
	x.r.lease(x.lease, "who leads holds", time.Time{}, holds(x.standing[0].name))
}

// TestLeasesThroughFailover: elections of genuine clients and their nodes, as
// Leases, through failures of everybody who takes part.
func TestLeasesThroughFailover(t *testing.T) {
	e := found(t, 3, patient[:1], func(spec *v1alpha1.CoordinationClusterSpec) {
		spec.Leases = &v1alpha1.LeasesSpec{DurationSeconds: 15, Rules: []v1alpha1.LeaseRule{
			{Name: "elections", Kind: v1alpha1.LeaseElection, Path: "/elect/{who}", LeaseName: "{who}", Holder: v1alpha1.LeaseHolder{From: v1alpha1.HolderData}},
			{Name: "pods", Kind: v1alpha1.LeaseElection, Path: "/pods", LeaseName: "pods", Holder: v1alpha1.LeaseHolder{From: v1alpha1.HolderPod}},
			{Name: "nodes", Kind: v1alpha1.LeaseNode, Path: "/held/*", LeaseName: "held-{name}"},
		}}
	})
	parents := []string{"/elect/go", "/elect/c", "/elect/latch", "/elect/selector", "/pods", "/held"}
	setup := e.load.connect("parents", time.Minute)
	for _, path := range append([]string{"/elect"}, parents...) {
		eventually(t, "create "+path, func() error {
			if _, err := setup.zk.Create(path, nil, 0, anybody); !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
			return nil
		})
	}
	r := e.observe(parents...)
	elections := []*electorate{
		{language: "go", recipe: "elect", lease: "go"}, {language: "c", recipe: "elect", lease: "c"},
		{language: "java", recipe: "elect", lease: "latch"}, {language: "java", recipe: "select", lease: "selector"},
	}
	each := func(what func(x *electorate)) {
		t.Helper()
		for _, x := range elections {
			what(x)
		}
	}
	each(func(x *electorate) {
		x.e, x.r, x.path, x.timeout = e, r, "/elect/"+x.lease, quick
		x.add()
		x.leads()
		x.add()
		// Who is left at the end is to outlast what comes.
		x.timeout = slow
		x.add()
		x.add()
	})
	subjects := map[string]string{}
	holding := map[string]*candidate{}
	for _, l := range languages {
		subjects["/held/"+l] = "/held"
		c := stand(t, l, strings.Join(e.addresses(), ","), slow, "hold", "/held/"+l, l)
		c.said("SESSION", time.Time{})
		holding[l] = c
		r.lease("held-"+l, "its session holds", time.Time{}, holds(c.session()))
	}

	step := func(what string, do func()) {
		t.Helper()
		began := time.Now()
		do()
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
	}
	step("the leading client is killed", func() {
		each(func(x *electorate) { x.leave((*candidate).kill) })
		each((*electorate).next)
	})
	step("the leading client closes", func() {
		each(func(x *electorate) { x.leave((*candidate).close) })
		each((*electorate).next)
		holding["go"].close()
		r.lease("held-go", "goes with its node", time.Time{}, func(s witness.Shown) error {
			if !s.Gone {
				return errors.New("it is there")
			}
			return nil
		})
	})
	if target.local != nil {
		step("the leading member is killed", func() { e.memberKilled(r, elections) })
	}
	step("the operator's pod is deleted", func() { e.operatorDeleted(r) })
	step("the operator is away", func() { e.operatorAway(r, elections) })
	if target.local != nil {
		step("the quorum is lost", func() { e.quorumLost(r, elections) })
		step("a node is lost", func() { e.nodeLost(r) })
	}
	e.settled()
	// Who leads was killed, has closed, and has closed with no operator there.
	r.judge(subjects, 3*len(elections))
	e.conclude()
}

// held are the Leases that somebody holds, as they are shown now.
func (r *readers) held() map[string]witness.Shown {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := map[string]witness.Shown{}
	for lease, list := range r.shown {
		if s := list[len(list)-1]; !s.Gone && s.Holder != "" {
			held[lease] = s
		}
	}
	return held
}

// runOut waits until all have run out, for who follows them by his own clock.
func (r *readers) runOut() {
	r.e.t.Helper()
	for lease := range r.held() {
		until(r.e.t, "Lease "+lease+" has run out", func() error {
			s := r.last(lease)
			if left := time.Until(s.At.Add(s.Duration)); left > 0 {
				return fmt.Errorf("it will in %v", left)
			}
			return nil
		})
	}
}

// lastRenewal is when any was renewed last.
func (r *readers) lastRenewal() (last time.Time) {
	for _, s := range r.held() {
		if s.Renewed.After(last) {
			last = s.Renewed
		}
	}
	return last
}

// renewed waits until every Lease that is held was renewed after a time.
func (r *readers) renewed(after time.Time) time.Time {
	r.e.t.Helper()
	for lease := range r.held() {
		r.lease(lease, "it is renewed", after, func(s witness.Shown) error {
			if !s.Renewed.After(after) {
				return fmt.Errorf("last %v before", after.Sub(s.Renewed))
			}
			return nil
		})
	}
	return time.Now()
}

// same wants the same holders as before. Curator's recipes give their office up when
// they lose their connection, and are not asked.
func same(t *testing.T, r *readers, elections []*electorate) func() {
	t.Helper()
	before := map[string]witness.Shown{}
	for _, x := range elections {
		if x.language != "java" {
			before[x.lease] = r.last(x.lease)
		}
	}
	return func() {
		t.Helper()
		for lease, was := range before {
			if is := r.last(lease); is.Holder != was.Holder || is.Token != was.Token || is.Transitions != was.Transitions {
				t.Errorf("Lease %s has passed from %+v to %+v, and its client was well", lease, was, is)
			}
		}
	}
}

func (e *ensemble) memberKilled(r *readers, elections []*electorate) {
	e.t.Helper()
	unchanged := same(e.t, r, elections)
	leader, from := e.leader(), time.Now()
	if err := target.local.KillContainer(e.t.Context(), e.pod(leader), "server"); err != nil {
		e.t.Fatal(err)
	}
	e.anotherLeads(leader)
	r.window(witness.Change, "a leader is killed", from, r.renewed(time.Now()))
	unchanged()
	e.settled()
}

func (e *ensemble) operatorDeleted(r *readers) {
	e.t.Helper()
	from := time.Now()
	if _, err := kubectl(system, "delete", "pod", operatorPod(e.t)); err != nil {
		e.t.Fatal(err)
	}
	w := r.window(witness.Gap, "the operator is made anew", from, r.renewed(time.Now()))
	e.t.Logf("the operator was deleted, and all Leases were renewed %v later", w.To.Sub(w.From).Round(time.Millisecond))
}

// operatorAway: for longer than Leases last, and somebody takes over meanwhile.
func (e *ensemble) operatorAway(r *readers, elections []*electorate) {
	e.t.Helper()
	scale := func(n int) {
		if _, err := kubectl(system, "scale", "deployment/conclave-operator", fmt.Sprintf("--replicas=%d", n)); err != nil {
			e.t.Error(err)
		}
	}
	e.t.Cleanup(func() { scale(1) })
	began := time.Now()
	scale(0)
	operatorGone(e.t)
	from := time.Now()
	for _, x := range elections {
		x.leave((*candidate).close)
	}
	for _, x := range elections {
		x.standing[0].said("LEADS", from)
	}
	r.runOut()
	to := time.Now()
	scale(1)
	for _, x := range elections {
		x.r.lease(x.lease, "the next holds", to, holds(x.standing[0].name))
	}
	r.window(witness.Silence, "the operator is away", from, to)
	r.window(witness.Gap, "the operator comes back", began, r.renewed(to))
}

// quorumLost: nobody knows who holds what; nothing is said until somebody does.
func (e *ensemble) quorumLost(r *readers, elections []*electorate) {
	e.t.Helper()
	e.t.Cleanup(func() {
		if err := target.local.Heal(context.Background()); err != nil {
			e.t.Error(err)
		}
	})
	unchanged := same(e.t, r, elections)
	var cut sync.WaitGroup
	began := time.Now()
	for _, pod := range e.followers() {
		cut.Go(func() {
			if err := target.local.CutPod(e.t.Context(), e.pod(pod)); err != nil {
				e.t.Error(err)
			}
		})
	}
	cut.Wait()
	e.becomes("Leases are not said to follow", func(cc *v1alpha1.CoordinationCluster) error {
		const kind = v1alpha1.ConditionLeasesSynced
		if frozen := has(cc, kind, "False/"+v1alpha1.ReasonFrozen); frozen != nil && has(cc, kind, "False/"+v1alpha1.ReasonConnecting) != nil {
			return frozen
		}
		return nil
	})
	doubted := time.Now()
	e.becomes("Leases are frozen", func(cc *v1alpha1.CoordinationCluster) error {
		return has(cc, v1alpha1.ConditionLeasesSynced, "False/"+v1alpha1.ReasonFrozen)
	})
	from := time.Now()
	e.t.Logf("Leases are said to be old %v after the quorum was lost, and to be Frozen %v after", doubted.Sub(began).Round(time.Millisecond), from.Sub(began).Round(time.Millisecond))
	e.t.Logf("the last renewal was %v after that", r.lastRenewal().Sub(began).Round(time.Millisecond))
	r.runOut()
	to := time.Now()
	if err := target.local.Heal(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	end := r.renewed(to)
	r.window(witness.Silence, "there is no quorum", from, to)
	r.window(witness.Gap, "the quorum is lost and back", began, end)
	unchanged()
	e.settled()
}

// nodeLost: a node is lost with the pod that leads an election, and a member.
func (e *ensemble) nodeLost(r *readers) {
	e.t.Helper()
	operatorOn := operatorNode(e.t)
	e.inPods("voter", 2, quick, "elect", "/pods", fmt.Sprintf(`{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [%s]}]}]}}, podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: voter}}}]}}`, operatorOn))
	pods := strings.Fields(e.must("get", "pods", "--selector=app=voter", "--output=jsonpath={.items[*].metadata.name}"))
	if len(pods) != 2 {
		e.t.Fatalf("the voters: %q", pods)
	}
	until(e.t, "both stand", func() error {
		names, _, err := r.zk.Children("/pods")
		if err == nil && len(names) != 2 {
			err = fmt.Errorf("%d do", len(names))
		}
		return err
	})
	held := r.lease("pods", "a pod holds", time.Time{}, func(s witness.Shown) error {
		if s.Holder != e.namespace+"/"+pods[0] && s.Holder != e.namespace+"/"+pods[1] {
			return fmt.Errorf("%q holds, and the pods are %q", s.Holder, pods)
		}
		return nil
	})
	leads := strings.TrimPrefix(held.Holder, e.namespace+"/")
	heir := pods[0]
	if heir == leads {
		heir = pods[1]
	}
	node := e.node(leads)
	from := time.Now()
	if err := target.local.StopNode(e.t.Context(), node); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := target.local.StartNode(context.Background(), node); err != nil && !strings.Contains(err.Error(), "runs") {
			e.t.Log(err)
		}
	})
	s := r.lease("pods", "the other pod holds", from, holds(e.namespace+"/"+heir))
	e.t.Logf("%s was lost, and the other pod shown as the holder %v later", node, s.At.Sub(from).Round(time.Millisecond))
	if err := target.local.StartNode(e.t.Context(), node); err != nil {
		e.t.Fatal(err)
	}
	e.settled()
	r.window(witness.Change, "a node is lost, perhaps with the leader", from, s.At)
}
