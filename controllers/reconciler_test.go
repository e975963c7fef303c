package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/pki"
	"github.com/conclave-dev/conclave/internal/resources"
)

func TestCreate(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 1))
	g.settle(100)
	g.healthy()
	c := g.cluster()
	if c.Status.Image != "conclave:1" || c.Status.Bootstrap == nil || !c.Status.Bootstrap.Succeeded || c.Status.ClusterID != c.Status.Bootstrap.ClusterID || c.Status.Leader != "zoo-0" {
		t.Errorf("%+v", c.Status)
	}
	if c.Status.Rollout != nil || strings.Contains(strings.Join(g.events, "\n"), "RolledOut") {
		t.Errorf("nobody was restarted, and the account of a roll is %+v", c.Status.Rollout)
	}
	for _, kind := range v1alpha1.Conditions() {
		got := g.condition(kind)
		if got.ObservedGeneration != 1 || !strings.Contains(strings.Join(v1alpha1.Reasons(kind), " "), got.Reason) {
			t.Errorf("%+v", got)
		}
	}
	// It is a founding, and no change of mind; and what follows from a step is told
	// after it.
	story := strings.Join(g.events, "\n")
	t.Log(story)
	for _, not := range []string{"SpecChanged", "ServingAlone", "1 members", "1 observers"} {
		if strings.Contains(story, not) {
			t.Errorf("the story of a founding has %q", not)
		}
	}
	last := -1
	for _, step := range []string{"Creating SetPods", "Founding LatchBootstrap", "Founding Bootstrap", "Founded LatchEnsemble", "Serving Available", "ScalingUp LatchTarget", "ScalingUp AddLearner"} {
		at := strings.Index(story, step)
		if at <= last {
			t.Errorf("%q is not told, or not in its turn", step)
		}
		last = at
	}
}

// The target is of a generation once all of it is from there, size and hash.
func TestTargetsGeneration(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	want := func() {
		t.Helper()
		if c := g.cluster(); c.Status.Target.Generation != c.Generation {
			t.Errorf("target of generation %d, and the spec is %d", c.Status.Target.Generation, c.Generation)
		}
	}
	want()
	for _, edit := range []func(*v1alpha1.CoordinationCluster){image("conclave:2"), size(5, 0), func(c *v1alpha1.CoordinationCluster) { c.Spec.Paused = true; image("conclave:3")(c) }} {
		was := g.cluster().Status.Target.Generation
		g.edit(edit)
		if g.cluster().Spec.Paused {
			g.pass()
			if got := g.cluster().Status.Target.Generation; got != was {
				t.Errorf("while it is paused: target of generation %d", got)
			}
			g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Paused = false })
		}
		g.settle(300)
		want()
	}
}

// Every decision has its line in the log, and what rests has none.
func TestLog(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	wants := func(words ...string) {
		t.Helper()
		lines := strings.Join(g.lines, "\n")
		for _, w := range words {
			if !strings.Contains(lines, w) {
				t.Errorf("nothing is logged of %s:\n%s", w, lines)
			}
		}
		g.lines = nil
	}
	g.settle(300)
	wants(`"reason"="Founded"`, `"action"="Promote" "member"="zoo-2" "memberID"="103"`, `"reason"="CertificateIssued"`, `"reason"="Quorum"`)
	for range 5 {
		g.tick()
		g.pass()
	}
	if len(g.lines) != 0 {
		t.Errorf("logged of what rests: %q", g.lines)
	}
	g.edit(image("conclave:2"))
	g.settle(300)
	wants("restarted one by one", `pod zoo-1 is restarted on the new revision`, `3 members were restarted; 0 sessions expired`)
	g.edit(size(1, 0))
	g.settle(300)
	wants(`"action"="Remove" "member"="zoo-2"`)
}

// A revision that somebody deletes is rendered anew, and it is said: another version
// of the operator might render another one.
func TestRevisionIsDeleted(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	was := g.pods()
	if story := strings.Join(g.events, "\n"); strings.Contains(story, "RevisionLost") {
		t.Errorf("of a founding: %s", story)
	}
	name := resources.RevisionName(g.cluster(), g.cluster().Status.Target.Hash)
	m := &corev1.ConfigMap{}
	m.Namespace, m.Name = key.Namespace, name
	g.must(g.api.Delete(context.Background(), m))
	g.settle(50)
	if story := strings.Join(g.events, "\n"); strings.Count(story, "Warning RevisionLost RenderRevision: ConfigMap "+name) != 1 {
		t.Error(story)
	}
	g.must(g.api.Get(context.Background(), client.ObjectKeyFromObject(m), m))
	if is := g.pods(); fmt.Sprint(is) != fmt.Sprint(was) {
		t.Errorf("pods %v, were %v", is, was)
	}
	g.healthy()
}

