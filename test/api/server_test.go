//go:build envtest

package api

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/test/api/apiserver"
)

var (
	server *apiserver.Server
	api    client.Client
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if server, err = apiserver.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		scheme := runtime.NewScheme()
		for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
			if err := add(scheme); err != nil {
				panic(err)
			}
		}
		if api, err = client.New(server.Config, client.Options{Scheme: scheme}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// object is a cluster as a user writes it.
func object(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": parse(t, spec)}}
	u.SetGroupVersionKind(v1alpha1.Kind)
	u.SetNamespace("default")
	u.SetName(name)
	return u
}

// create makes one that is deleted when the test ends.
func create(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	u := object(t, name, spec)
	if err := api.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Delete(context.WithoutCancel(t.Context()), object(t, name, "{}")); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return u
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCreate(t *testing.T) {
	for _, c := range creations {
		t.Run(c.name, func(t *testing.T) {
			u := object(t, c.objectName(), c.spec)
			wantMessage(t, message(api.Create(t.Context(), u, client.DryRunAll)), c.want)
			if c.want != "" || t.Failed() {
				return
			}
			var filled, bare v1alpha1.CoordinationCluster
			convert(t, u.Object, &filled)
			convert(t, map[string]any{"spec": parse(t, c.spec)}, &bare)
			wantDefaults(t, filled.Spec, bare)
		})
	}
	for _, p := range leasePaths {
		t.Run(p.path+" "+p.leaseName, func(t *testing.T) {
			wantMessage(t, message(api.Create(t.Context(), object(t, "main", p.spec(t)), client.DryRunAll)), p.want)
		})
	}
}

func TestChangeSpec(t *testing.T) {
	for _, c := range specChanges {
		t.Run(c.name, func(t *testing.T) {
			old := create(t, "main", c.old)
			u := object(t, "main", c.new)
			u.SetResourceVersion(old.GetResourceVersion())
			wantMessage(t, message(api.Update(t.Context(), u)), c.want)
		})
	}
}

func TestChangeStatus(t *testing.T) {
	for _, c := range statusChanges {
		t.Run(c.name, func(t *testing.T) {
			u := create(t, "main", "{}")
			u.Object["status"] = parse(t, c.old)
			if err := api.Status().Update(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			u.Object["status"] = parse(t, c.new)
			wantMessage(t, message(api.Status().Update(t.Context(), u)), c.want)
		})
	}
}

// kubectl scale goes through the scale subresource, and meets the same rules.
func TestScale(t *testing.T) {
	u := create(t, "main", "{}")
	u.Object["status"] = map[string]any{"replicas": int64(2), "selector": "conclave.dev/cluster=main"}
	if err := api.Status().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	c, scale := &v1alpha1.CoordinationCluster{}, &autoscalingv1.Scale{}
	convert(t, u.Object, c)
	if err := api.SubResource("scale").Get(t.Context(), c, scale); err != nil {
		t.Fatal(err)
	}
	if scale.Spec.Replicas != 3 || scale.Status.Replicas != 2 || scale.Status.Selector != "conclave.dev/cluster=main" {
		t.Errorf("%+v %+v", scale.Spec, scale.Status)
	}
	for replicas, want := range map[int32]string{5: "", 4: "replicas can't be even", 0: ""} {
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
		wantMessage(t, message(api.SubResource("scale").Patch(t.Context(), c, client.RawPatch(types.MergePatchType, patch), client.WithSubResourceBody(&autoscalingv1.Scale{}))), want)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	config, err := server.Kubeconfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), server.Kubectl, append([]string{"--kubeconfig", config}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// What a user reads of the fields, and of clusters.
func TestKubectlExplain(t *testing.T) {
	for path, words := range map[string][]string{
		"cc.spec":                       {"How many members vote: 1, 3, 5 or 7.", "podTemplate", "FIELDS:"},
		"cc.spec.storage.size":          {"it can't", "shrink"},
		"cc.spec.leases.rules.path":     {"{word}"},
		"cc.status.sessions.atRisk":     {"silenceMilliseconds", "For how long nothing was heard"},
		"cc.status.members":             {"Why it is not ready."},
		"coordinationclusters.spec":     {"updateStrategy"},
		"coordinationcluster.status":    {"conditions"},
		"cc.spec.server":                {"Keys of ZooKeeper's zoo.cfg"},
		"cc.spec.recovery":              {"Gives up members"},
		"cc.spec.sessions":              {"Longest session timeout"},
		"cc.spec.updateStrategy":        {"drainSeconds"},
		"cc.spec.networkPolicy":         {"From where clients may connect"},
		"cc.spec.monitoring":            {"PodMonitor"},
		"cc.spec.topologySpread":        {"ScheduleAnyway"},
		"cc.spec.service":               {"loadBalancerClass"},
		"cc.spec.leases":                {"durationSeconds"},
		"cc.spec.storage.retention":     {"whenScaled"},
		"cc.status.bootstrap":           {"latch"},
		"cc.spec.leases.rules.holder":   {"jsonField"},
		"cc.spec.storage.log":           {"volume of its own for the log"},
		"cc.spec.monitoring.podMonitor": {"intervalSeconds"},
	} {
		text := kubectl(t, "explain", path)
		for _, w := range words {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), w) {
				t.Errorf("kubectl explain %s does not say %q:\n%s", path, w, text)
			}
		}
		if strings.Contains(text, "<no description>") {
			t.Errorf("kubectl explain %s has a field without words:\n%s", path, text)
		}
	}
}

func TestKubectlGet(t *testing.T) {
	u := create(t, "main", "{}")
	u.Object["status"] = parse(t, `{ready: 3/3, leader: main-1, version: 1.0.0, replicas: 3, readyReplicas: 3,
		sessions: {total: 12, connected: 9, connecting: 2, notConnected: 1, closed: 40, expired: 5, ephemerals: 17, watches: 30},
		leases: {mirrored: 8, truncated: 0, conflicts: 0},
		conditions: [{type: Available, status: "True", reason: Serving, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}]}`)
	if err := api.Status().Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(kubectl(t, "get", "cc")), "\n")
	if got, want := strings.Fields(lines[0]), []string{"NAME", "READY", "LEADER", "SESSIONS", "VERSION", "AGE", "AVAILABLE"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("columns %v, want %v", got, want)
	}
	row := strings.Fields(lines[1])
	row[5] = "-" // the age
	if got := strings.Join(row, " "); got != "main 3/3 main-1 12 1.0.0 - True" {
		t.Errorf("row %s", got)
	}
	wide := strings.Join(strings.Fields(kubectl(t, "get", "cc", "-o", "wide", "--no-headers")), " ")
	if !strings.Contains(wide, "main-1 12 9 2 1 40 5 17 30 8 1.0.0") {
		t.Errorf("wide: %s", wide)
	}
}
