package swarm

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/fake"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/proto"
)

func start(t *testing.T, fault func(*fake.Answer)) (*fake.Server, *Swarm) {
	t.Helper()
	server, err := fake.Start(fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	// The same server under three names: clients move from one to the next.
	s, err := New([]netip.AddrPort{server.Addr(), server.Addr(), server.Addr()}, 60_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return server, s
}

func open(t *testing.T, s *Swarm, n int) {
	t.Helper()
	if a, err := s.Open(n, 8); err != nil || a.Each.Count() != uint64(n) || a.Retries != 0 || a.Expired != 0 {
		t.Fatalf("opened %+v, %v", a, err)
	}
}

func TestSessionsAreOpenedMovedAndClosed(t *testing.T) {
	server, s := start(t, nil)
	open(t, s, 40)
	open(t, s, 10)
	for range 2 {
		a, err := s.Reattach()
		if err != nil || a.Each.Count() != 50 || a.Expired != 0 || a.Took <= 0 {
			t.Fatalf("attached again: %+v, %v", a, err)
		}
	}
	if n := server.Sessions(); n != 50 {
		t.Errorf("%d sessions after moving 50", n)
	}
	pongs, err := s.Ping(20 * time.Millisecond)
	// Four pings in a minute for each of 50.
	if err != nil || pongs.Count() != 1 {
		t.Errorf("%d pongs, %v", pongs.Count(), err)
	}
	if drops, err := s.Drops(); err != nil || drops != 0 {
		t.Errorf("%d drops, %v", drops, err)
	}
	if err := s.CloseAll(); err != nil || server.Sessions() != 0 {
		t.Errorf("%d sessions after closing all, %v", server.Sessions(), err)
	}
}

func TestExpiredSessionsAreCounted(t *testing.T) {
	server, s := start(t, nil)
	open(t, s, 20)
	server.Expire()
	if a, err := s.Reattach(); err != nil || a.Expired != 20 || a.Each.Count() != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if err := s.CloseAll(); err != nil {
		t.Error(err)
	}
}

func TestADeadServerIsPassedOver(t *testing.T) {
	server, _ := start(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	s, err := New([]netip.AddrPort{dead, server.Addr()}, 60_000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.Open(10, 0); err != nil || a.Retries != 5 || a.Each.Count() != 10 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestASilentServerIsLeft(t *testing.T) {
	server, err := fake.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	s, err := New([]netip.AddrPort{mute.Addr().(*net.TCPAddr).AddrPort(), server.Addr()}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.Open(2, 0); err != nil || a.Retries != 1 || a.Each.Count() != 2 {
		t.Errorf("%+v, %v", a, err)
	}
}

func prepare(t *testing.T, server *fake.Server, n int) []string {
	t.Helper()
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("/w%d", i))
	}
	if err := prep.Create([]netip.AddrPort{server.Addr()}, paths, true); err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestWatchersAreTold(t *testing.T) {
	server, s := start(t, nil)
	path := prepare(t, server, 1)[0]
	open(t, s, 21)
	version := int32(0)
	for range 2 {
		told, last, err := s.Watch(path, version, 5*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		rounds := uint64(last - version)
		if rounds == 0 || told.All.Count() != rounds || told.Each.Count() != 20*rounds || told.All.Max() < told.Each.Max() {
			t.Errorf("%d rounds: %d to all, %d to each", rounds, told.All.Count(), told.Each.Count())
		}
		version = last
	}
	if err := s.CloseAll(); err != nil {
		t.Error(err)
	}
}

func TestAWatcherThatReadsAnOldValue(t *testing.T) {
	server, s := start(t, func(a *fake.Answer) {
		if a.Op == proto.OpGetData {
			proto.FillValue(a.Body[4:], 0, 0)
		}
	})
	path := prepare(t, server, 1)[0]
	open(t, s, 5)
	_, _, err := s.Watch(path, 0, time.Minute)
	var v *engine.Violation
	if !errors.As(err, &v) || !strings.Contains(err.Error(), "version") {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, server *fake.Server, s *Swarm) *Writers {
	t.Helper()
	paths := prepare(t, server, 4)
	open(t, s, 6)
	w, err := s.StartWriters(paths)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// await calls cond until it holds; the test's own time limit is the deadline.
func await(t *testing.T, w *Writers, cond func(o Outage) bool) Outage {
	t.Helper()
	for {
		o, err := w.Outage()
		if err != nil {
			t.Fatal(err)
		}
		if cond(o) {
			return o
		}
	}
}

func total(n []int) (sum int) {
	for _, v := range n {
		sum += v
	}
	return sum
}

func TestWritersGoOnAfterADrop(t *testing.T) {
	server, s := start(t, nil)
	w := write(t, server, s)
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	server.Drop()
	o := await(t, w, func(o Outage) bool { return total(o.Dropped) == 6 && o.Attached == 6 })
	if o.Gap < o.SinceAck || o.Expired != 0 {
		t.Errorf("%+v", o)
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	// Acknowledged writes end the gap.
	await(t, w, func(o Outage) bool { return o.SinceAck < o.Gap })
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if drops, err := s.Drops(); err != nil || drops != 6 {
		t.Errorf("%d drops, %v", drops, err)
	}
}

// A write whose answer was lost may have been executed; the writers must accept
// that, and take it into account.
func TestWritersWhoseAnswersAreLost(t *testing.T) {
	n := 0
	server, s := start(t, func(a *fake.Answer) {
		if a.Op == proto.OpSetData {
			n++
			a.Drop = n%7 == 0
		}
	})
	w := write(t, server, s)
	await(t, w, func(o Outage) bool { return total(o.Dropped) >= 8 })
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestWritersSeeLostSessions(t *testing.T) {
	server, s := start(t, nil)
	w := write(t, server, s)
	server.Expire()
	server.Drop()
	await(t, w, func(o Outage) bool { return o.Expired == 6 })
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
}

func TestWritersSeeWrongVersions(t *testing.T) {
	for name, fault := range map[string]func(a *fake.Answer){
		"a set is executed twice": func(a *fake.Answer) { a.Body[35]++ },
		"a set is forgotten":      func(a *fake.Answer) { a.Body[35]-- },
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			server, s := start(t, func(a *fake.Answer) {
				if a.Op == proto.OpSetData {
					if n++; n == 50 {
						fault(a)
					}
				}
			})
			w := write(t, server, s)
			var v *engine.Violation
			for {
				if _, err := w.Outage(); errors.As(err, &v) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestWritersCheckWhatIsLeft(t *testing.T) {
	server, s := start(t, func(a *fake.Answer) {
		if a.Op == proto.OpGetData {
			proto.FillValue(a.Body[4:], uint32(a.Path[2]-'0'), 0)
		}
	})
	w := write(t, server, s)
	await(t, w, func(Outage) bool { return server.Seen() > 50 })
	if err := w.Stop(); err == nil || !strings.Contains(err.Error(), "holds set 0") {
		t.Errorf("the loss of every write came as %v", err)
	}
}
