package resources

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// OperatorLabels select the operator's pods.
func OperatorLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "conclave-operator"}
}

// NetworkPolicy lets clients to the client port, members to each other, the
// operator to the admin port, and everybody to health and metrics, which tell and
// take nothing. nil if the spec wants none. kubectl port-forward is not concerned.
// operatorNamespace is where the operator runs: anybody may call a pod of his own by
// the operator's labels. If it is empty, as outside of a cluster, every namespace will
// do, and the certificates alone keep others out.
func NetworkPolicy(c *v1alpha1.CoordinationCluster, operatorNamespace string) (*networkingv1ac.NetworkPolicyApplyConfiguration, error) {
	if c.Spec.NetworkPolicy.Mode == v1alpha1.NetworkPolicyNone {
		return nil, nil
	}
	clients, err := peers(c.Spec.NetworkPolicy.Clients)
	if err != nil {
		return nil, err
	}
	members := networkingv1ac.NetworkPolicyPeer().WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c)))
	namespaces := metav1ac.LabelSelector()
	if operatorNamespace != "" {
		namespaces.WithMatchLabels(map[string]string{corev1.LabelMetadataName: operatorNamespace})
	}
	operator := networkingv1ac.NetworkPolicyPeer().
		WithNamespaceSelector(namespaces).
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(OperatorLabels()))
	return networkingv1ac.NetworkPolicy(c.Name, c.Namespace).
		WithLabels(Labels(c)).
		WithOwnerReferences(owner(c)).
		WithSpec(networkingv1ac.NetworkPolicySpec().
			WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c))).
			WithPolicyTypes(networkingv1.PolicyTypeIngress).
			WithIngress(
				ingress(clients, PortClient),
				ingress([]*networkingv1ac.NetworkPolicyPeerApplyConfiguration{members}, PortPeer),
				ingress([]*networkingv1ac.NetworkPolicyPeerApplyConfiguration{operator}, PortAdmin),
				ingress(nil, PortHealth, PortMetrics))), nil
}

// ingress opens ports to peers; to everybody if there are none.
func ingress(peers []*networkingv1ac.NetworkPolicyPeerApplyConfiguration, ports ...int32) *networkingv1ac.NetworkPolicyIngressRuleApplyConfiguration {
	r := networkingv1ac.NetworkPolicyIngressRule().WithFrom(peers...)
	for _, p := range ports {
		r.WithPorts(networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(p)))
	}
	return r
}

// peers are the user's.
func peers(from []networkingv1.NetworkPolicyPeer) ([]*networkingv1ac.NetworkPolicyPeerApplyConfiguration, error) {
	if len(from) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("spec.networkPolicy.clients: %w", err)
	}
	var out []*networkingv1ac.NetworkPolicyPeerApplyConfiguration
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("spec.networkPolicy.clients: %w", err)
	}
	return out, nil
}
