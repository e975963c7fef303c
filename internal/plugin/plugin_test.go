package plugin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fakeWorld is a namespace with clusters in it, and one tree.
type fakeWorld struct {
	clusters []v1alpha1.CoordinationCluster
	tree     *fakeTree
	// streams are what Watch gives, one after the other, and asked what it was asked.
	streams []*fakeStream
	asked   []*adminpb.WatchSessionsRequest
}

func (w *fakeWorld) Namespace() (string, error) { return "shop", nil }
func (w *fakeWorld) Now() time.Time             { return now }
func (w *fakeWorld) Clusters(context.Context) ([]v1alpha1.CoordinationCluster, error) {
	return w.clusters, nil
}

func (w *fakeWorld) Cluster(_ context.Context, name string) (*v1alpha1.CoordinationCluster, error) {
	for i := range w.clusters {
		if w.clusters[i].Name == name {
			return &w.clusters[i], nil
		}
	}
	return nil, errors.New("there is no " + name)
}

func (w *fakeWorld) Tree(_ context.Context, _ *v1alpha1.CoordinationCluster, auth []Auth) (Tree, error) {
	w.tree.auth = auth
	w.tree.open++
	return w.tree, nil
}

// fakeTree has nodes by path; those in locked need an Auth.
type fakeTree struct {
	nodes  map[string]string
	locked string
	auth   []Auth
	open   int
}

func (t *fakeTree) Close() { t.open-- }

func (t *fakeTree) Get(path string) ([]byte, Stat, error) {
	data, ok := t.nodes[path]
	switch {
	case !ok:
		return nil, Stat{}, ErrNoNode
	case path == t.locked && !slices.Equal(t.auth, []Auth{{"digest", "me:secret"}}):
		return nil, Stat{}, ErrNoAuth
	}
	s := Stat{
		Czxid: 0x100000002, Mzxid: 0x100000007, Pzxid: 0x100000009, Created: now.Add(-50 * time.Hour), Modified: now.Add(-90 * time.Second),
		Version: 3, ChildVersion: 1, DataLength: int32(len(data)), NumChildren: 2,
	}
	if strings.Contains(path, "lock") {
		s.EphemeralOwner = -0x7ffffffffffffff0
	}
	return []byte(data), s, nil
}

func (t *fakeTree) Stat(path string) (Stat, error) {
	_, s, err := t.Get(path)
	return s, err
}

func (t *fakeTree) Children(path string) ([]string, error) {
	if _, ok := t.nodes[path]; !ok {
		return nil, ErrNoNode
	}
	var names []string
	for p := range t.nodes {
		if dir, name := splitPath(p); dir == path && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func testWorld() *fakeWorld {
	seen := ago(1500 * time.Millisecond)
	main := v1alpha1.CoordinationCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "main", Namespace: "shop", Generation: 3},
		Status: v1alpha1.CoordinationClusterStatus{
			ObservedGeneration: 3, Ready: "2/3", Leader: "main-0", Version: "1.0.0", ClientEndpoint: "main.shop.svc:2181",
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionAvailable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonServing, LastTransitionTime: ago(time.Hour)},
				{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSettled, LastTransitionTime: ago(time.Hour)},
				{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonMemberDown, LastTransitionTime: ago(time.Minute), Message: "pod main-2 is pending"},
			},
			Members: []v1alpha1.MemberStatus{
				{Pod: "main-0", ID: "a1", Role: v1alpha1.RoleLeader, Ready: true, Zxid: "0x100000009", Connections: 12, Version: "1.0.0", Node: "n1"},
				{Pod: "main-1", Role: v1alpha1.RoleFollower, Ready: true, Draining: true, Lag: 4, Zxid: "0x100000005", Connections: 3, Version: "1.0.0", Node: "n2"},
				{Pod: "main-2", Role: v1alpha1.RoleNone, Message: "its pod is\npending"},
			},
			Sessions: &v1alpha1.SessionsStatus{Total: 17, Connected: 14, Connecting: 2, NotConnected: 1, Closed: 40, Expired: 3, Ephemerals: 21, Watches: 55, ObservedTime: &seen},
			Leases:   &v1alpha1.LeasesStatus{Mirrored: 8, Conflicts: 1, DurationSeconds: 60, ObservedTime: &seen},
		},
	}
	fresh := v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "shop", Generation: 1}}
	return &fakeWorld{
		streams:  []*fakeStream{{updates: told(), end: func() error { return errors.New("the leader has gone") }}},
		clusters: []v1alpha1.CoordinationCluster{main, fresh},
		tree: &fakeTree{locked: "/locks/db", nodes: map[string]string{
			"/": "", "/locks": "", "/locks/db": "line 1\nno line end", "/locks/app": "x", "/config": "{}",
		}},
	}
}

