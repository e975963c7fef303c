package resources

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

// user is whom the image's programs run as.
const user = 65532

const (
	// leaveMillis is how long a pod that was told to end goes on serving: until it is
	// gone from the EndpointSlices, and nodes send it no new clients. The server does
	// the waiting, and no preStop hook, since it knows when there is nothing to wait
	// for: one that the operator has drained takes no clients anyway.
	leaveMillis = 5000
	// graceSeconds is the time for that, for handing over leadership, and for
	// letting clients go. The operator drains a member before it deletes the pod, so
	// this need not last for a drain: it is for those whom others evict.
	graceSeconds = 60
)

// podTemplate is a role's pod before the user's override.
func podTemplate(c *v1alpha1.CoordinationCluster, r Role, image, hash string) *corev1.PodTemplateSpec {
	s := &c.Spec
	return &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: RoleLabels(c, r),
			Annotations: map[string]string{
				v1alpha1.AnnotationHash: hash,
				// kubectl logs and exec begin with the server.
				"kubectl.kubernetes.io/default-container": ContainerName,
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:            ServiceAccountName(c),
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](graceSeconds),
			ImagePullSecrets:              s.ImagePullSecrets,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true),
				RunAsUser:    ptr.To[int64](user),
				RunAsGroup:   ptr.To[int64](user),
				FSGroup:      ptr.To[int64](user),
				// A large volume is not gone through at every start.
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			TopologySpreadConstraints: spreads(c, r),
			Containers:                []corev1.Container{server(c, r, image)},
			Volumes:                   []corev1.Volume{configVolume(c, hash)},
		},
	}
}

func server(c *v1alpha1.CoordinationCluster, r Role, image string) corev1.Container {
	s := &c.Spec
	mounts := []corev1.VolumeMount{{Name: "config", MountPath: configDir, ReadOnly: true}, {Name: string(VolumeData), MountPath: dataDir}}
	if s.Storage.Log != nil {
		mounts = append(mounts, corev1.VolumeMount{Name: string(VolumeLog), MountPath: logDir})
	}
	return corev1.Container{
		Name:            ContainerName,
		Image:           image,
		ImagePullPolicy: s.ImagePullPolicy,
		Command:         []string{"/conclave-server"},
		Args:            serverArgs(c, r),
		Env:             serverEnv(c),
		Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: PortClient, Protocol: corev1.ProtocolTCP},
			{Name: "peer", ContainerPort: PortPeer, Protocol: corev1.ProtocolTCP},
			{Name: "admin", ContainerPort: PortAdmin, Protocol: corev1.ProtocolTCP},
			{Name: "health", ContainerPort: PortHealth, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: PortMetrics, Protocol: corev1.ProtocolTCP},
		},
		Resources:    s.Resources,
		VolumeMounts: mounts,
		// Ten minutes for reading a large tree from disk.
		StartupProbe:   probe("live", 2, 300),
		LivenessProbe:  probe("live", 10, 6),
		ReadinessProbe: probe("ready", 2, 1),
		// A member that ends says why on its last line; status shows it.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func serverArgs(c *v1alpha1.CoordinationCluster, r Role) []string {
	// No role: whether a member votes is what it is told when it is added.
	args := []string{
		"--config", configDir + "/" + keyConfig,
		"--await-bootstrap",
		"--self", fmt.Sprintf("$(POD_NAME).%s.%s.svc:%d:%d;%d", HeadlessName(c), c.Namespace, PortPeer, PortElection, PortClient),
	}
	if r == Observer {
		args = append(args, "--server-number-offset", strconv.Itoa(observerOffset))
	}
	return append(args, "--log-format", "json", "--log-level", string(c.Spec.Server.LogLevel))
}

func serverEnv(c *v1alpha1.CoordinationCluster) []corev1.EnvVar {
	env := []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}}}
	if limit, ok := c.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
		// The collector works harder before the kernel ends the process.
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit.Value()/10*9, 10)})
	}
	if d := c.Spec.Server.SuperDigestSecret; d != nil {
		env = append(env,
			corev1.EnvVar{Name: "SUPER_DIGEST", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: d.Name}, Key: d.Key}}},
			corev1.EnvVar{Name: "SERVER_JVMFLAGS", Value: "-Dzookeeper.DigestAuthenticationProvider.superDigest=$(SUPER_DIGEST)"})
	}
	return env
}

func probe(service string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: PortHealth, Service: &service}},
		PeriodSeconds:    period,
		TimeoutSeconds:   min(period, 5),
		FailureThreshold: failures,
		SuccessThreshold: 1,
	}
}

// configVolume has the configuration of a revision, which never changes, and the
// certificates, which are renewed in place.
func configVolume(c *v1alpha1.CoordinationCluster, hash string) corev1.Volume {
	return corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To[int32](0o440),
		Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: RevisionName(c, hash)},
				Items:                []corev1.KeyToPath{{Key: keyConfig, Path: keyConfig}},
			}},
			{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: TLSSecretName(c)},
				Items: []corev1.KeyToPath{
					{Key: keyBundle, Path: "tls/" + keyBundle},
					{Key: corev1.TLSCertKey, Path: "tls/" + corev1.TLSCertKey},
					{Key: corev1.TLSPrivateKeyKey, Path: "tls/" + corev1.TLSPrivateKeyKey},
				},
			}},
		},
	}}}
}

func spreads(c *v1alpha1.CoordinationCluster, r Role) []corev1.TopologySpreadConstraint {
	var out []corev1.TopologySpreadConstraint
	for _, t := range c.Spec.TopologySpread {
		out = append(out, corev1.TopologySpreadConstraint{
			TopologyKey:       t.TopologyKey,
			MaxSkew:           t.MaxSkew,
			WhenUnsatisfiable: corev1.UnsatisfiableConstraintAction(t.WhenUnsatisfiable),
			LabelSelector:     &metav1.LabelSelector{MatchLabels: RoleSelector(c, r)},
		})
	}
	return out
}
