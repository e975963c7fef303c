package resources

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/ptr"

	"github.com/conclave-dev/conclave/api/v1alpha1"
	"github.com/conclave-dev/conclave/internal/zooconfig"
)

// as converts between an apply configuration and its type, by way of JSON.
func as[T any](t *testing.T, from any) *T {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// everyShape calls f with clusters of every shape that the spec allows as far as
// objects differ by it.
func everyShape(t *testing.T, f func(t *testing.T, c *v1alpha1.CoordinationCluster)) {
	for _, replicas := range []int32{0, 1, 3, 7} {
		for _, observers := range []int32{0, 1, 32} {
			for _, log := range []bool{false, true} {
				for _, retention := range []v1alpha1.RetentionPolicy{v1alpha1.RetentionRetain, v1alpha1.RetentionDelete} {
					t.Run(fmt.Sprint(replicas, observers, log, retention), func(t *testing.T) {
						c := cluster(func(s *v1alpha1.CoordinationClusterSpec) {
							s.Replicas, s.Observers = &replicas, &observers
							if log {
								s.Storage.Log = &v1alpha1.LogStorageSpec{}
							}
							s.Storage.Retention = v1alpha1.RetentionSpec{WhenDeleted: retention, WhenScaled: retention}
						})
						c.Name = strings.Repeat("n", 40)
						f(t, c)
					})
				}
			}
		}
	}
}

func TestEveryObjectIsTheClusters(t *testing.T) {
	everyShape(t, func(t *testing.T, c *v1alpha1.CoordinationCluster) {
		for _, o := range objects(t, c) {
			m := as[corev1.PersistentVolumeClaim](t, o) // any type with metadata
			what := m.Kind + " " + m.Name
			if m.Kind == "" || m.APIVersion == "" || m.Namespace != c.Namespace {
				t.Errorf("%s: kind, version or namespace: %s %s %s", what, m.Kind, m.APIVersion, m.Namespace)
			}
			if errs := validation.IsDNS1123Label(m.Name); len(errs) > 0 {
				t.Errorf("%s: %v", what, errs)
			}
			if !labels.SelectorFromSet(Labels(c)).Matches(labels.Set(m.Labels)) {
				t.Errorf("%s has not the cluster's labels: %v", what, m.Labels)
			}
			claim := m.Kind == "PersistentVolumeClaim"
			owned := len(m.OwnerReferences) == 1 && m.OwnerReferences[0].UID == c.UID
			controlled := owned && ptr.Deref(m.OwnerReferences[0].Controller, false)
			switch {
			case !claim && !controlled:
				t.Errorf("%s does not go with its cluster", what)
			case claim && owned != (c.Spec.Storage.Retention.WhenDeleted == v1alpha1.RetentionDelete):
				t.Errorf("%s: owned %v, and retention is %s", what, owned, c.Spec.Storage.Retention.WhenDeleted)
			case claim && controlled:
				t.Errorf("%s has a controller, and no StatefulSet would take it", what)
			}
		}
	})
}

func TestStatefulSetInvariants(t *testing.T) {
	everyShape(t, func(t *testing.T, c *v1alpha1.CoordinationCluster) {
		rev := render(t, c)
		for _, r := range []Role{Voter, Observer} {
			s := as[appsv1.StatefulSet](t, StatefulSet(c, r, rev, Set{Replicas: 2, Partition: 1}))
			if p := s.Spec.PersistentVolumeClaimRetentionPolicy; p.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType || p.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
				t.Errorf("Kubernetes itself would delete volumes: %+v", p)
			}
			if s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement || s.Spec.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType ||
				*s.Spec.UpdateStrategy.RollingUpdate.Partition != 1 || *s.Spec.Replicas != 2 {
				t.Errorf("%+v", s.Spec)
			}
			pod := s.Spec.Template
			for _, selector := range []map[string]string{RoleSelector(c, r), Selector(c), s.Spec.Selector.MatchLabels} {
				if !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
					t.Errorf("%v does not select %v", selector, pod.Labels)
				}
			}
			// controller-revision-hash is a label made of the name and ten letters.
			if len(s.Name)+1+10 > validation.LabelValueMaxLength {
				t.Errorf("%s is too long for its pods' labels", s.Name)
			}
			if pod.Annotations[v1alpha1.AnnotationHash] != rev.Hash || s.Annotations[v1alpha1.AnnotationHash] != rev.Hash {
				t.Errorf("hash: %v, %v, want %s", pod.Annotations, s.Annotations, rev.Hash)
			}
			// Every mount has its volume.
			have := map[string]bool{}
			for _, v := range pod.Spec.Volumes {
				have[v.Name] = true
			}
			for _, v := range s.Spec.VolumeClaimTemplates {
				have[v.Name] = true
			}
			for _, m := range pod.Spec.Containers[0].VolumeMounts {
				if !have[m.Name] {
					t.Errorf("nothing to mount at %s", m.MountPath)
				}
			}
			if len(s.Spec.VolumeClaimTemplates) != len(Volumes(c)) || len(pod.Spec.Containers[0].VolumeMounts) != 1+len(Volumes(c)) {
				t.Errorf("volumes %d, mounts %d", len(s.Spec.VolumeClaimTemplates), len(pod.Spec.Containers[0].VolumeMounts))
			}
		}
	})
}

