package resources

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Headless is the Service that gives each member a name, from the moment that its
// pod has an address: members find each other before they are ready.
func Headless(c *v1alpha1.CoordinationCluster) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(HeadlessName(c), c.Namespace).
		WithLabels(Labels(c)).
		WithOwnerReferences(owner(c)).
		WithSpec(corev1ac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithClusterIP(corev1.ClusterIPNone).
			WithPublishNotReadyAddresses(true).
			WithSelector(Selector(c)).
			WithPorts(
				servicePort("client", PortClient, PortClient),
				servicePort("peer", PortPeer, PortPeer),
				servicePort("admin", PortAdmin, PortAdmin),
				servicePort("metrics", PortMetrics, PortMetrics)))
}

// ClientService is what clients connect to: all members that are ready.
func ClientService(c *v1alpha1.CoordinationCluster) *corev1ac.ServiceApplyConfiguration {
	s := &c.Spec.Service
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, Labels(c))
	port := servicePort("client", s.Port, PortClient)
	if s.NodePort != nil {
		port.WithNodePort(*s.NodePort)
	}
	spec := corev1ac.ServiceSpec().
		WithType(corev1.ServiceType(s.Type)).
		WithSelector(Selector(c)).
		WithPorts(port)
	if s.LoadBalancerClass != nil {
		spec.WithLoadBalancerClass(*s.LoadBalancerClass)
	}
	if s.ExternalTrafficPolicy != "" {
		spec.WithExternalTrafficPolicy(corev1.ServiceExternalTrafficPolicy(s.ExternalTrafficPolicy))
	}
	out := corev1ac.Service(ServiceName(c), c.Namespace).WithLabels(labels).WithOwnerReferences(owner(c)).WithSpec(spec)
	if len(s.Annotations) > 0 {
		out.WithAnnotations(s.Annotations)
	}
	return out
}

func servicePort(name string, port, target int32) *corev1ac.ServicePortApplyConfiguration {
	return corev1ac.ServicePort().
		WithName(name).WithProtocol(corev1.ProtocolTCP).WithPort(port).WithTargetPort(intstr.FromInt32(target))
}
