//go:build faults

package faults

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Places in the network: member N is place N, the clients are at hub.
const (
	hub    = 254
	bridge = "hub"
)

func address(place int) string { return fmt.Sprintf("10.77.0.%d", place) }

func hardware(place int) string { return fmt.Sprintf("02:00:00:00:00:%02x", place) }

// nowhere is a hardware address that nobody has: what is sent there is lost
// without a word, as in a cut cable, and in that direction only.
const nowhere = "02:00:00:00:ff:ff"

func namespace(place int) string { return fmt.Sprintf("member%d", place) }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func ips(lines ...string) error {
	for _, line := range lines {
		if err := ip(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func makeBridge() error {
	return ips(
		"link set lo up",
		"link add "+bridge+" type bridge",
		"link set "+bridge+" address "+hardware(hub),
		"addr add "+address(hub)+"/24 dev "+bridge,
		"link set "+bridge+" up",
	)
}

// network connects members, and cuts them off from each other.
type network struct {
	size int
}

// newNetwork makes places 1 to size.
func newNetwork(t testing.TB, size int) *network {
	t.Helper()
	n := &network{size: size}
	for i := 1; i <= size; i++ {
		ns, port := namespace(i), fmt.Sprintf("port%d", i)
		err := ips(
			"netns add "+ns,
			"link add "+port+" type veth peer name eth0 address "+hardware(i)+" netns "+ns,
			"link set "+port+" master "+bridge+" up",
			"-n "+ns+" addr add "+address(i)+"/24 dev eth0",
			"-n "+ns+" link set eth0 up",
			"-n "+ns+" link set lo up",
		)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ips("link del "+port, "netns del "+ns); err != nil {
				t.Error(err)
			}
		})
	}
	if err := n.mend(); err != nil {
		t.Fatal(err)
	}
	return n
}

// path lets packets through from one place to another, or not.
func (n *network) path(from, to int, open bool) error {
	where, dev := []string{"-n", namespace(from)}, "eth0"
	if from == hub {
		where, dev = nil, bridge
	}
	mac := nowhere
	if open {
		mac = hardware(to)
	}
	return ip(append(where, "neigh", "replace", address(to), "lladdr", mac, "dev", dev, "nud", "permanent")...)
}

// mend opens every path.
func (n *network) mend() error {
	places := []int{hub}
	for i := 1; i <= n.size; i++ {
		places = append(places, i)
	}
	for _, a := range places {
		for _, b := range places {
			if a != b {
				if err := n.path(a, b, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// TestNetwork is of the network itself: a cut is in one direction.
func TestNetwork(t *testing.T) {
	n := newNetwork(t, 1)
	fd := listenIn(t, 1)
	near, err := net.ListenPacket("udp", address(hub)+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	port := near.LocalAddr().(*net.UDPAddr).Port
	there, back := func() bool {
		if _, err := near.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP(address(1)), Port: 7}); err != nil {
			t.Fatal(err)
		}
		_, _, err := unix.Recvfrom(fd, make([]byte, 9), 0)
		return err == nil
	}, func() bool {
		to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{10, 77, 0, hub}}
		if err := unix.Sendto(fd, []byte("x"), 0, to); err != nil {
			t.Fatal(err)
		}
		// What does not come within this time on one machine does not come; were
		// it late, the test would say that a cut leaks.
		if err := near.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _, err := near.ReadFrom(make([]byte, 9))
		return err == nil
	}
	for _, c := range []struct{ there, back bool }{{true, true}, {false, true}, {true, false}, {false, false}, {true, true}} {
		if err := n.path(hub, 1, c.there); err != nil {
			t.Fatal(err)
		}
		if err := n.path(1, hub, c.back); err != nil {
			t.Fatal(err)
		}
		if got := there(); got != c.there {
			t.Errorf("%+v: to the member: %v", c, got)
		}
		if got := back(); got != c.back {
			t.Errorf("%+v: from the member: %v", c, got)
		}
	}
}

// listenIn returns a UDP socket at a place, on port 7, whose reads wait for a
// second.
func listenIn(t *testing.T, place int) int {
	t.Helper()
	var fd int
	err := within(place, func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 7})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