// No number is a voter's and an observer's, and all are ZooKeeper's.
func TestNumbers(t *testing.T) {
	seen := map[int32]bool{}
	for _, r := range []Role{Voter, Observer} {
		for ordinal := range map[Role]int{Voter: 99, Observer: 155}[r] {
			n := Number(r, ordinal)
			if seen[n] || n < 1 || n > zooconfig.MaxServerID {
				t.Errorf("%s %d has number %d", r, ordinal, n)
			}
			seen[n] = true
		}
	}
}

func TestBudget(t *testing.T) {
	c := cluster(nil)
	for _, members := range []int32{0, 1} {
		if b := Budget(c, Voter, members, false); b != nil {
			t.Errorf("%d members: %v", members, b)
		}
	}
	for _, members := range []int32{2, 3, 5, 7} {
		if b := Budget(c, Voter, members, false); b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("%d members: %v", members, b.Spec.MaxUnavailable)
		}
		if b := Budget(c, Voter, members, true); b.Spec.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%d members, at a step: %v", members, b.Spec.MaxUnavailable)
		}
	}
}

// A revision that is read back renders the very pods that were kept, whatever
// this version would render now.
func TestRevisionIsKept(t *testing.T) {
	c := full()
	rev := render(t, c)
	kept, err := rev.ConfigMap(c)
	if err != nil {
		t.Fatal(err)
	}
	m := as[corev1.ConfigMap](t, kept)
	back, err := ParseRevision(m)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(as[map[string]any](t, StatefulSet(c, Voter, rev, Set{})), as[map[string]any](t, StatefulSet(c, Voter, back, Set{}))) || back.Image() != image {
		t.Error("what is read back is something else")
	}
	// An older version's pods, which had another argument.
	m.Data[keyPods] = strings.ReplaceAll(m.Data[keyPods], `"--await-bootstrap"`, `"--await"`)
	old, err := ParseRevision(m)
	if err != nil {
		t.Fatal(err)
	}
	s := as[appsv1.StatefulSet](t, StatefulSet(c, Voter, old, Set{}))
	if args := s.Spec.Template.Spec.Containers[0].Args; args[2] != "--await" {
		t.Errorf("rendered anew: %v", args)
	}

	for _, edit := range []func(*corev1.ConfigMap){
		func(m *corev1.ConfigMap) { m.Annotations = nil },
		func(m *corev1.ConfigMap) { m.Data = map[string]string{keyPods: m.Data[keyPods]} },
		func(m *corev1.ConfigMap) { m.Data = map[string]string{keyConfig: "a", keyPods: "{}"} },
		func(m *corev1.ConfigMap) { m.Data = map[string]string{keyConfig: "a", keyPods: "?"} },
	} {
		broken := m.DeepCopy()
		edit(broken)
		if _, err := ParseRevision(broken); err == nil || !strings.Contains(err.Error(), "delete it, and it is made anew") {
			t.Errorf("%v: %v", broken.Data, err)
		}
	}
}

