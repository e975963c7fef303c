package resources

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

const image = "registry.example/conclave:1.0.0"

// cluster is one called main with a spec, defaulted.
func cluster(edit func(*v1alpha1.CoordinationClusterSpec)) *v1alpha1.CoordinationCluster {
	c := &v1alpha1.CoordinationCluster{ObjectMeta: metav1.ObjectMeta{Name: "main", Namespace: "shop", UID: "0b8f3f7e-0001"}}
	if edit != nil {
		edit(&c.Spec)
	}
	v1alpha1.SetDefaults(c)
	return c
}

// full sets each field that has to do with objects.
func full() *v1alpha1.CoordinationCluster {
	return cluster(func(s *v1alpha1.CoordinationClusterSpec) {
		s.Replicas, s.Observers = ptr.To[int32](5), ptr.To[int32](2)
		s.ImagePullPolicy = corev1.PullAlways
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
		s.Storage = v1alpha1.StorageSpec{
			Size: resource.MustParse("20Gi"), StorageClassName: ptr.To("fast"),
			Log:       &v1alpha1.LogStorageSpec{Size: resource.MustParse("5Gi"), StorageClassName: ptr.To("faster")},
			Retention: v1alpha1.RetentionSpec{WhenDeleted: v1alpha1.RetentionDelete, WhenScaled: v1alpha1.RetentionDelete},
		}
		s.Sessions = v1alpha1.SessionsSpec{TickMilliseconds: 1000, MinTimeoutMilliseconds: ptr.To[int32](1500), MaxTimeoutMilliseconds: ptr.To[int32](90000), MaxPerMember: 10000}
		s.Server = v1alpha1.ServerSpec{
			Config:            map[string]v1alpha1.ConfigValue{"snapCount": "50000", "autopurge.snapRetainCount": "5"},
			SuperDigestSecret: &v1alpha1.SecretKey{Name: "super", Key: "digest"},
			LogLevel:          "debug",
		}
		s.Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1Gi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		}
		s.PodTemplate = template(`
metadata:
  labels: {team: coordination}
spec:
  priorityClassName: important
  nodeSelector: {disk: fast}
  containers:
  - name: server
    env: [{name: GOGC, value: "200"}]
  - name: shipper
    image: registry.example/shipper:1
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
`)
		s.TopologySpread = []v1alpha1.TopologySpread{{TopologyKey: "topology.kubernetes.io/zone", MaxSkew: 2, WhenUnsatisfiable: "DoNotSchedule"}}
		s.Service = v1alpha1.ServiceSpec{Type: "LoadBalancer", Port: 2182, NodePort: ptr.To[int32](32181), Labels: map[string]string{"a": "b"},
			Annotations: map[string]string{"c": "d"}, LoadBalancerClass: ptr.To("example/internal"), ExternalTrafficPolicy: "Local"}
		s.NetworkPolicy.Clients = []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"zookeeper": "client"}}}}
		s.Monitoring.PodMonitor = &v1alpha1.PodMonitorSpec{Labels: map[string]string{"release": "prometheus"}}
	})
}

// template is a podTemplate in YAML.
func template(text string) *runtime.RawExtension {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	return &runtime.RawExtension{Raw: raw}
}

func render(t *testing.T, c *v1alpha1.CoordinationCluster) *Revision {
	t.Helper()
	r, err := Render(c, image)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// objects are all that a cluster has, in a fixed order, those that it does not
// have left out.
func objects(t *testing.T, c *v1alpha1.CoordinationCluster) []any {
	t.Helper()
	rev := render(t, c)
	config, err := rev.ConfigMap(c)
	if err != nil {
		t.Fatal(err)
	}
	config.Data[keyPods] = "those of the StatefulSets"
	out := []any{
		Headless(c), ClientService(c), ServiceAccount(c), config,
		TLSSecret(c, []byte("bundle"), []byte("cert"), []byte("key")), ReaderSecret(c, []byte("bundle"), []byte("cert"), []byte("key")), AuthoritySecret(c, map[string][]byte{"tls.crt": []byte("cert")}),
		StatefulSet(c, Voter, rev, Set{Replicas: *c.Spec.Replicas, Partition: 1}),
		Claim(c, VolumeData, Voter, 0, nil),
	}
	if *c.Spec.Observers > 0 {
		out = append(out, StatefulSet(c, Observer, rev, Set{Replicas: *c.Spec.Observers}))
	}
	for _, r := range []Role{Voter, Observer} {
		members := *c.Spec.Replicas
		if r == Observer {
			members = *c.Spec.Observers
		}
		if b := Budget(c, r, members, false); b != nil {
			out = append(out, b)
		}
	}
	switch n, err := NetworkPolicy(c, "conclave-system"); {
	case err != nil:
		t.Fatal(err)
	case n != nil:
		out = append(out, n)
	}
	if m := PodMonitor(c); m != nil {
		out = append(out, m)
	}
	return out
}

// The operator reaches the admin port from its own namespace; from any, if it does not
// know its own.
func TestOperatorsNamespace(t *testing.T) {
	c := cluster(nil)
	for namespace, want := range map[string]map[string]string{
		"conclave-system": {"kubernetes.io/metadata.name": "conclave-system"},
		"":                nil,
	} {
		policy, err := NetworkPolicy(c, namespace)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, rule := range policy.Spec.Ingress {
			if rule.Ports[0].Port.IntValue() != PortAdmin {
				continue
			}
			found = true
			if len(rule.From) != 1 || !maps.Equal(rule.From[0].NamespaceSelector.MatchLabels, want) || !maps.Equal(rule.From[0].PodSelector.MatchLabels, OperatorLabels()) {
				t.Errorf("in namespace %q: %+v", namespace, rule.From)
			}
		}
		if !found {
			t.Error("no rule for the admin port")
		}
	}
}
