package machine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/hack/localcluster/internal/layout"
)

func TestHierarchies(t *testing.T) {
	v1, v2 := parseHierarchies(`proc /proc proc rw 0 0
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
`)
	if !slices.Equal(v1, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/systemd"}) || v2 != "/sys/fs/cgroup/unified" {
		t.Errorf("%q, %q", v1, v2)
	}
	v1, v2 = parseHierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n")
	if len(v1) != 0 || v2 != "/sys/fs/cgroup" {
		t.Errorf("%q, %q", v1, v2)
	}
}

func TestCPUSetIsInherited(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "node1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := inheritCPUSet(parent, dir); err != nil {
		t.Fatalf("a hierarchy that is not cpuset's: %v", err)
	}
	for file, text := range map[string]string{"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n"} {
		if err := os.WriteFile(filepath.Join(parent, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := inheritCPUSet(parent, dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "cpuset.cpus")); err != nil || string(got) != "0-1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConfigurationsAreOfTheirNode(t *testing.T) {
	c := &layout.Cluster{State: "/state", Bin: "/bin", Nodes: 3}
	for name, tt := range map[string]struct{ text, want string }{
		"cni":     {cniConfig(2), `"subnet": "10.244.2.0/24"`},
		"kubelet": {kubeletConfig(c, 2), `"cgroupRoot": "/conclave-local/node2"`},
		"proxy":   {proxyConfig(c, 2), `"hostnameOverride": "node2"`},
	} {
		if !strings.Contains(tt.text, tt.want) {
			t.Errorf("%s has no %s:\n%s", name, tt.want, tt.text)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(tt.text), &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := containerdConfig(c); !strings.Contains(text, `sandbox = "`+layout.PauseImage+`"`) {
		t.Error(text)
	}
}

func TestOrders(t *testing.T) {
	y := &yard{c: &layout.Cluster{Nodes: 2}}
	for _, o := range []order{{"start", 0}, {"stop", 3}, {"dance", 1}} {
		if err := y.carryOut(o); err == nil {
			t.Errorf("%+v was carried out", o)
		}
	}
}
