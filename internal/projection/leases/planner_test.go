package leases

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

var (
	nodeRule     = Rule{Name: "node", Kind: Node, Path: "/n/{x}", LeaseName: "n-{x}"}
	electionRule = Rule{Name: "election", Kind: Election, Path: "/e/{x}", LeaseName: "e-{x}", Holder: FromData}
)

func TestNodeLife(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.create("/n/a", 0xabc, "")
	made, czxid := w.now, w.zxid
	w.run(100 * time.Millisecond)
	l := w.objects["n-a"]
	if l == nil {
		t.Fatal("no Lease")
	}
	s := l.Spec
	if *s.HolderIdentity != "0xabc" || *s.LeaseTransitions != 0 || *s.LeaseDurationSeconds != 60 || !s.AcquireTime.Time.Equal(made) || s.RenewTime.Time.Before(made) {
		t.Errorf("spec %v", s)
	}
	for k, v := range map[string]string{
		AnnotationPath: "/n/a", AnnotationHolderPath: "/n/a", AnnotationSession: "0xabc", AnnotationCzxid: zxidText(czxid),
		AnnotationFencingToken: fmt.Sprint(czxid), AnnotationHolderFrom: "Session", AnnotationClusterID: "abc",
	} {
		if l.Annotations[k] != v {
			t.Errorf("%s is %q, want %q", k, l.Annotations[k], v)
		}
	}
	if l.Labels[LabelCluster] != "main" || l.Labels[LabelRule] != "node" || l.Labels["app.kubernetes.io/managed-by"] != "conclave-operator" || !slices.Equal(l.OwnerReferences, slices.Insert(l.OwnerReferences[:0:0], 0, owner)) {
		t.Errorf("labels %v, owners %v", l.Labels, l.OwnerReferences)
	}
	// It is renewed three times a duration, and keeps everything else.
	w.run(time.Minute)
	after := w.objects["n-a"]
	if n := len(w.issued["renewed"]); n < 2 || n > 4 {
		t.Errorf("%d renewals in a minute", n)
	}
	if !after.Spec.AcquireTime.Equal(s.AcquireTime) || *after.Spec.LeaseTransitions != 0 || !after.Spec.RenewTime.After(s.RenewTime.Time) {
		t.Errorf("after a minute: %v", after.Spec)
	}
	w.remove("/n/a")
	w.run(100 * time.Millisecond)
	w.wantHolder("n-a", "none")
	if len(w.planner.entries) != 0 {
		t.Errorf("%d entries are left", len(w.planner.entries))
	}
}

func TestElectionLife(t *testing.T) {
	w := newWorld(t, 1, electionRule)
	a := w.candidate("/e/x", "_c_1-latch-", 1, "alice")
	b := w.candidate("/e/x", "_c_0-latch-", 2, "bob")
	w.candidate("/e/x", "_c_9-latch-", 3, "carol")
	w.create("/e/x/config", 4, "nobody")
	w.run(100 * time.Millisecond)
	w.wantHolder("e-x", "alice")
	first := w.objects["e-x"]
	w.remove(a)
	w.run(300 * time.Millisecond)
	w.wantHolder("e-x", "bob")
	second := w.objects["e-x"]
	if *second.Spec.LeaseTransitions != 1 || !second.Spec.AcquireTime.After(first.Spec.AcquireTime.Time) || token(second) <= token(first) || second.UID != first.UID {
		t.Errorf("after the first: %v", second)
	}
	// Everybody goes in one transaction: nobody was in between.
	w.remove(slices.DeleteFunc(slices.Collect(maps.Keys(w.nodes)), func(p string) bool { return p == "/e/x/config" })...)
	w.run(300 * time.Millisecond)
	l := w.objects["e-x"]
	if *l.Spec.HolderIdentity != "" || *l.Spec.LeaseDurationSeconds != 1 || *l.Spec.LeaseTransitions != 1 || l.Annotations[AnnotationSession] != "" || l.Annotations[AnnotationCzxid] != "" {
		t.Errorf("without candidates: %v", l)
	}
	before := len(w.issued["renewed"])
	w.run(2 * time.Minute)
	if n := len(w.issued["renewed"]); n != before {
		t.Errorf("nobody's Lease was renewed %d times", n-before)
	}
	// An operator that comes anew knows it by its Lease alone.
	w.stop()
	w.start()
	w.run(time.Second)
	w.wantHolder("e-x", "")
	w.candidate("/e/x", "_c_5-latch-", 5, "dave")
	w.run(300 * time.Millisecond)
	w.wantHolder("e-x", "dave")
	if l := w.objects["e-x"]; *l.Spec.LeaseTransitions != 2 || token(l) <= token(second) {
		t.Errorf("a new leader: %v", l)
	}
	_ = b
}

