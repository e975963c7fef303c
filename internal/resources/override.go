package resources

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// override merges the user's podTemplate into the operator's pod. What the
// ensemble stands on may not come out changed: that is refused, all of it at
// once, and never silently put back, so that nobody believes in an override that
// is none.
func override(base *corev1.PodTemplateSpec, patch *runtime.RawExtension) (*corev1.PodTemplateSpec, error) {
	if patch == nil || len(patch.Raw) == 0 {
		return base, nil
	}
	if err := checkPatch(patch.Raw); err != nil {
		return nil, err
	}
	text, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("rendering a pod: %w", err)
	}
	merged, err := strategicpatch.StrategicMergePatch(text, patch.Raw, corev1.PodTemplateSpec{})
	if err != nil {
		return nil, fmt.Errorf("spec.podTemplate can't be merged into the operator's pod: %w", err)
	}
	out := &corev1.PodTemplateSpec{}
	if err := json.Unmarshal(merged, out); err != nil {
		return nil, fmt.Errorf("spec.podTemplate makes no pod: %w", err)
	}
	if errs := append(changed(base, out), unrestricted(&out.Spec)...); len(errs) > 0 {
		return nil, fmt.Errorf("spec.podTemplate: %s", strings.Join(errs, "; "))
	}
	return out, nil
}

// checkPatch finds what is no field of a pod template, for example by a slip of
// the pen: a merge would drop it without a word. Directives of the merge are no
// fields either, and fine.
func checkPatch(raw []byte) error {
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return fmt.Errorf("spec.podTemplate: %w", err)
	}
	text, err := json.Marshal(withoutDirectives(tree))
	if err != nil {
		return fmt.Errorf("spec.podTemplate: %w", err)
	}
	var t corev1.PodTemplateSpec
	strict, err := kjson.UnmarshalStrict(text, &t)
	if err = errors.Join(append(strict, err)...); err != nil {
		return fmt.Errorf("spec.podTemplate: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	meta := t.ObjectMeta
	meta.Labels, meta.Annotations = nil, nil
	if !equality.Semantic.DeepEqual(meta, corev1.PodTemplateSpec{}.ObjectMeta) {
		return errors.New("spec.podTemplate.metadata: a pod has labels and annotations of its own, and nothing else")
	}
	return nil
}

func withoutDirectives(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if !strings.HasPrefix(k, "$") {
				out[k] = withoutDirectives(x)
			}
		}
		return out
	case []any:
		out := []any{}
		for _, x := range v {
			out = append(out, withoutDirectives(x))
		}
		return out
	}
	return v
}

