package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/conclave-dev/conclave/test/bench/engine"
)

func newView() *view {
	return &view{shown: make(map[string]shown), want: make(map[string]string), awaited: make(map[string][]await)}
}

func event(kind watch.EventType, name, holder string) watch.Event {
	seconds := int32(60)
	renewed := metav1.NowMicro()
	return watch.Event{Type: kind, Object: &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed}}}
}

// What is wrong is said, and each change counts once, from when it was due.
func TestView(t *testing.T) {
	v := newView()
	// The clock begins with the process.
	const due = 1
	v.change("a", "x", created, due)
	v.expect("e", "p")
	wants := func(want string) {
		t.Helper()
		err := v.wrong()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%v, want %q", err, want)
		}
	}
	wants("are missing 2 (a, e)")
	v.see(event(watch.Added, "a", "other"))
	v.see(event(watch.Added, "e", "p"))
	wants("another holder 1 (a (other, and it is x))")
	v.see(event(watch.Modified, "a", "x"))
	wants("")
	// Two hand-overs of which one is seen: both are over.
	v.change("e", "q", handed, due)
	v.change("e", "r", handed, due)
	wants("changes that were not seen 1 (e)")
	v.see(event(watch.Modified, "e", "r"))
	v.change("a", "", deleted, due)
	wants("are left over 1 (a)")
	v.see(event(watch.Deleted, "a", "x"))
	wants("")
	for k, h := range v.Latency() {
		want := map[kind]uint64{created: 1, deleted: 1, handed: 2}[kind(k)]
		if h.Count() != want || h.Max() > engine.Monotonic() {
			t.Errorf("%v: %d, at least %v", kind(k), h.Count(), time.Duration(h.Min()))
		}
	}
	v.shown["e"] = shown{holder: "r", since: time.Now().Add(-2 * time.Minute), duration: time.Minute}
	if n := v.RunOut(); n != 1 {
		t.Errorf("%d have run out", n)
	}
}

// A Lease that had run out before it was written again counts, unless there was no
// operator for so long.
func TestLapsed(t *testing.T) {
	for _, c := range []struct {
		what   string
		age    time.Duration
		down   time.Duration
		holder string
		kind   watch.EventType
		want   int
	}{
		{"in time", 50 * time.Second, 0, "x", watch.Modified, 0},
		{"too late", 70 * time.Second, 0, "x", watch.Modified, 1},
		{"removed too late", 70 * time.Second, 0, "x", watch.Deleted, 1},
		{"released", 70 * time.Second, 0, "", watch.Modified, 0},
		{"no operator meanwhile", 70 * time.Second, 20 * time.Second, "x", watch.Modified, 0},
		{"no operator, but too late all the same", 70 * time.Second, 5 * time.Second, "x", watch.Modified, 1},
	} {
		v := newView()
		now := time.Now()
		v.shown["a"] = shown{holder: c.holder, since: now, renewed: now.Add(-c.age), duration: time.Minute}
		if c.down > 0 {
			v.down = []span{{now.Add(-2 * time.Hour), now.Add(-time.Hour)}, {from: now.Add(-c.down)}}
		}
		v.see(event(c.kind, "a", "x"))
		v.see(event(watch.Modified, "a", "x"))
		if n, first := v.Lapsed(); n != c.want || (n > 0) != strings.HasPrefix(first, "a by ") {
			t.Errorf("%s: %d, the first %q", c.what, n, first)
		}
	}
	v := newView()
	v.Down()
	v.Up()
	if len(v.down) != 1 || v.down[0].to.IsZero() {
		t.Errorf("%+v", v.down)
	}
	e := event(watch.Added, "b", "x")
	e.Object.(*coordinationv1.Lease).Spec.RenewTime = nil
	v.see(e)
	if err := v.wrong(); err == nil || !strings.Contains(err.Error(), "Lease b") {
		t.Errorf("a Lease that was never renewed: %v", err)
	}
}

// While nothing changes Leases are renewed, if the time is long enough for many.
func TestEnough(t *testing.T) {
	v := newView()
	for i := range 100 {
		v.see(event(watch.Added, fmt.Sprint(i), "x"))
	}
	v.see(event(watch.Added, "released", ""))
	if due := v.Due(30 * time.Second); due < 49.9 || due > 50.1 {
		t.Errorf("%v are due in half of a Lease's time, of 100", due)
	}
	for _, c := range []struct {
		renewals int
		due      float64
		ok       bool
	}{{0, 19, true}, {0, 20, false}, {121, 1223, false}, {123, 1223, true}} {
		if err := enough(c.renewals, c.due); (err == nil) != c.ok {
			t.Errorf("%d of %v: %v", c.renewals, c.due, err)
		}
	}
}

