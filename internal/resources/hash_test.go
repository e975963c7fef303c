package resources

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

func hash(t *testing.T, c *v1alpha1.CoordinationCluster) string {
	t.Helper()
	h, err := Hash(c, image)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// These hashes are on StatefulSets out there. If one changes, an upgrade of the
// operator restarts every member of every such cluster: mend the code, never the
// table.
func TestHashesAreForEver(t *testing.T) {
	for name, c := range map[string]struct {
		cluster *v1alpha1.CoordinationCluster
		want    string
	}{
		"default": {cluster(nil), "dca58260f7e9"},
		"full":    {full(), "1afcbcb3401a"},
	} {
		if got := hash(t, c.cluster); got != c.want {
			t.Errorf("%s: %s, and it has always been %s", name, got, c.want)
		}
	}
}

func TestHashKnowsWhatPodsDependOn(t *testing.T) {
	base := func(s *v1alpha1.CoordinationClusterSpec) {
		s.PodTemplate = template(`{metadata: {labels: {a: b, c: d}}}`)
		s.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1024Mi")}
	}
	before := hash(t, cluster(base))
	for _, c := range []struct {
		name    string
		edit    func(*v1alpha1.CoordinationClusterSpec)
		restart bool
	}{
		{"nothing", func(*v1alpha1.CoordinationClusterSpec) {}, false},
		{"replicas", func(s *v1alpha1.CoordinationClusterSpec) { s.Replicas = ptr.To[int32](5) }, false},
		{"observers", func(s *v1alpha1.CoordinationClusterSpec) { s.Observers = ptr.To[int32](5) }, false},
		{"size", func(s *v1alpha1.CoordinationClusterSpec) { s.Storage.Size = resource.MustParse("1Ti") }, false},
		{"service", func(s *v1alpha1.CoordinationClusterSpec) { s.Service.Type = "NodePort" }, false},
		{"network policy", func(s *v1alpha1.CoordinationClusterSpec) { s.NetworkPolicy.Mode = "None" }, false},
		{"how to update", func(s *v1alpha1.CoordinationClusterSpec) { s.UpdateStrategy.DrainSeconds = ptr.To[int32](99) }, false},
		{"monitoring", func(s *v1alpha1.CoordinationClusterSpec) { s.Monitoring.PodMonitor = &v1alpha1.PodMonitorSpec{} }, false},
		{"leases", func(s *v1alpha1.CoordinationClusterSpec) { s.Leases = &v1alpha1.LeasesSpec{} }, false},
		{"paused", func(s *v1alpha1.CoordinationClusterSpec) { s.Paused = true }, false},
		{"the same template, written otherwise", func(s *v1alpha1.CoordinationClusterSpec) {
			s.PodTemplate.Raw = []byte(` {"metadata" : {"labels":{"c":"d","a":"b"}} }`)
		}, false},
		{"the same memory, written otherwise", func(s *v1alpha1.CoordinationClusterSpec) {
			s.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("1Gi")
		}, false},

		{"template", func(s *v1alpha1.CoordinationClusterSpec) { s.PodTemplate = template(`{metadata: {labels: {a: b}}}`) }, true},
		{"memory", func(s *v1alpha1.CoordinationClusterSpec) {
			s.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("2Gi")
		}, true},
		{"pull policy", func(s *v1alpha1.CoordinationClusterSpec) { s.ImagePullPolicy = corev1.PullAlways }, true},
		{"pull secrets", func(s *v1alpha1.CoordinationClusterSpec) {
			s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}}
		}, true},
		{"tick", func(s *v1alpha1.CoordinationClusterSpec) { s.Sessions.TickMilliseconds = 1 }, true},
		{"min timeout", func(s *v1alpha1.CoordinationClusterSpec) { s.Sessions.MinTimeoutMilliseconds = ptr.To[int32](1) }, true},
		{"max timeout", func(s *v1alpha1.CoordinationClusterSpec) { s.Sessions.MaxTimeoutMilliseconds = ptr.To[int32](1) }, true},
		{"max per member", func(s *v1alpha1.CoordinationClusterSpec) { s.Sessions.MaxPerMember = 1 }, true},
		{"zoo.cfg", func(s *v1alpha1.CoordinationClusterSpec) {
			s.Server.Config = map[string]v1alpha1.ConfigValue{"snapCount": "2"}
		}, true},
		{"super user", func(s *v1alpha1.CoordinationClusterSpec) {
			s.Server.SuperDigestSecret = &v1alpha1.SecretKey{Name: "a", Key: "b"}
		}, true},
		{"log level", func(s *v1alpha1.CoordinationClusterSpec) { s.Server.LogLevel = "debug" }, true},
		{"spread", func(s *v1alpha1.CoordinationClusterSpec) { s.TopologySpread = []v1alpha1.TopologySpread{} }, true},
		{"log volume", func(s *v1alpha1.CoordinationClusterSpec) { s.Storage.Log = &v1alpha1.LogStorageSpec{} }, true},
	} {
		after := cluster(func(s *v1alpha1.CoordinationClusterSpec) { base(s); c.edit(s) })
		if restart := hash(t, after) != before; restart != c.restart {
			t.Errorf("%s: restart %v, want %v", c.name, restart, c.restart)
		}
	}
	if h, err := Hash(cluster(base), image+"1"); err != nil || h == before {
		t.Errorf("another image has the same hash: %v", err)
	}
}

func TestImage(t *testing.T) {
	const operators = "registry.example:5000/team/conclave:2.0.0@sha256:00"
	for _, c := range []struct {
		spec    v1alpha1.CoordinationClusterSpec
		latched string
		want    string
	}{
		{v1alpha1.CoordinationClusterSpec{Image: "a/b:1"}, "latched", "a/b:1"},
		{v1alpha1.CoordinationClusterSpec{Version: "3"}, "latched", "registry.example:5000/team/conclave:3"},
		{v1alpha1.CoordinationClusterSpec{}, "latched", "latched"},
		{v1alpha1.CoordinationClusterSpec{}, "", ""},
	} {
		o := &v1alpha1.CoordinationCluster{Spec: c.spec, Status: v1alpha1.CoordinationClusterStatus{Image: c.latched}}
		if got := Image(o, operators); got != c.want {
			t.Errorf("%+v: %q, want %q", c.spec, got, c.want)
		}
	}
	for from, want := range map[string]string{"conclave": "conclave", "a:5000/conclave": "a:5000/conclave", "a/conclave:1": "a/conclave"} {
		if got := repository(from); got != want {
			t.Errorf("%s: %s", from, got)
		}
	}
}