// changed says which of the things that the ensemble stands on an override has
// changed.
func changed(base, merged *corev1.PodTemplateSpec) []string {
	var errs []string
	say := func(path, advice string) { errs = append(errs, path+" can't be overridden: "+advice) }
	same := func(path string, a, b any, advice string) {
		if !equality.Semantic.DeepEqual(a, b) {
			say(path, advice)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(base.Labels)) {
		same("metadata.labels."+k, base.Labels[k], merged.Labels[k], "Services and the operator find the pod by it")
	}
	same("metadata.annotations."+v1alpha1.AnnotationHash, base.Annotations[v1alpha1.AnnotationHash], merged.Annotations[v1alpha1.AnnotationHash], "restarts go by it")

	a, b := &base.Spec, &merged.Spec
	same("spec.serviceAccountName", []string{a.ServiceAccountName, a.DeprecatedServiceAccount}, []string{b.ServiceAccountName, b.DeprecatedServiceAccount}, "members have no rights in Kubernetes")
	same("spec.automountServiceAccountToken", a.AutomountServiceAccountToken, b.AutomountServiceAccountToken, "members have no rights in Kubernetes; a container that needs a token can mount one as a projected volume")
	same("spec.restartPolicy", a.RestartPolicy, b.RestartPolicy, "a StatefulSet restarts its containers always")
	same("spec.hostname", []any{a.Hostname, a.Subdomain, a.SetHostnameAsFQDN, a.HostnameOverride}, []any{b.Hostname, b.Subdomain, b.SetHostnameAsFQDN, b.HostnameOverride}, "the StatefulSet names its pods")
	same("spec.activeDeadlineSeconds", a.ActiveDeadlineSeconds, b.ActiveDeadlineSeconds, "members stay")
	same("spec.imagePullSecrets", missingNames(a.ImagePullSecrets, b.ImagePullSecrets), []string(nil), "use spec.imagePullSecrets")
	if t := b.TerminationGracePeriodSeconds; t == nil || *t < graceSeconds/2 {
		say("spec.terminationGracePeriodSeconds", fmt.Sprintf("a member needs %d s or more to hand over and to let its clients go", graceSeconds/2))
	}
	for _, v := range a.Volumes {
		if i := slices.IndexFunc(b.Volumes, func(o corev1.Volume) bool { return o.Name == v.Name }); i < 0 || !equality.Semantic.DeepEqual(v, b.Volumes[i]) {
			say("spec.volumes["+v.Name+"]", "the server reads its configuration and certificates there; give another volume another name")
		}
	}
	for _, v := range b.Volumes {
		if v.Name == string(VolumeData) || v.Name == string(VolumeLog) {
			say("spec.volumes["+v.Name+"]", "it is the member's own disk; give another volume another name")
		}
	}
	i := slices.IndexFunc(b.Containers, func(c corev1.Container) bool { return c.Name == ContainerName })
	if i < 0 {
		return append(errs, "the container "+ContainerName+" is missing")
	}
	return append(errs, changedServer(&a.Containers[0], &b.Containers[i])...)
}

func changedServer(a, b *corev1.Container) []string {
	var errs []string
	same := func(field string, a, b any, advice string) {
		if !equality.Semantic.DeepEqual(a, b) {
			errs = append(errs, fmt.Sprintf("spec.containers[%s].%s can't be overridden: %s", ContainerName, field, advice))
		}
	}
	same("image", []any{a.Image, a.ImagePullPolicy}, []any{b.Image, b.ImagePullPolicy}, "use spec.image or spec.version, and spec.imagePullPolicy: a change of them is rolled out with care")
	same("command", []any{a.Command, a.Args, a.WorkingDir}, []any{b.Command, b.Args, b.WorkingDir}, "use spec.server for the server's options")
	same("startupProbe, livenessProbe, readinessProbe", []any{a.StartupProbe, a.LivenessProbe, a.ReadinessProbe}, []any{b.StartupProbe, b.LivenessProbe, b.ReadinessProbe}, "they ask the server itself")
	same("lifecycle", a.Lifecycle, b.Lifecycle, "the server itself takes leave of its clients when it is told to stop; for how long, conclave.leaveMs says in spec.server.config")
	same("ports", missing(a.Ports, b.Ports), []corev1.ContainerPort(nil), "others go by the ports that there are; more can be added")
	same("volumeMounts", missing(a.VolumeMounts, b.VolumeMounts), []corev1.VolumeMount(nil), "data and configuration are there; more can be added")
	same("env", missing(a.Env, b.Env), []corev1.EnvVar(nil), "the operator has set it; more can be added")
	same("envFrom", len(b.EnvFrom), 0, "name each variable in env: a hidden one might be an option of the server")
	for _, e := range b.Env {
		if (e.Name == "SERVER_JVMFLAGS" || e.Name == "JVMFLAGS") && !slices.ContainsFunc(a.Env, func(o corev1.EnvVar) bool { return o.Name == e.Name }) {
			same("env["+e.Name+"]", 0, 1, "use spec.server.config for the server's options")
		}
	}
	s := b.SecurityContext
	same("securityContext.readOnlyRootFilesystem", true, s != nil && s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem, "the server writes to its volumes alone")
	return errs
}

// missing returns the elements of base that merged does not have as they were.
func missing[T any](base, merged []T) []T {
	var out []T
	for _, x := range base {
		if !slices.ContainsFunc(merged, func(y T) bool { return equality.Semantic.DeepEqual(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

func missingNames(base, merged []corev1.LocalObjectReference) []string {
	var out []string
	for _, x := range missing(base, merged) {
		out = append(out, x.Name)
	}
	return out
}
