package layout

import (
	"net/netip"
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