// What changes faster than it can be written is counted all the same.
func TestHandoversInBetween(t *testing.T) {
	w := newWorld(t, 1, electionRule)
	var paths []string
	for i := range 5 {
		paths = append(paths, w.candidate("/e/x", "lock-", uint64(i+1), fmt.Sprint("c", i)))
	}
	w.run(time.Second)
	for _, p := range paths[:4] {
		w.remove(p)
	}
	w.run(time.Second)
	w.wantHolder("e-x", "c4")
	if n := *w.objects["e-x"].Spec.LeaseTransitions; n != 4 {
		t.Errorf("%d transitions, want 4", n)
	}
	if n := len(w.issued["holder"]); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

// The token rises even where the czxid falls.
func TestTokenRises(t *testing.T) {
	w := newWorld(t, 1, electionRule)
	var last int64
	rose := func(what string) {
		t.Helper()
		w.run(time.Second)
		if got := token(w.objects["e-x"]); got <= last {
			t.Errorf("%s: token %d after %d", what, got, last)
		}
		last = token(w.objects["e-x"])
	}
	b := w.candidate("/e/x", "n-", 1, "b")
	rose("the first")
	w.create("/e/x/n-0000000000", 2, "a")
	rose("a lower one, by hand")
	w.wantHolder("e-x", "a")
	w.remove("/e/x/n-0000000000")
	rose("which is gone")
	w.wantHolder("e-x", "b")
	w.setData(b, "c")
	rose("other data")
	w.wantHolder("e-x", "c")
	if n := *w.objects["e-x"].Spec.LeaseTransitions; n != 3 {
		t.Errorf("%d transitions, want 3", n)
	}
}

func TestPodIdentity(t *testing.T) {
	w := newWorld(t, 1, Rule{Name: "pod", Kind: Node, Path: "/n/*", LeaseName: "n-{name}", Holder: FromPod})
	w.pods[1] = "shop/cart-0"
	w.create("/n/a", 1, "")
	w.create("/n/b", 2, "")
	w.run(100 * time.Millisecond)
	w.wantHolder("n-a", "shop/cart-0")
	w.wantHolder("n-b", "none")
	// It waits a moment for the pod, and then does without, until it is known.
	w.run(600 * time.Millisecond)
	w.wantHolder("n-b", "0x2")
	before := w.objects["n-b"]
	w.run(500 * time.Millisecond)
	w.pods[1], w.pods[2] = "shop/cart-1", "shop/cart-2"
	w.run(1500 * time.Millisecond)
	w.wantHolder("n-a", "shop/cart-0")
	w.wantHolder("n-b", "shop/cart-2")
	// It is a name, and nothing was handed over.
	after := w.objects["n-b"]
	if *after.Spec.LeaseTransitions != 0 || token(after) != token(before) || !after.Spec.AcquireTime.Equal(before.Spec.AcquireTime) {
		t.Errorf("%+v %+v, and before it had its name %+v %+v", after.Annotations, after.Spec, before.Annotations, before.Spec)
	}
	w.pods[1], w.pods[2] = "shop/cart-0", "shop/cart-3"
	w.run(2 * time.Minute)
	w.wantHolder("n-b", "shop/cart-2")
	w.pods[2] = "shop/cart-2"
	w.stop()
	w.start()
	w.run(2 * time.Minute)
	w.wantHolder("n-a", "shop/cart-0")
	w.wantHolder("n-b", "shop/cart-2")
	if n := *w.objects["n-b"].Spec.LeaseTransitions; n != 0 {
		t.Errorf("%d transitions", n)
	}
	// One that is late is named when it is renewed.
	w.create("/n/c", 3, "")
	w.run(nameable + 10*time.Second)
	w.wantHolder("n-c", "0x3")
	w.pods[3] = "shop/cart-9"
	w.run(time.Minute)
	w.wantHolder("n-c", "shop/cart-9")
}

func TestByHand(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.create("/n/a", 1, "")
	w.run(time.Second)
	mallory := "mallory"
	for what, change := range map[string]func(l *coordinationv1.Lease){
		"holder":      func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &mallory },
		"no renewal":  func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil },
		"token":       func(l *coordinationv1.Lease) { l.Annotations[AnnotationFencingToken] = "1" },
		"annotations": func(l *coordinationv1.Lease) { l.Annotations = nil },
		"label":       func(l *coordinationv1.Lease) { delete(l.Labels, LabelCluster) },
		"owner":       func(l *coordinationv1.Lease) { l.OwnerReferences = nil },
		"preferred":   func(l *coordinationv1.Lease) { l.Spec.PreferredHolder = &mallory },
	} {
		w.edit("n-a", change)
		w.run(time.Second)
		l := w.objects["n-a"]
		if !w.planner.ours(l) || *l.Spec.HolderIdentity != "0x1" || token(l) != w.nodes["/n/a"].Czxid || l.Spec.RenewTime == nil || l.Spec.PreferredHolder != nil {
			t.Errorf("%s was not restored: %v", what, l)
		}
	}
	// What others add is theirs.
	w.edit("n-a", func(l *coordinationv1.Lease) { l.Annotations["example.com/x"] = "y" })
	before := len(w.issued["restored"])
	w.run(time.Second)
	if n := len(w.issued["restored"]); n != before {
		t.Error("somebody's annotation was taken for an edit of ours")
	}
	w.erase("n-a")
	w.run(time.Second)
	w.wantHolder("n-a", "0x1")
	if l := w.objects["n-a"]; *l.Spec.LeaseTransitions != 0 || token(l) != w.nodes["/n/a"].Czxid {
		t.Errorf("restored as another: %v", l)
	}
}

