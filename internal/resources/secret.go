package resources

import (
	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

const keyBundle = "ca.crt"

// TLSSecret is what members trust (bundle) and show (cert and key), in PEM.
func TLSSecret(c *v1alpha1.CoordinationCluster, bundle, cert, key []byte) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(TLSSecretName(c), c.Namespace).
		WithLabels(Labels(c)).
		WithOwnerReferences(owner(c)).
		WithType(corev1.SecretTypeTLS).
		WithData(map[string][]byte{keyBundle: bundle, corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key})
}

// ReaderSecret is what people trust and show who look at sessions, in PEM.
func ReaderSecret(c *v1alpha1.CoordinationCluster, bundle, cert, key []byte) *corev1ac.SecretApplyConfiguration {
	s := TLSSecret(c, bundle, cert, key)
	return s.WithName(ReaderSecretName(c))
}

// AuthoritySecret is the cluster's certificate authority, as pki writes it.
func AuthoritySecret(c *v1alpha1.CoordinationCluster, data map[string][]byte) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(AuthoritySecretName(c), c.Namespace).
		WithLabels(Labels(c)).
		WithOwnerReferences(owner(c)).
		WithType(corev1.SecretTypeOpaque).
		WithData(data)
}

// ServiceAccount is the members' account. They get no token of it.
func ServiceAccount(c *v1alpha1.CoordinationCluster) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(ServiceAccountName(c), c.Namespace).
		WithLabels(Labels(c)).
		WithOwnerReferences(owner(c)).
		WithAutomountServiceAccountToken(false)
}
