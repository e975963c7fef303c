package layout

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesLieInTheirNetworks(t *testing.T) {
	machines := netip.MustParsePrefix(MachineIP)
	pods := netip.MustParsePrefix(PodCIDR)
	services := netip.MustParsePrefix(ServiceCIDR)
	seen := map[string]bool{HostIP: true, ControlIP: true}
	c := &Cluster{Nodes: MaxNodes}
	for n := Node(1); n <= MaxNodes; n++ {
		if !machines.Contains(netip.MustParseAddr(n.IP())) || seen[n.IP()] {
			t.Errorf("%s has address %s", n.Name(), n.IP())
		}
		p := netip.MustParsePrefix(n.PodCIDR())
		if !pods.Overlaps(p) || seen[n.PodCIDR()] || seen[n.Zone()] {
			t.Errorf("%s has pods in %s, zone %s", n.Name(), p, n.Zone())
		}
		seen[n.IP()], seen[n.PodCIDR()], seen[n.Zone()] = true, true, true
		if got, err := c.ParseNode(n.Name()); err != nil || got != n {
			t.Errorf("ParseNode(%s): %v, %v", n.Name(), got, err)
		}
	}
	if !services.Contains(netip.MustParseAddr(DNSIP)) || services.Addr().Next().String() != APIServiceIP {
		t.Errorf("%s, %s in %s", DNSIP, APIServiceIP, services)
	}
	if _, err := c.ParseNode("node6"); err == nil {
		t.Error("there is a sixth node")
	}
}

func TestSaveAndLoad(t *testing.T) {
	c := &Cluster{State: t.TempDir(), Bin: "/bin", Nodes: 3}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(c.State); err != nil || *got != *c {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestStateFolder(t *testing.T) {
	t.Setenv(StateVariable, "")
	if got, err := DefaultState("/root/.cache/x"); err != nil || got != "/root/.cache/x/state" {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv(StateVariable, "/tmp/elsewhere")
	if got, err := DefaultState("/root/.cache/x"); err != nil || got != "/tmp/elsewhere" {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"/var/lib/x", "/etc", "/run/x", "/tmp/a b", "/tmp/" + strings.Repeat("long", 30)} {
		t.Setenv(StateVariable, bad)
		if got, err := DefaultState("/root/.cache/x"); err == nil {
			t.Errorf("%s was taken", got)
		}
	}
}
