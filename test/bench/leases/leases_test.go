package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/conclave-dev/conclave/test/bench/engine"
)

func newView() *view {
	return &view{shown: make(map[string]shown), want: make(map[string]string), awaited: make(map[string][]await)}
}

func event(kind watch.EventType, name, holder string) watch.Event {
	seconds := int32(60)
	return watch.Event{Type: kind, Object: &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds}}}
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
	v.shown["e"] = shown{"r", time.Now().Add(-2 * time.Minute), time.Minute}
	if n := v.RunOut(); n != 1 {
		t.Errorf("%d have run out", n)
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
