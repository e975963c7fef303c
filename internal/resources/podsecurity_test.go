//go:build envtest

package resources

import (
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/conclave-dev/conclave/test/api/apiserver"
)

var api client.Client

func TestMain(m *testing.M) {
	os.Exit(func() int {
		server, err := apiserver.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Stop()
		if api, err = client.New(server.Config, client.Options{Scheme: clientgoscheme.Scheme}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// Kubernetes' own admission and unrestricted judge alike.
func TestPodSecurityIsKubernetes(t *testing.T) {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restricted-", Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}}}
	if err := api.Create(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: space.Name, Name: "main-member"}}
	if err := api.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	container := func(text string) string { return "{spec: {containers: [{name: server, " + text + "}]}}" }
	for _, patch := range []string{
		"{}",
		"{spec: {hostNetwork: true}}", "{spec: {hostPID: true}}", "{spec: {hostIPC: true}}",
		"{spec: {volumes: [{name: a, emptyDir: {}}]}}", "{spec: {volumes: [{name: a, hostPath: {path: /}}]}}",
		"{spec: {volumes: [{name: a, nfs: {server: a, path: /b}}]}}", "{spec: {volumes: [{name: a, image: {reference: a}}]}}",
		"{spec: {volumes: [{name: a, downwardAPI: {items: []}}]}}", "{spec: {volumes: [{name: a, secret: {secretName: b}}]}}",
		"{spec: {securityContext: {runAsUser: 0}}}", "{spec: {securityContext: {runAsUser: 1}}}", "{spec: {securityContext: {runAsNonRoot: false}}}",
		"{spec: {securityContext: {seccompProfile: {type: Unconfined}}}}", "{spec: {securityContext: {seccompProfile: null}}}",
		"{spec: {securityContext: {seccompProfile: {type: Localhost, localhostProfile: a}}}}",
		"{spec: {securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}}", "{spec: {securityContext: {sysctls: [{name: net.ipv4.tcp_rmem, value: '1'}]}}}",
		"{spec: {securityContext: {seLinuxOptions: {type: container_t}}}}", "{spec: {securityContext: {seLinuxOptions: {type: spc_t}}}}", "{spec: {securityContext: {seLinuxOptions: {user: a}}}}",
		"{spec: {securityContext: {appArmorProfile: {type: Unconfined}}}}", "{spec: {securityContext: {appArmorProfile: {type: RuntimeDefault}}}}",
		container("securityContext: {privileged: true, allowPrivilegeEscalation: true}"), container("securityContext: {allowPrivilegeEscalation: null}"),
		container("securityContext: {runAsUser: 0}"), container("securityContext: {runAsNonRoot: false}"), container("securityContext: {runAsNonRoot: true}"),
		container("securityContext: {capabilities: {drop: null}}"), container("securityContext: {capabilities: {add: [NET_BIND_SERVICE]}}"), container("securityContext: {capabilities: {add: [NET_ADMIN]}}"),
		container("securityContext: {seccompProfile: {type: Unconfined}}"), container("securityContext: {procMount: Unmasked}"),
		container("ports: [{containerPort: 1, hostPort: 1}]"), container("securityContext: {windowsOptions: {hostProcess: true}}"),
		container("lifecycle: {postStart: {httpGet: {host: a, port: 1}}}"), container("lifecycle: {postStart: {httpGet: {port: 1}}}"),
		"{spec: {initContainers: [{name: a, image: b}]}}", "{spec: {containers: [{name: a, image: b}]}}",
		"{spec: {containers: [{name: a, image: b, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}",
		"{spec: {containers: [{name: a, image: b, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [KILL]}}}]}}",
	} {
		t.Run(patch, func(t *testing.T) {
			c := cluster(nil)
			base := podTemplate(c, Voter, image, "x")
			// The disk, which a StatefulSet adds.
			base.Spec.Volumes = append(base.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-main-0"}}})
			text := *as[map[string]any](t, base)
			merged, err := strategicpatch.StrategicMergeMapPatch(text, *as[map[string]any](t, template(patch)), corev1.PodTemplateSpec{})
			if err != nil {
				t.Fatal(err)
			}
			pod := as[corev1.Pod](t, merged)
			pod.Namespace, pod.Name = space.Name, "main-0"
			ours := unrestricted(&pod.Spec)
			err = api.Create(t.Context(), pod, client.DryRunAll)
			forbidden := err != nil && strings.Contains(err.Error(), "violates PodSecurity")
			if err != nil && !forbidden && len(ours) == 0 {
				t.Errorf("refused for another reason: %v", err)
			}
			if err != nil && !forbidden {
				t.Logf("Pod Security was not asked: %v", err)
				return
			}
			if forbidden != (len(ours) > 0) {
				t.Errorf("Kubernetes says %v, and we say %q", err, ours)
			}
		})
	}
}