func TestNameConflicts(t *testing.T) {
	w := newWorld(t, 1, Rule{Name: "r", Kind: Node, Path: "/n/{x}/*", LeaseName: "n-{x}"}, nodeRule)
	// Somebody else's object, with our label but not our owner.
	theirs := &coordinationv1.Lease{}
	theirs.Name, theirs.UID, theirs.Labels = "n-a", "theirs", map[string]string{LabelCluster: "main", LabelRule: "r"}
	w.put(theirs)
	w.create("/n/a", 1, "")
	w.run(10 * time.Second)
	if l := w.objects["n-a"]; l.UID != "theirs" || l.ResourceVersion != "1" {
		t.Fatalf("touched: %v", l)
	}
	s := w.planner.Status(w.now)
	if s.Conflicts != 1 || s.Mirrored != 0 || s.Rules[1].Conflicts != 1 || !strings.Contains(s.Rules[1].Message, "Lease n-a exists, and is not") {
		t.Errorf("status %+v", s)
	}
	if n := len(w.issued["new"]); n > 2 {
		t.Errorf("%d attempts within ten seconds", n)
	}
	// It goes: then the name is ours.
	w.erase("n-a")
	w.run(2 * time.Minute)
	w.wantHolder("n-a", "0x1")

	// Two paths with one name: neither has it.
	w.create("/n/a/1", 2, "")
	w.run(time.Second)
	w.wantHolder("n-a", "none")
	s = w.planner.Status(w.now)
	if s.Conflicts != 1 || !strings.Contains(s.Rules[0].Message, "Lease n-a is wanted by /n/a (rule node) and by /n/a/1 (rule r)") {
		t.Errorf("status %+v", s)
	}
	w.remove("/n/a")
	w.run(time.Second)
	w.wantHolder("n-a", "0x2")
	if s = w.planner.Status(w.now); s.Conflicts != 0 || s.Mirrored != 1 || s.Pending != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestTruncated(t *testing.T) {
	w := newWorld(t, 1, nodeRule, electionRule)
	w.settings.Max = 3
	w.planner.Settings(w.settings, w.mirror, w.now)
	for _, x := range []string{"e", "d", "c", "b", "a"} {
		w.create("/n/"+x, 1, "")
	}
	w.run(time.Second)
	names := func() string { return strings.Join(slices.Sorted(maps.Keys(w.objects)), " ") }
	// The oldest have a place.
	if got := names(); got != "n-c n-d n-e" {
		t.Fatal(got)
	}
	if s := w.planner.Status(w.now); s.Truncated != 2 || s.Mirrored != 3 {
		t.Errorf("status %+v", s)
	}
	w.remove("/n/d")
	w.run(time.Second)
	if got := names(); got != "n-b n-c n-e" {
		t.Fatal(got)
	}
	// Whoever has a place keeps it, for a new operator too, though others are older.
	w.create("/n/e", 1, "")
	w.stop()
	w.start()
	w.run(time.Second)
	if got := names(); got != "n-b n-c n-e" {
		t.Fatal(got)
	}
	// An election that has nobody makes room.
	w.remove("/n/e", "/n/a")
	c := w.candidate("/e/x", "n-", 1, "x")
	w.run(time.Second)
	if got := names(); got != "e-x n-b n-c" {
		t.Fatal(got)
	}
	w.remove(c)
	w.run(time.Second)
	w.wantHolder("e-x", "")
	w.create("/n/z", 1, "")
	w.run(2 * time.Second)
	if got := names(); got != "n-b n-c n-z" {
		t.Fatal(got)
	}
	w.settings.Max = 1
	w.planner.Settings(w.settings, w.mirror, w.now)
	w.run(3 * time.Second)
	if len(w.objects) != 1 {
		t.Errorf("there are %s, of at most 1", names())
	}
}

func TestRulesChange(t *testing.T) {
	w := newWorld(t, 1, nodeRule, electionRule)
	w.create("/n/a", 1, "data-a")
	c := w.candidate("/e/x", "n-", 1, "x")
	w.candidate("/e/y", "n-", 1, "y")
	w.run(time.Second)
	w.remove(c)
	w.run(time.Second)
	// Labels, and whom the holder is named after.
	labelled := nodeRule
	labelled.Labels, labelled.Holder = map[string]string{"team": "a"}, FromData
	set := func(rules ...Rule) {
		t.Helper()
		rs, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		w.settings.Rules = rs
		w.planner.Settings(w.settings, w.mirror, w.now)
		w.run(3 * time.Second)
	}
	set(labelled, electionRule)
	w.wantHolder("n-a", "data-a")
	w.wantHolder("e-x", "")
	w.wantHolder("e-y", "y")
	if l := w.objects["n-a"]; l.Labels["team"] != "a" || *l.Spec.LeaseTransitions != 1 {
		t.Errorf("%v", l)
	}
	labelled.Labels = map[string]string{"team": "b"}
	set(labelled, electionRule)
	if l := w.objects["n-a"]; l.Labels["team"] != "b" || *l.Spec.LeaseTransitions != 1 {
		t.Errorf("%v", l)
	}
	// Without a quorum too, what nobody selects goes; nothing else happens.
	w.quorum = false
	w.run(2 * time.Second)
	w.remove("/n/a")
	set(labelled)
	if got := slices.Sorted(maps.Keys(w.objects)); fmt.Sprint(got) != "[n-a]" {
		t.Errorf("%v", got)
	}
}

func TestFrozen(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.create("/n/a", 1, "")
	w.create("/n/b", 1, "")
	w.run(time.Second)
	w.quorum = false
	w.run(2 * time.Second)
	at, before := w.objects["n-a"].Spec.RenewTime, w.version
	w.remove("/n/a")
	w.erase("n-b")
	w.run(3 * time.Minute)
	if w.version != before || !w.objects["n-a"].Spec.RenewTime.Equal(at) || w.planner.Status(w.now).State.String() != "Frozen" {
		t.Fatal("something was written without a quorum")
	}
	w.quorum = true
	w.run(3 * time.Second)
	w.wantHolder("n-a", "none")
	w.wantHolder("n-b", "0x1")
}

// What runs out in bulk is renewed faster than in turn.
func TestThaw(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	for i := range 300 {
		w.create(fmt.Sprintf("/n/%d", i), 1, "")
	}
	w.run(10 * time.Second)
	w.cutOff()
	w.run(5 * time.Minute)
	w.connect()
	thawed := w.now
	w.run(6 * time.Second)
	for name, l := range w.objects {
		if l.Spec.RenewTime.Time.Before(thawed) {
			t.Errorf("%s has run out", name)
		}
	}
}

// Fewer Leases are renewed more often, and more again less; none is forgotten.
func TestCountsChange(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.settings.Max = 20000
	w.planner.Settings(w.settings, w.mirror, w.now)
	for i := range 100 {
		w.create(fmt.Sprintf("/n/%d", i), 1, "")
	}
	w.run(time.Minute)
	for range 3 {
		for i := range 2000 {
			w.create(fmt.Sprintf("/n/more%d", i), 1, "")
		}
		w.run(3 * time.Minute)
		if d := w.planner.Duration(); d < 2*time.Minute {
			t.Errorf("2100 Leases last for %v", d)
		}
		for i := range 2000 {
			w.remove(fmt.Sprintf("/n/more%d", i))
		}
		w.run(2 * time.Minute)
		for name, l := range w.objects {
			if age := w.now.Sub(l.Spec.RenewTime.Time); age > 25*time.Second || *l.Spec.LeaseDurationSeconds != 60 {
				t.Fatalf("%s was renewed %v ago for %ds", name, age, *l.Spec.LeaseDurationSeconds)
			}
		}
		w.run(time.Second)
	}
}

// Fewer, and at once more again: what was to be renewed sooner is not forgotten.
func TestCountsChangeQuickly(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.settings.Max = 20000
	w.planner.Settings(w.settings, w.mirror, w.now)
	all := func(do func(path string)) {
		for i := range 4000 {
			do(fmt.Sprintf("/n/more%d", i))
		}
	}
	for i := range 100 {
		w.create(fmt.Sprintf("/n/%d", i), 1, "")
	}
	make4000 := func() { all(func(p string) { w.create(p, 1, "") }) }
	make4000()
	w.run(6 * time.Minute)
	all(func(p string) { w.remove(p) })
	w.run(time.Second)
	make4000()
	for range 10 {
		w.run(time.Minute)
		for name, l := range w.objects {
			if w.now.Sub(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second {
				t.Fatalf("%s has run out", name)
			}
		}
	}
}

// What a watch shows late is no edit by hand.
func TestLateWatch(t *testing.T) {
	w := newWorld(t, 1, electionRule)
	w.delay = time.Second
	for i := range 20 {
		w.candidate("/e/x", "n-", uint64(i+1), fmt.Sprint("c", i))
	}
	w.run(time.Second)
	for _, p := range slices.Sorted(maps.Keys(w.nodes))[:19] {
		w.remove(p)
		w.run(300 * time.Millisecond)
	}
	w.run(3 * time.Second)
	w.wantHolder("e-x", "c19")
	if n := len(w.issued["restored"]); n > 0 {
		t.Errorf("%d times restored, and nobody had touched it", n)
	}
}

// An operator that learns only from a refused write that there is a Lease of its
// cluster's goes on with it.
func TestUnseenLease(t *testing.T) {
	w := newWorld(t, 1, nodeRule)
	w.create("/n/a", 1, "")
	w.run(time.Second)
	before := w.objects["n-a"]
	w.stop()
	delete(w.objects, "n-a")
	w.start()
	w.objects["n-a"] = before
	w.run(2 * time.Second)
	after := w.objects["n-a"]
	if after.UID != before.UID || *after.Spec.LeaseTransitions != 0 || !after.Spec.AcquireTime.Equal(before.Spec.AcquireTime) || token(after) != token(before) {
		t.Errorf("%v after %v", after, before)
	}
}

// Ten thousand Leases are to take little of the operator's 150 MiB.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	w := newWorld(t, 1, electionRule)
	w.settings.Max = 20000
	w.planner.Settings(w.settings, w.mirror, w.now)
	w.issued = map[string][]time.Time{}
	for i := range 10000 {
		w.candidate(fmt.Sprintf("/e/some-service-%05d", i), "_c_4f8a3b-lock-", uint64(i), fmt.Sprint("instance-", i))
	}
	w.run(2 * time.Minute)
	if len(w.objects) != 10000 {
		t.Fatalf("%d Leases", len(w.objects))
	}
	// What the API server and the ensemble have is not the planner's, nor is what the
	// mirror has.
	w.objects, w.nodes, w.issued, w.watch, w.told = nil, nil, nil, nil, nil
	with := heap()
	runtime.KeepAlive(w.planner)
	w.planner, w.budget = nil, nil
	without := heap()
	runtime.KeepAlive(w.mirror)
	t.Logf("%d KiB", (with-without)>>10)
	if with-without > 24<<20 {
		t.Errorf("the planner takes %d KiB", (with-without)>>10)
	}
}
