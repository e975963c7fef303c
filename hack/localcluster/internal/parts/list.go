package parts

import "strings"

// Versions that no program can be asked for at build time: they stand in the
// go.mod files too, and TestVersionsMatchTheModules compares the two.
const (
	KubernetesVersion = "v1.37.2"
	containerdVersion = "v2.4.2"
)

// A Part is one pinned module and the programs built from it.
type Part struct {
	Name string
	// Dir is the module's folder, relative to the clone.
	Dir     string
	Tags    string
	LDFlags string
	// Programs are built in this order. The base name is the program's.
	Programs []Program
}

// A Program is one main package of a part.
type Program struct {
	Name    string
	Package string
}

// program names a program by the last element of its package's path.
func program(pkg string) Program {
	return Program{Name: pkg[strings.LastIndexByte(pkg, '/')+1:], Package: pkg}
}

const modules = "hack/localcluster/build/"

// stamp is what kubectl version and the kubelet's version check read. The date
// is a constant, so that the same source gives the same program.
func stamp() string {
	const p = "k8s.io/component-base/version."
	return strings.Join([]string{
		"-X " + p + "gitVersion=" + KubernetesVersion,
		"-X " + p + "gitMajor=1",
		"-X " + p + "gitMinor=37",
		"-X " + p + "gitCommit=none",
		"-X " + p + "gitTreeState=clean",
		"-X " + p + "buildDate=2026-01-01T00:00:00Z",
	}, " ")
}

// APIServer is what tests against a bare API server need.
func APIServer() []Part {
	const k = "k8s.io/kubernetes/cmd/"
	return []Part{
		{Name: "etcd", Dir: modules + "etcd", Programs: []Program{{"etcd", "go.etcd.io/etcd/server/v3"}}},
		{Name: "kubernetes", Dir: modules + "kubernetes", LDFlags: stamp(),
			Programs: []Program{program(k + "kube-apiserver"), program(k + "kubectl")}},
	}
}

// Cluster is everything that a cluster runs, APIServer's included.
func Cluster() []Part {
	const (
		k = "k8s.io/kubernetes/cmd/"
		c = "github.com/containerd/containerd/v2/cmd/"
		n = "github.com/containernetworking/plugins/plugins/"
	)
	list := APIServer()
	list[1].Programs = append(list[1].Programs,
		program(k+"kube-controller-manager"), program(k+"kube-scheduler"), program(k+"kubelet"), program(k+"kube-proxy"))
	return append(list,
		// The snapshotters that are left out need C libraries.
		Part{Name: "containerd", Dir: modules + "containerd", Tags: "no_btrfs no_devmapper no_zfs",
			LDFlags:  "-X github.com/containerd/containerd/v2/version.Version=" + containerdVersion,
			Programs: []Program{program(c + "containerd"), program(c + "containerd-shim-runc-v2"), program(c + "ctr")}},
		Part{Name: "cni", Dir: modules + "cni",
			Programs: []Program{program(n + "main/bridge"), program(n + "ipam/host-local"), program(n + "main/loopback")}},
		Part{Name: "coredns", Dir: modules + "coredns", Programs: []Program{{"coredns", "."}}},
		Part{Name: "provisioner", Dir: modules + "provisioner", Programs: []Program{{"provisioner", "."}}},
		Part{Name: "image", Dir: "hack/image", Programs: []Program{{"image", "."}}},
		Part{Name: "pause", Dir: modules + "pause", Programs: []Program{{"pause", "."}}},
	)
}
