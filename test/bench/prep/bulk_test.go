package prep

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/test/bench/fake"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

func serve(t *testing.T, fault func(*fake.Answer)) (*fake.Server, []netip.AddrPort) {
	t.Helper()
	s, err := fake.Start(fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	// The same server three times: three connections.
	return s, []netip.AddrPort{s.Addr(), s.Addr(), s.Addr()}
}

func paths(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("/n%d", i))
	}
	return out
}

func TestCreateAndDelete(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100, 101, 1234, 5000} {
		s, addrs := serve(t, nil)
		if err := Create(addrs, paths(n), true); err != nil {
			t.Fatal(err)
		}
		if s.Len() != 1+n {
			t.Errorf("%d nodes after %d creates", s.Len()-1, n)
		}
		if err := Delete(addrs, paths(n)); err != nil {
			t.Fatal(err)
		}
		if s.Len() != 1 {
			t.Errorf("%d nodes after as many deletes", s.Len()-1)
		}
	}
}

func TestFailuresAreReported(t *testing.T) {
	_, addrs := serve(t, nil)
	if err := Create(addrs, []string{"/a", "/b", "/a"}, false); err == nil || !strings.Contains(err.Error(), "part 2 failed with -110") {
		t.Errorf("a node created twice: %v", err)
	}
	_, addrs = serve(t, func(a *fake.Answer) {
		if a.Op == proto.OpMulti {
			a.Err = proto.NoNode
		}
	})
	if err := Create(addrs, paths(3), false); err == nil || !strings.Contains(err.Error(), "failed with -101") {
		t.Errorf("a transaction that failed: %v", err)
	}
	_, addrs = serve(t, func(a *fake.Answer) {
		if a.Op == proto.OpMulti {
			a.Body = new(wire.Writer).Int(1).Bytes()
		}
	})
	if err := Create(addrs, paths(3), false); err == nil {
		t.Error("a reply that is cut short was accepted")
	}
}