// What was not read is no 0.
func TestMemory(t *testing.T) {
	const pods = `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"namespace":"conclave-system","name":"operator-1"},"spec":{"nodeName":"node-1"}}]}`
	summary := `{"pods":[{"podRef":{"namespace":"conclave-system","name":"other"},"containers":[{"memory":{"workingSetBytes":5}}]}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/pods") {
			fmt.Fprint(w, pods)
		} else {
			fmt.Fprint(w, summary)
		}
	}))
	defer s.Close()
	k := &kube{metrics: s.Client()}
	var err error
	if k.Clientset, err = kubernetes.NewForConfig(&rest.Config{Host: s.URL}); err != nil {
		t.Fatal(err)
	}
	const silent = "the kubelet of node node-1 says nothing of the memory of pod conclave-system/operator-1"
	m, err := k.memory(t.Context())
	if err == nil || err.Error() != silent {
		t.Fatalf("%v", err)
	}
	if _, err := k.mostMemory(); err == nil {
		t.Error("nobody has looked, and there is a reading")
	}
	k.note(m, err)
	if _, err := k.mostMemory(); err == nil || !strings.Contains(err.Error(), silent) {
		t.Errorf("%v", err)
	}
	b := &bench{kube: k, log: io.Discard}
	if err := b.memory("rest"); err == nil || len(b.table.rows) > 0 {
		t.Errorf("%v, and %d rows", err, len(b.table.rows))
	}
	// One that fails after others is nothing.
	k.note(memory{workingSet: 7 * mib}, nil)
	k.note(memory{workingSet: 6 * mib}, nil)
	k.note(m, err)
	if err := b.memory("rest"); err != nil || b.table.rows[0].value != 7 {
		t.Errorf("%v, %+v", err, b.table.rows)
	}
}

// An operator that is ended is asked before how often it has died, and leaves no reading
// to the next one; the view knows of the time without one.
func TestOperate(t *testing.T) {
	replicas := 1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/scale") {
			var scale struct{ Spec struct{ Replicas int } }
			if err := json.NewDecoder(r.Body).Decode(&scale); err != nil {
				t.Error(err)
			}
			replicas = scale.Spec.Replicas
			fmt.Fprint(w, `{"kind":"Scale","apiVersion":"autoscaling/v1"}`)
			return
		}
		const pod = `{"status":{"containerStatuses":[{"restartCount":2,"state":{"running":{}}}]}}`
		fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","items":[%s]}`, strings.Repeat(pod, replicas))
	}))
	defer s.Close()
	k := &kube{}
	var err error
	if k.Clientset, err = kubernetes.NewForConfig(&rest.Config{Host: s.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}); err != nil {
		t.Fatal(err)
	}
	b := &bench{kube: k, view: newView(), log: io.Discard}
	for i := range 2 {
		k.note(memory{workingSet: mib}, nil)
		if err := b.operate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := k.mostMemory(); err == nil || b.died != int32(2*i+2) || len(b.view.down) != i+1 || !b.view.down[i].to.IsZero() {
			t.Errorf("ended: %v, died %d times, down %v", err, b.died, b.view.down)
		}
		if err := b.operate(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if b.died != int32(2*i+2) || b.view.down[i].to.IsZero() {
			t.Errorf("begun: died %d times, down %v", b.died, b.view.down)
		}
	}
	// The last one's count, too.
	if err := b.dead(t.Context()); err == nil || err.Error() != "the operator died 6 times" {
		t.Errorf("%v", err)
	}
}

// The operator's writes are counted, and nobody else's; a second slides.
func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := followAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	var log strings.Builder
	line := func(user, ns, resource, sub, group string, at time.Duration) {
		fmt.Fprintf(&log, `{"verb":"patch","user":{"username":%q},"objectRef":{"namespace":%q,"resource":%q,"subresource":%q,"apiGroup":%q},"requestReceivedTimestamp":%q}`+"\n",
			user, ns, resource, sub, group, began.Add(at).Format(time.RFC3339Nano))
	}
	for i := range 10 {
		line(operatorUser, namespace, "leases", "", "coordination.k8s.io", time.Duration(i)*200*time.Millisecond)
	}
	line(operatorUser, namespace, "coordinationclusters", "status", "conclave.dev", 900*time.Millisecond)
	line(operatorUser, system, "leases", "", "coordination.k8s.io", 5*time.Second)
	line(operatorUser, "", "tokenreviews", "", "authentication.k8s.io", 950*time.Millisecond)
	line("system:serviceaccount:default:other", namespace, "leases", "", "coordination.k8s.io", 950*time.Millisecond)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A line that is not complete yet is waited for.
	text := log.String()
	for _, part := range []string{text[:len(text)/2], text[len(text)/2:]} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		n := len(a.writes)
		a.mu.Unlock()
		if n == 12 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d writes were read, want 12", n)
		}
	}
	a.Close()
	r, err := a.between(began, began.Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := "coordinationclusters/status 0.1, its own election 0.1, leases 1.0"; r.most != 6 || r.String() != want {
		t.Errorf("%d in a second at most, %v; want 6, %s", r.most, r, want)
	}
	if err := errors.Join(r.covers(0), r.covers(21)); err != nil {
		t.Error(err)
	}
	if err := r.covers(22); err == nil {
		t.Error("22 changes of Leases came of 10 writes")
	}
	// Without a write of Leases the log is not the operator's.
	if r, err = a.between(began.Add(4*time.Second), began.Add(10*time.Second)); err != nil || r.most != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.covers(0); err == nil || !strings.Contains(err.Error(), operatorUser) {
		t.Errorf("%v", err)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	var x table
	x.add("a", "ms", 3.14159, 4)
	x.add("b", "/s", 1234.4, 100)
	x.add("c", "", 7, 0)
	x.markdown(&b)
	want := "| a | ms | 3.14 | at most 4 | yes |\n| b | /s | 1234 | at most 100 | **no** |\n| c |  | 7 |  |  |\n\n1 of 2 bars reached.\n"
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s\nwant at its end\n%s", b.String(), want)
	}
}
