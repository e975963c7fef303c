package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// SetDefaults fills in what the API server fills in from the CRD, for a spec that
// it has not seen. It changes nothing that is set.
func SetDefaults(c *CoordinationCluster) {
	s := &c.Spec
	orPointer(&s.Replicas, 3)
	orPointer(&s.Observers, 0)
	if s.Storage.Size.IsZero() {
		s.Storage.Size = resource.MustParse("10Gi")
	}
	if l := s.Storage.Log; l != nil && l.Size.IsZero() {
		l.Size = resource.MustParse("10Gi")
	}
	or(&s.Storage.Retention.WhenDeleted, RetentionRetain)
	or(&s.Storage.Retention.WhenScaled, RetentionRetain)
	or(&s.Sessions.TickMilliseconds, 2000)
	or(&s.Server.LogLevel, "info")
	if s.TopologySpread == nil {
		s.TopologySpread = []TopologySpread{{TopologyKey: "kubernetes.io/hostname"}, {TopologyKey: "topology.kubernetes.io/zone"}}
	}
	for i := range s.TopologySpread {
		or(&s.TopologySpread[i].MaxSkew, 1)
		or(&s.TopologySpread[i].WhenUnsatisfiable, "ScheduleAnyway")
	}
	or(&s.Service.Type, "ClusterIP")
	or(&s.Service.Port, 2181)
	or(&s.NetworkPolicy.Mode, NetworkPolicyManaged)
	orPointer(&s.UpdateStrategy.DrainSeconds, 10)
	orPointer(&s.UpdateStrategy.StepTimeoutSeconds, 600)
	if m := s.Monitoring.PodMonitor; m != nil {
		or(&m.IntervalSeconds, 30)
	}
	if l := s.Leases; l != nil {
		or(&l.DurationSeconds, 60)
		or(&l.MaxLeases, 1000)
		for i := range l.Rules {
			or(&l.Rules[i].Holder.From, HolderSession)
		}
	}
}

func or[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func orPointer[T any](p **T, value T) {
	if *p == nil {
		*p = ptr.To(value)
	}
}
