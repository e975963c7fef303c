package resources

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// PodMonitorKind is of the Prometheus operator, which need not be installed.
var PodMonitorKind = schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "PodMonitor"}

// PodMonitor is how a Prometheus finds the members; nil if the spec wants none.
func PodMonitor(c *v1alpha1.CoordinationCluster) *unstructured.Unstructured {
	m := c.Spec.Monitoring.PodMonitor
	if m == nil {
		return nil
	}
	labels := maps.Clone(m.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, Labels(c))
	u := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{
			"name":      c.Name,
			"namespace": c.Namespace,
			"labels":    values(labels),
			"ownerReferences": []any{map[string]any{
				"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": v1alpha1.Kind.Kind,
				"name": c.Name, "uid": string(c.UID), "controller": true,
			}},
		},
		"spec": map[string]any{
			"selector":            map[string]any{"matchLabels": values(Selector(c))},
			"podTargetLabels":     []any{v1alpha1.LabelCluster, labelComponent},
			"podMetricsEndpoints": []any{map[string]any{"port": "metrics", "interval": fmt.Sprintf("%ds", m.IntervalSeconds)}},
		},
	}}
	u.SetGroupVersionKind(PodMonitorKind)
	return u
}

func values(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
