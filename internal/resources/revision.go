package resources

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// Revision is what the pods of one hash are: their configuration and their
// templates, as they were rendered when that hash was first seen. It is kept in
// an immutable ConfigMap, from which pods mount their configuration, and which is
// needed as long as a pod or a StatefulSet has its hash.
type Revision struct {
	Hash   string
	config string
	pods   map[Role]*corev1ac.PodTemplateSpecApplyConfiguration
}

// Keys of a revision's ConfigMap.
const (
	keyConfig = "zoo.cfg"
	keyPods   = "pods.json"
)

// Render makes the revision of a spec with the image that Image returned. An
// error is about spec.podTemplate, and for its author.
func Render(c *v1alpha1.CoordinationCluster, image string) (*Revision, error) {
	hash, err := Hash(c, image)
	if err != nil {
		return nil, err
	}
	r := &Revision{Hash: hash, config: zooCfg(c), pods: map[Role]*corev1ac.PodTemplateSpecApplyConfiguration{}}
	for _, role := range []Role{Voter, Observer} {
		base := podTemplate(c, role, image, hash)
		merged, err := override(base, c.Spec.PodTemplate)
		if err != nil {
			return nil, err
		}
		if r.pods[role], err = applied(merged); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// applied says of a template what is in it.
func applied(t *corev1.PodTemplateSpec) (*corev1ac.PodTemplateSpecApplyConfiguration, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("rendering a pod: %w", err)
	}
	out := corev1ac.PodTemplateSpec()
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("rendering a pod: %w", err)
	}
	return out, nil
}

// ConfigMap is the revision as it is kept.
func (r *Revision) ConfigMap(c *v1alpha1.CoordinationCluster) (*corev1ac.ConfigMapApplyConfiguration, error) {
	pods, err := json.Marshal(r.pods)
	if err != nil {
		return nil, fmt.Errorf("keeping a revision: %w", err)
	}
	return corev1ac.ConfigMap(RevisionName(c, r.Hash), c.Namespace).
		WithLabels(Labels(c)).
		WithAnnotations(map[string]string{v1alpha1.AnnotationHash: r.Hash}).
		WithOwnerReferences(owner(c)).
		WithImmutable(true).
		WithData(map[string]string{keyConfig: r.config, keyPods: string(pods)}), nil
}

// ParseRevision reads what ConfigMap wrote.
func ParseRevision(m *corev1.ConfigMap) (*Revision, error) {
	r := &Revision{Hash: m.Annotations[v1alpha1.AnnotationHash], config: m.Data[keyConfig]}
	if r.Hash == "" || r.config == "" {
		return nil, fmt.Errorf("ConfigMap %s is no revision: it has no %s, or no %s; delete it, and it is made anew", m.Name, v1alpha1.AnnotationHash, keyConfig)
	}
	if err := json.Unmarshal([]byte(m.Data[keyPods]), &r.pods); err != nil {
		return nil, fmt.Errorf("ConfigMap %s, %s: %w; delete it, and it is made anew", m.Name, keyPods, err)
	}
	for _, role := range []Role{Voter, Observer} {
		if r.pods[role] == nil {
			return nil, fmt.Errorf("ConfigMap %s, %s: there is no %s; delete it, and it is made anew", m.Name, keyPods, role)
		}
	}
	return r, nil
}

// Image is what the revision's members run.
func (r *Revision) Image() string {
	for _, c := range r.pods[Voter].Spec.Containers {
		if c.Name != nil && *c.Name == ContainerName && c.Image != nil {
			return *c.Image
		}
	}
	return ""
}