// If another version had rendered it, and pods of it differ, they are restarted one by
// one, as after an edit.
func TestRevisionIsDeletedThatAnotherVersionRendered(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	g.create(size(3, 0))
	for g.cluster().Status.Target == nil || len(g.pods()) < 3 {
		g.tick()
		g.pass()
		var all corev1.ConfigMapList
		g.must(g.api.List(ctx, &all, client.InNamespace(key.Namespace)))
		for i := range all.Items {
			m := &all.Items[i]
			if pods := m.Data["pods.json"]; !strings.Contains(pods, `"hostname":"theirs"`) {
				m.Data["pods.json"] = strings.ReplaceAll(pods, `"spec":{`, `"spec":{"hostname":"theirs",`)
				g.must(g.api.Update(ctx, m))
			}
		}
	}
	g.settle(300)
	was, mark := g.pods(), len(g.log)
	g.steady = true
	m := &corev1.ConfigMap{}
	m.Namespace, m.Name = key.Namespace, resources.RevisionName(g.cluster(), g.cluster().Status.Target.Hash)
	g.must(g.api.Delete(ctx, m))
	g.settle(300)
	g.healthy()
	at := -1
	for _, step := range []string{"Drain zoo-2", "StatefulSet deletes zoo-2", "Drain zoo-1", "StatefulSet deletes zoo-1", "TransferLeadership zoo-0", "Drain zoo-0", "StatefulSet deletes zoo-0"} {
		i := slices.IndexFunc(g.log[mark:], func(line string) bool { return strings.HasSuffix(line, step) })
		if i <= at {
			t.Fatalf("%q did not happen, or not in its turn, pods were %v:\n%s", step, was, strings.Join(g.log[mark:], "\n"))
		}
		at = i
	}
	if got := g.partition(); got != 0 {
		t.Errorf("partition %d at the end", got)
	}
}

// Another version of the operator restarts nobody: neither where the image was
// left to it, nor where it would render pods in another way.
func TestAnotherOperatorRestartsNobody(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 1))
	g.settle(300)
	was := g.pods()
	g.restart()
	g.r.Image = "conclave:99"
	g.settle(50)
	if is := g.pods(); fmt.Sprint(is) != fmt.Sprint(was) || g.cluster().Status.Image != "conclave:1" {
		t.Errorf("pods %v, were %v; image %s", is, was, g.cluster().Status.Image)
	}
	g.healthy()
}

// While it is paused, nothing is changed, and everything is shown.
func TestPaused(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	g.edit(func(c *v1alpha1.CoordinationCluster) { size(5, 0)(c); c.Spec.Paused = true })
	for range 10 {
		g.tick()
		g.pass()
	}
	if c := g.condition(v1alpha1.ConditionProgressing); c.Reason != v1alpha1.ReasonPaused || !strings.Contains(c.Message, "5 voters") {
		t.Errorf("%+v", c)
	}
	g.deletePod("zoo-2")
	g.world.Stop("zoo-2")
	g.pass()
	if c := g.condition(v1alpha1.ConditionDegraded); c.Reason != v1alpha1.ReasonMemberDown {
		t.Errorf("%+v", c)
	}
	s := &appsv1.StatefulSet{}
	g.must(g.api.Get(context.Background(), key, s))
	if *s.Spec.Replicas != 3 {
		t.Errorf("%d pods", *s.Spec.Replicas)
	}
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Paused = false })
	g.settle(300)
	g.healthy()
}

// The resource is deleted and made again over the volumes: it is the old ensemble,
// and as large as it was before it becomes as large as it is to be.
func TestMadeAgainOverKeptVolumes(t *testing.T) {
	g := newRig(t)
	g.create(size(5, 0))
	g.settle(300)
	id := g.cluster().Status.ClusterID
	g.deleteEverythingButVolumes()
	g.fresh += 100
	g.create(size(1, 0))
	g.settle(300)
	g.healthy()
	if c := g.cluster(); c.Status.ClusterID != id || !c.Status.Bootstrap.Adopted || c.Status.Bootstrap.MemberID != "" {
		t.Errorf("%+v, was %s", c.Status.Bootstrap, id)
	}
}

