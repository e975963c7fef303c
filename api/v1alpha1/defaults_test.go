package v1alpha1

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// Defaults change nothing that is set, and are at rest after the first time.
// That they are those of the CRD is seen in test/api, by a real API server.
func TestSetDefaults(t *testing.T) {
	set := func(s CoordinationClusterSpec) *CoordinationCluster {
		c := &CoordinationCluster{Spec: s}
		SetDefaults(c)
		return c
	}
	c := set(CoordinationClusterSpec{})
	again := c.DeepCopy()
	SetDefaults(again)
	if !equality.Semantic.DeepEqual(c, again) {
		t.Errorf("defaults differ the second time: %+v, then %+v", c.Spec, again.Spec)
	}

	given := CoordinationClusterSpec{
		Replicas:       ptr.To[int32](0),
		Observers:      ptr.To[int32](2),
		Storage:        StorageSpec{Size: resource.MustParse("1Gi"), Retention: RetentionSpec{WhenScaled: RetentionDelete, WhenDeleted: RetentionDelete}},
		Sessions:       SessionsSpec{TickMilliseconds: 500},
		Server:         ServerSpec{LogLevel: "debug"},
		TopologySpread: []TopologySpread{},
		Service:        ServiceSpec{Type: "NodePort", Port: 1234},
		NetworkPolicy:  NetworkPolicySpec{Mode: NetworkPolicyNone},
		UpdateStrategy: UpdateStrategy{DrainSeconds: ptr.To[int32](0), StepTimeoutSeconds: ptr.To[int32](30)},
	}
	if c := set(*given.DeepCopy()); !equality.Semantic.DeepEqual(c.Spec, given) || c.Spec.TopologySpread == nil {
		t.Errorf("defaults changed what was set: %+v, now %+v", given, c.Spec)
	}
}