// Each command's output is a file in testdata; -update writes them.
func TestGolden(t *testing.T) {
	for _, line := range []string{
		"status main", "status new", "ls main /", "ls main /locks", "get main /config", "stat main /locks", "stat main /locks/app",
		"get --auth digest:me:secret main /locks/db",
		"sessions main", "sessions main --state connecting", "sessions main --sort silence", "sessions main --state not-connected",
		"ephemerals main", "ephemerals main /jobs", "ephemerals main /job",
		"who main /jobs/leader", "who main /locks/db", "who main /locks",
	} {
		w := testWorld()
		got, err := run(w, strings.Fields(line)...)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if w.tree.open != 0 {
			t.Errorf("%s: a connection is left open", line)
		}
		golden(t, strings.NewReplacer(" ", "_", "/", "-", ":", "-").Replace(line), got)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func run(w World, args ...string) (string, error) {
	var out bytes.Buffer
	root := New(w, Streams{Out: &out, Err: &out})
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func TestRefusals(t *testing.T) {
	for line, want := range map[string]string{
		"status":                            "status needs CLUSTER, and has 0 arguments",
		"ls main":                           "ls needs CLUSTER PATH, and has 1 arguments",
		"ls main locks":                     `"locks" is no path: it begins with /`,
		"ls main /locks/":                   `"/locks/" is no path: it ends in a name`,
		"get main /a//b":                    `"/a//b" is no path: it has // in it`,
		"status other":                      "there is no other",
		"sessions main --state gone":        `--state: "GONE" is none of NOT_CONNECTED, CONNECTING`,
		"sessions main --state closed":      "--state: sessions that are CLOSED are no more; --watch shows how they end",
		"sessions main --sort age":          `--sort: "age" is neither id nor silence`,
		"ephemerals main a":                 `"a" is no path`,
		"who main":                          "who needs CLUSTER PATH, and has 1 arguments",
		"get main /missing":                 "/missing: there is no such node",
		"get main /locks/db":                "/locks/db: the node's ACL does not allow it: try --auth",
		"get --auth secret main /locks/db":  `--auth: "secret" is not SCHEME:VALUE`,
		"get --auth digest: main /locks/db": `--auth: "digest:" is not SCHEME:VALUE`,
	} {
		w := testWorld()
		out, err := run(w, strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, %q; want %q", line, err, out, want)
		}
		if w.tree.open != 0 {
			t.Errorf("%s: a connection is left open", line)
		}
	}
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"__complete status ":               "main new",
		"__complete status m":              "main",
		"__complete ls main /":             "/config /locks",
		"__complete get main /locks/d":     "/locks/db",
		"__complete status main ":          "",
		"__complete sessions main --sort ": "id silence",
		"__complete ephemerals main /c":    "/config",
	} {
		args := strings.Split(line, " ")
		out, err := run(testWorld(), args...)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		var got []string
		for l := range strings.Lines(out) {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, ":") && !strings.HasPrefix(l, "Completion ended") {
				got = append(got, l)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestReadyMember(t *testing.T) {
	w := testWorld()
	cc := &w.clusters[0]
	if pod, err := readyMember(cc); err != nil || pod != "main-0" {
		t.Errorf("%s, %v: one that is not draining", pod, err)
	}
	cc.Status.Members[1].Draining = false
	if pod, err := readyMember(cc); err != nil || pod != "main-1" {
		t.Errorf("%s, %v: one that does not lead", pod, err)
	}
	if _, err := readyMember(&w.clusters[1]); err == nil || !strings.Contains(err.Error(), "kubectl conclave status new") {
		t.Errorf("%v", err)
	}
}