// What somebody changes by hand is changed back; what is somebody else's is left
// alone, and said.
func TestDriftAndNames(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "zoo-members"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}}
	g.must(g.api.Create(ctx, theirs))
	g.create(size(3, 0))
	for range 5 {
		g.tick()
		g.pass()
	}
	if c := g.condition(v1alpha1.ConditionProgressing); c.Reason != v1alpha1.ReasonNameTaken || !strings.Contains(c.Message, "Service zoo-members") {
		t.Fatalf("%+v", c)
	}
	g.must(g.api.Delete(ctx, theirs))
	g.settle(300)
	g.healthy()

	s := &appsv1.StatefulSet{}
	g.must(g.api.Get(ctx, key, s))
	was := s.Spec.Template.Spec.Containers[0].Image
	s.Spec.Replicas, s.Spec.Template.Spec.Containers[0].Image = ptr.To[int32](1), "another"
	g.must(g.api.Update(ctx, s))
	service := &corev1.Service{}
	g.must(g.api.Get(ctx, key, service))
	g.must(g.api.Delete(ctx, service))
	g.pass()
	g.settle(300)
	g.must(g.api.Get(ctx, key, s))
	if *s.Spec.Replicas != 3 || s.Spec.Template.Spec.Containers[0].Image != was {
		t.Errorf("%d replicas of %s", *s.Spec.Replicas, s.Spec.Template.Spec.Containers[0].Image)
	}
	g.must(g.api.Get(ctx, key, service))
	g.healthy()
}

// Somebody else's budget of our name is left alone and said, and holds up nothing: the
// ensemble is founded, and a lost member replaced.
func TestNameOfNoConsequence(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	theirs := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	g.must(g.api.Create(ctx, theirs))
	was := theirs.ResourceVersion
	said := func() {
		t.Helper()
		g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonNameTaken, 300)
		g.healthyBut(v1alpha1.ReasonNameTaken)
		if c := g.condition(v1alpha1.ConditionProgressing); !strings.Contains(c.Message, "PodDisruptionBudget zoo exists") || !strings.Contains(c.Message, "all else is as the spec says") {
			t.Errorf("%+v", c)
		}
		if c := g.condition(v1alpha1.ConditionAvailable); c.Status != metav1.ConditionTrue {
			t.Errorf("%+v", c)
		}
	}
	g.create(size(3, 0))
	said()
	g.world.LoseVolume("zoo-2")
	g.deletePod("zoo-2")
	replaced := func() bool {
		return slices.ContainsFunc(g.world.Orders, func(o string) bool { return o == "Promote(server.3, 104)" })
	}
	for range 100 {
		if replaced() {
			break
		}
		g.tick()
		g.pass()
	}
	if !replaced() {
		t.Fatalf("the lost member is not replaced: %v", g.world.Orders)
	}
	said()
	g.must(g.api.Get(ctx, key, theirs))
	if theirs.ResourceVersion != was {
		t.Errorf("it was changed: %+v", theirs)
	}
	g.must(g.api.Delete(ctx, theirs))
	g.settle(300)
	g.must(g.api.Get(ctx, key, theirs))
	if !metav1.IsControlledBy(theirs, g.cluster()) {
		t.Errorf("%+v", theirs)
	}
}

// The majority is gone for good: it is said, with the evidence, and spec.recovery
// makes the survivor go on, once.
func TestLostMajority(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	old := g.cluster().Status.ClusterID
	recovery := func(id, survivor string) func(*v1alpha1.CoordinationCluster) {
		return func(c *v1alpha1.CoordinationCluster) {
			c.Spec.Recovery = &v1alpha1.RecoverySpec{ClusterID: id, Survivor: survivor, Reason: "rack 4 burned down"}
		}
	}
	// As long as there is a majority, it is refused, for good: when the majority is lost
	// another day nobody has looked at that.
	g.edit(recovery(old, "101"))
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRecoveryRefused, 20)
	for _, pod := range []string{"zoo-1", "zoo-2"} {
		g.world.LoseVolume(pod)
		g.deletePod(pod)
	}
	g.until(v1alpha1.ConditionQuorumHealthy, v1alpha1.ReasonMajorityLost, 20)
	if c := g.condition(v1alpha1.ConditionQuorumHealthy); !strings.Contains(c.Message, "server.2 (member 102)") || !strings.Contains(c.Message, "server.3") {
		t.Errorf("%+v", c)
	}
	if c := g.condition(v1alpha1.ConditionDegraded); c.Reason != v1alpha1.ReasonQuorumLost {
		t.Errorf("%+v", c)
	}
	for range 50 {
		g.tick()
		g.pass()
	}
	if c := g.cluster(); c.Status.ClusterID != old || !c.Status.Recovery.Void || g.recoveries() != 0 {
		t.Fatalf("an order that was refused was carried out: %+v", c.Status.Recovery)
	}
	g.edit(func(c *v1alpha1.CoordinationCluster) { c.Spec.Recovery = nil })
	g.tick()
	g.pass()
	g.edit(recovery("0000000000000000000000000000dead", "101"))
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonRecoveryRefused, 20)
	// The survivor does not answer at first, and is asked again: it is told once.
	asked, was := 0, g.world.OnCall
	g.world.OnCall = func(pod, order string) error {
		if order != "RecoverLostMajority" {
			return was(pod, order)
		}
		if asked++; asked <= 5 {
			return status.Error(codes.Unavailable, "connection refused")
		}
		return nil
	}
	g.edit(recovery(old, "101"))
	g.settle(300)
	g.healthy()
	told := 0
	for _, e := range g.events {
		if strings.Contains(e, "RecoveringLostMajority") {
			told++
		}
	}
	if asked != 6 || told != 1 {
		t.Errorf("asked %d times, told %d times:\n%s", asked, told, strings.Join(g.events, "\n"))
	}
	c := g.cluster()
	if c.Status.Recovery.Message != "" || c.Status.ClusterID == old || c.Status.Recovery == nil || c.Status.Recovery.FormerClusterID != old || c.Status.Recovery.ClusterID != c.Status.ClusterID {
		t.Errorf("%+v", c.Status.Recovery)
	}
	if n := g.recoveries(); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// recoveries counts the members that were told to go on alone.
