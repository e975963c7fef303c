package resources

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

func TestOverride(t *testing.T) {
	for _, c := range []struct {
		name, template string
		// want is nothing if the override is to be taken.
		want string
	}{
		{"labels", `{metadata: {labels: {a: b}, annotations: {c: d}}}`, ""},
		{"scheduling", `{spec: {nodeSelector: {a: b}, tolerations: [{operator: Exists}], priorityClassName: a, affinity: {nodeAffinity: {}}, schedulerName: a, runtimeClassName: b}}`, ""},
		{"no spread after all", `{spec: {topologySpreadConstraints: [{$patch: replace}]}}`, ""},
		{"resources", `{spec: {containers: [{name: server, resources: {limits: {memory: 3Gi}}}]}}`, ""},
		{"environment", `{spec: {containers: [{name: server, env: [{name: GOGC, value: "50"}]}]}}`, ""},
		{"a container more", `{spec: {containers: [{name: a, image: b, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}}]}}`, ""},
		{"a volume more", `{spec: {volumes: [{name: a, emptyDir: {}}], containers: [{name: server, volumeMounts: [{name: a, mountPath: /a}], ports: [{name: a, containerPort: 1}]}]}}`, ""},
		{"another user", `{spec: {securityContext: {runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: Localhost, localhostProfile: a}}}}`, ""},
		{"more time", `{spec: {terminationGracePeriodSeconds: 300}}`, ""},

		{"a slip of the pen", `{spec: {nodeSelectors: {a: b}}}`, `unknown field "spec.nodeSelectors"`},
		{"in a list", `{spec: {containers: [{name: server, environment: []}]}}`, `unknown field "spec.containers[0].environment"`},
		{"a wrong type", `{spec: {nodeSelector: [a]}}`, "cannot unmarshal"},
		{"a name", `{metadata: {name: a}}`, "labels and annotations of its own, and nothing else"},

		{"our labels", `{metadata: {labels: {conclave.dev/cluster: a}}}`, "metadata.labels.conclave.dev/cluster can't be overridden"},
		{"our labels removed", `{metadata: {labels: {$patch: replace}}}`, "metadata.labels.conclave.dev/cluster can't be overridden"},
		{"the hash", `{metadata: {annotations: {conclave.dev/hash: a}}}`, "restarts go by it"},
		{"image", `{spec: {containers: [{name: server, image: a}]}}`, "use spec.image"},
		{"command", `{spec: {containers: [{name: server, command: [sh]}]}}`, "use spec.server"},
		{"arguments", `{spec: {containers: [{name: server, args: [-x]}]}}`, "use spec.server"},
		{"flags in the environment", `{spec: {containers: [{name: server, env: [{name: JVMFLAGS, value: -Da=b}]}]}}`, "use spec.server.config"},
		{"a hidden environment", `{spec: {containers: [{name: server, envFrom: [{configMapRef: {name: a}}]}]}}`, "name each variable in env"},
		{"our environment", `{spec: {containers: [{name: server, env: [{name: POD_NAME, value: a, valueFrom: null}]}]}}`, "env can't be overridden"},
		{"probes", `{spec: {containers: [{name: server, livenessProbe: null}]}}`, "they ask the server itself"},
		{"a probe's patience", `{spec: {containers: [{name: server, readinessProbe: {failureThreshold: 9}}]}}`, "they ask the server itself"},
		{"lifecycle", `{spec: {containers: [{name: server, lifecycle: {preStop: {sleep: {seconds: 1}}}}]}}`, "lifecycle can't be overridden"},
		{"ports", `{spec: {containers: [{name: server, ports: [{containerPort: 2181, $patch: delete}]}]}}`, "ports can't be overridden"},
		{"mounts", `{spec: {containers: [{name: server, volumeMounts: [{mountPath: /data, name: a}]}], volumes: [{name: a, emptyDir: {}}]}}`, "volumeMounts can't be overridden"},
		{"the configuration's volume", `{spec: {volumes: [{name: config, projected: null, emptyDir: {}}]}}`, "spec.volumes[config] can't be overridden"},
		{"the data's volume", `{spec: {volumes: [{name: data, emptyDir: {}}]}}`, "it is the member's own disk"},
		{"the server removed", `{spec: {containers: [{name: server, $patch: delete}]}}`, "the container server is missing"},
		{"a writable root", `{spec: {containers: [{name: server, securityContext: {readOnlyRootFilesystem: false}}]}}`, "readOnlyRootFilesystem can't be overridden"},
		{"account", `{spec: {serviceAccountName: admin}}`, "members have no rights in Kubernetes"},
		{"account, by its old name", `{spec: {serviceAccount: admin}}`, "members have no rights in Kubernetes"},
		{"token", `{spec: {automountServiceAccountToken: true}}`, "members have no rights in Kubernetes"},
		{"no time", `{spec: {terminationGracePeriodSeconds: 5}}`, "a member needs 30 s or more"},
		{"host name", `{spec: {hostname: a}}`, "the StatefulSet names its pods"},
		{"restart policy", `{spec: {restartPolicy: Never}}`, "spec.restartPolicy can't be overridden"},

		{"host network", `{spec: {hostNetwork: true}}`, "spec.hostNetwork, hostPID, hostIPC: the Pod Security standard"},
		{"a path of the host", `{spec: {volumes: [{name: a, hostPath: {path: /}}]}}`, "the kind of spec.volumes[a]"},
		{"root", `{spec: {securityContext: {runAsUser: 0}}}`, "runAsUser 0"},
		{"root may be", `{spec: {securityContext: {runAsNonRoot: false}}}`, "spec.containers[server]: running as root"},
		{"no seccomp", `{spec: {securityContext: {seccompProfile: {type: Unconfined}}}}`, "seccompProfile"},
		{"privileged", `{spec: {containers: [{name: server, securityContext: {privileged: true}}]}}`, "securityContext.privileged"},
		{"a loose container more", `{spec: {containers: [{name: a, image: b}]}}`, "spec.containers[a]: securityContext.allowPrivilegeEscalation"},
		{"a loose container before", `{spec: {initContainers: [{name: a, image: b}]}}`, "spec.initContainers[a]: securityContext.capabilities.drop"},
		{"a capability", `{spec: {containers: [{name: server, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}}`, "capabilities.add"},
		{"a port of the host", `{spec: {containers: [{name: server, ports: [{containerPort: 1, hostPort: 1}]}]}}`, "a host port"},
		{"two things at once", `{spec: {hostPID: true, hostname: a}}`, "the StatefulSet names its pods; spec.hostNetwork, hostPID, hostIPC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Render(cluster(func(s *v1alpha1.CoordinationClusterSpec) { s.PodTemplate = template(c.template) }), image)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// What the operator itself renders is restricted, with and without everything.
func TestRestricted(t *testing.T) {
	for _, c := range []*v1alpha1.CoordinationCluster{cluster(nil), full()} {
		for _, r := range []Role{Voter, Observer} {
			if errs := unrestricted(&podTemplate(c, r, image, "x").Spec); len(errs) > 0 {
				t.Error(errs)
			}
		}
	}
	if errs := unrestricted(&corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}); len(errs) < 4 {
		t.Errorf("an ordinary pod: %v", errs)
	}
}
