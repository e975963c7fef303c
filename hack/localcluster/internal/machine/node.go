package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
	"github.com/conclave-dev/conclave/hack/localcluster/internal/supervise"
)

const containerdSocket = "/run/containerd/containerd.sock"

// startNodeComponents starts containerd, gives it the images that every node
// has, and starts the kubelet and kube-proxy.
func startNodeComponents(c *layout.Cluster, n layout.Node, s *supervise.Supervisor) error {
	if err := writeFile("/etc/cni/net.d/10-pods.conflist", cniConfig(n)); err != nil {
		return err
	}
	config := filepath.Join(c.Dir(n), "containerd.toml")
	if err := writeFile(config, containerdConfig(c)); err != nil {
		return err
	}
	if err := s.Start("containerd", c.Program("containerd"), "-c", config); err != nil {
		return err
	}
	err := poll(s, 2*time.Minute, "containerd does not answer", func(context.Context) error {
		return supervise.Command(c.Program("ctr"), "--connect-timeout", "2s", "version")
	})
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(c.Images(), "*.tar"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if err := supervise.Command(c.Program("ctr"), ImportArgs(a)...); err != nil {
			return err
		}
	}
	if err := startKubelet(c, n, s); err != nil {
		return err
	}
	proxy := filepath.Join(c.Dir(n), "proxy.json")
	if err := writeFile(proxy, proxyConfig(c, n)); err != nil {
		return err
	}
	return s.Start("kube-proxy", c.Program("kube-proxy"), "--config="+proxy)
}

// ImportArgs are the arguments with which ctr, on a node, imports an archive.
func ImportArgs(archive string) []string {
	return []string{"--namespace", "k8s.io", "images", "import", "--local", archive}
}

func startKubelet(c *layout.Cluster, n layout.Node, s *supervise.Supervisor) error {
	// A file without name servers: what is outside of the cluster has no name.
	if err := writeFile(filepath.Join(c.Dir(n), "resolv.conf"), ""); err != nil {
		return err
	}
	config := filepath.Join(c.Dir(n), "kubelet.json")
	if err := writeFile(config, kubeletConfig(c, n)); err != nil {
		return err
	}
	return s.Start("kubelet", c.Program("kubelet"),
		"--config="+config, "--kubeconfig="+c.Kubeconfig("kubelet-"+n.Name()),
		"--hostname-override="+n.Name(), "--node-ip="+n.IP(),
		"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone="+n.Zone())
}

// containerdConfig is containerd's. Snapshots are overlays; images come from
// archives only.
func containerdConfig(c *layout.Cluster) string {
	return fmt.Sprintf(`version = 3

[grpc]
address = %[1]q

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = %[2]q

[plugins."io.containerd.cri.v1.runtime"]
# Lowering a process's OOM score needs CAP_SYS_RESOURCE, which this machine may
# not have; without this line no sandbox starts there.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [%[3]q]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "runc"
SystemdCgroup = false
`, containerdSocket, layout.PauseImage, c.Bin)
}

type object map[string]any

// text is a configuration as JSON, which all who read YAML read too.
func text(o object) string {
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		// Maps, slices and strings are all there is in it.
		panic(err)
	}
	return string(data) + "\n"
}

func cniConfig(n layout.Node) string {
	return text(object{
		"cniVersion": "1.0.0",
		"name":       "pods",
		"plugins": []object{{
			"type": "bridge", "bridge": "cni0", "isGateway": true,
			// Hairpin: a pod reaches itself through a service. No masquerading:
			// the routes between the nodes lead back.
			"hairpinMode": true, "ipMasq": false,
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": n.PodCIDR()}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	})
}

func kubeletConfig(c *layout.Cluster, n layout.Node) string {
	return text(object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",

		"failCgroupV1": false,
		"cgroupDriver": "cgroupfs",
		"cgroupRoot":   "/" + n.Cgroup(),
		"failSwapOn":   false,
		// The kernel's settings are the machine's: nodeMounts shows what is wanted.
		"protectKernelDefaults": true,
		"oomScoreAdj":           0,

		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": c.PKI("ca.crt")},
		},
		"authorization":     object{"mode": "Webhook"},
		"tlsCertFile":       c.PKI("kubelet-server-" + n.Name() + ".crt"),
		"tlsPrivateKeyFile": c.PKI("kubelet-server-" + n.Name() + ".key"),

		"clusterDomain":   layout.Domain,
		"clusterDNS":      []string{layout.DNSIP},
		"resolvConf":      filepath.Join(c.Dir(n), "resolv.conf"),
		"volumePluginDir": filepath.Join(c.Dir(n), "plugins"),

		// A lost node is noticed in 20 seconds (see the controller manager): it has
		// to speak up more often than that.
		"nodeLeaseDurationSeconds":  16,
		"nodeStatusUpdateFrequency": "5s",

		// The disk is the machine's, full of other things: it says nothing of pods,
		// and images that are in no registry must not be collected.
		"evictionHard": map[string]string{
			"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
		},
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
	})
}

func proxyConfig(c *layout.Cluster, n layout.Node) string {
	return text(object{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"mode":             "nftables",
		"hostnameOverride": n.Name(),
		"clusterCIDR":      layout.PodCIDR,
		"clientConnection": object{"kubeconfig": c.Kubeconfig("proxy")},
		// Zero: leave the machine's connection tracking as it is.
		"conntrack":   object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"oomScoreAdj": 0,
	})
}