func (g *rig) recoveries() (n int) {
	for _, o := range g.world.Orders {
		if strings.HasPrefix(o, "RecoverLostMajority") {
			n++
		}
	}
	return n
}

// All volumes are lost: no other ensemble is made.
func TestEverythingIsLost(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	for _, pod := range []string{"zoo-0", "zoo-1", "zoo-2"} {
		g.world.LoseVolume(pod)
		g.deletePod(pod)
	}
	g.until(v1alpha1.ConditionProgressing, v1alpha1.ReasonDataMissing, 50)
	for range 10 {
		g.tick()
		g.pass()
	}
	if len(g.world.Founded) != 1 {
		t.Errorf("founded: %v", g.world.Founded)
	}
}

// Certificates are renewed in time, and an authority that can't be read is said
// and not replaced.
func TestCertificates(t *testing.T) {
	g := newRig(t)
	g.create(size(3, 0))
	g.settle(300)
	secret := func(name string) *corev1.Secret {
		s := &corev1.Secret{}
		g.must(g.api.Get(context.Background(), client.ObjectKey{Namespace: key.Namespace, Name: name}, s))
		return s
	}
	first := secret("zoo-tls").Data["tls.crt"]
	g.now = g.now.Add(80 * 24 * time.Hour)
	g.settle(20)
	second := secret("zoo-tls").Data["tls.crt"]
	if string(first) == string(second) || string(secret("zoo-tls").Data["ca.crt"]) != string(secret("zoo-ca").Data["tls.crt"]) {
		t.Error("the certificate was not renewed by the same authority")
	}
	// People get a certificate of their own, of the same authority and with a role that
	// only looks, and it is renewed like the members'.
	reader := secret("zoo-reader")
	authority, err := pki.ParseAuthority(pki.DefaultPolicy, "ns/zoo", secret("zoo-ca").Data)
	g.must(err)
	if err := authority.Check(pki.Certificate{Cert: reader.Data["tls.crt"], Key: reader.Data["tls.key"]}, pki.RoleReader, nil, g.now); err != nil || string(reader.Data["ca.crt"]) != string(secret("zoo-tls").Data["ca.crt"]) {
		t.Errorf("the readers' certificate: %v", err)
	}
	ca := secret("zoo-ca")
	ca.Data["tls.key"] = []byte("what is this?")
	g.must(g.api.Update(context.Background(), ca))
	g.until(v1alpha1.ConditionDegraded, v1alpha1.ReasonCertificateInvalid, 5)
	if got := secret("zoo-ca"); string(got.Data["tls.key"]) != "what is this?" {
		t.Error("an authority that can't be read was replaced")
	}
	g.must(g.api.Delete(context.Background(), ca))
	g.settle(20)
	if bundle := secret("zoo-tls").Data["ca.crt"]; !strings.Contains(string(bundle), string(ca.Data["tls.crt"])) {
		t.Error("the lost authority is not trusted any more")
	}
	g.healthy()
}

// There is one budget for disturbances: what the operator itself does counts.
func TestBudget(t *testing.T) {
	g := newRig(t)
	g.create(func(c *v1alpha1.CoordinationCluster) { size(3, 0)(c); image("conclave:1")(c) })
	g.settle(300)
	budget := func() string {
		b := &policyv1.PodDisruptionBudget{}
		if err := g.api.Get(context.Background(), key, b); err != nil {
			return "none"
		}
		return b.Spec.MaxUnavailable.String()
	}
	if got := budget(); got != "1" {
		t.Error(got)
	}
	g.edit(image("conclave:2"))
	seen := map[string]bool{}
	for range 200 {
		g.tick()
		g.pass()
		for i := range 3 {
			if st := g.world.Status(fmt.Sprintf("zoo-%d", i)); !st.GetReady() {
				seen[budget()] = true
			}
		}
	}
	if len(seen) != 1 || !seen["0"] {
		t.Errorf("while a member was away on purpose: %v", seen)
	}
	g.edit(size(1, 0))
	g.settle(300)
	if got := budget(); got != "none" {
		t.Error(got)
	}
}