// Sizes of a StatefulSet's claim templates stay as they are; claims grow and never
// shrink, and keep their class.
func TestClaims(t *testing.T) {
	c := full()
	rev := render(t, c)
	s := as[appsv1.StatefulSet](t, StatefulSet(c, Voter, rev, Set{}))
	c.Spec.Storage.Size = resource.MustParse("30Gi")
	again := as[appsv1.StatefulSet](t, StatefulSet(c, Voter, rev, Set{Sizes: ClaimSizes(s)}))
	if !equality.Semantic.DeepEqual(s.Spec.VolumeClaimTemplates, again.Spec.VolumeClaimTemplates) {
		t.Errorf("%v, then %v", s.Spec.VolumeClaimTemplates, again.Spec.VolumeClaimTemplates)
	}

	size := func(p *corev1ac.PersistentVolumeClaimApplyConfiguration) string {
		q := (*p.Spec.Resources.Requests)[corev1.ResourceStorage]
		return q.String()
	}
	found := as[corev1.PersistentVolumeClaim](t, Claim(full(), VolumeData, Voter, 1, nil))
	found.Spec.StorageClassName = ptr.To("chosen")
	if !Larger(c, VolumeData, found) || Larger(full(), VolumeData, found) {
		t.Error("Larger sees it otherwise")
	}
	grown := Claim(c, VolumeData, Voter, 1, found)
	if size(grown) != "30Gi" || *grown.Spec.StorageClassName != "chosen" || *grown.Name != "data-main-1" {
		t.Errorf("%s %s %s", *grown.Name, size(grown), *grown.Spec.StorageClassName)
	}
	found.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("40Gi")
	if got := size(Claim(c, VolumeData, Voter, 1, found)); got != "40Gi" {
		t.Errorf("a claim of 40Gi comes out with %s", got)
	}
	if got := size(Claim(c, VolumeLog, Observer, 0, nil)); got != "5Gi" {
		t.Errorf("the log has %s", got)
	}
}

// The server reads configuration and arguments as they are meant, and has nothing
// to warn of.
func TestConfigIsTheServers(t *testing.T) {
	for name, c := range map[string]*v1alpha1.CoordinationCluster{"default": cluster(nil), "full": full()} {
		for _, r := range []Role{Voter, Observer} {
			env := zooconfig.Env{
				ReadFile: func(name string) ([]byte, error) {
					if name == configDir+"/zoo.cfg" {
						return []byte(zooCfg(c)), nil
					}
					return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
				},
				Getenv: func(string) string { return "" },
			}
			var file, self string
			var offset int
			for args := serverArgs(c, r); len(args) > 0; args = args[1:] {
				switch args[0] {
				case "--config":
					file = args[1]
				case "--self":
					self = strings.ReplaceAll(args[1], "$(POD_NAME)", PodName(c, r, 2))
				case "--server-number-offset":
					offset = observerOffset
				}
			}
			cfg, warnings, err := zooconfig.LoadAwaiting(file, self, offset, env)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(warnings) > 0 {
				t.Errorf("%s: %v", name, warnings)
			}
			if cfg.MyID != int(Number(r, 2)) || cfg.ClientPort != PortClient || !strings.HasSuffix(cfg.PeerAddress, ":2888") {
				t.Errorf("%s: %d, clients at %d, members at %s", name, cfg.MyID, cfg.ClientPort, cfg.PeerAddress)
			}
			if cfg.DataDir != dataDir || cfg.AdminServer.Enabled || cfg.Metrics.Port != PortMetrics || cfg.AdminAddress != ":2890" || cfg.HealthAddress != ":2891" ||
				cfg.TLS.Dir != configDir+"/tls" || cfg.TLS.ServerName != TLSName(c) || cfg.TickTime.Milliseconds() != int64(c.Spec.Sessions.TickMilliseconds) {
				t.Errorf("%s: %+v", name, cfg)
			}
			if cfg.Leave.Milliseconds() != leaveMillis || cfg.Leave.Seconds() > graceSeconds/4 {
				t.Errorf("%s: it leaves for %v, and has %d s for everything", name, cfg.Leave, graceSeconds)
			}
			if name == "full" && (cfg.DataLogDir != logDir || cfg.SnapCount != 50000 || cfg.SnapRetainCount != 5 || cfg.MaxCnxns != 10000 || cfg.MinSessionTimeout.Milliseconds() != 1500) {
				t.Errorf("%s: %+v", name, cfg)
			}
		}
	}
	c := cluster(func(s *v1alpha1.CoordinationClusterSpec) {
		s.Server.Config = map[string]v1alpha1.ConfigValue{"snapCount": `a\b`, "conclave.leaveMs": "15000"}
	})
	if text := zooCfg(c); !strings.Contains(text, `snapCount=a\\b`) {
		t.Errorf("a backslash: %s", text)
	} else if strings.Count(text, "conclave.leaveMs=") != 1 || !strings.Contains(text, "conclave.leaveMs=15000\n") {
		t.Errorf("another time to leave: %s", text)
	}
}
