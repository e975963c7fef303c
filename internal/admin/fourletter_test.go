package admin

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/metrics"
)

func ask(t *testing.T, h *FourLetter, name string) string {
	t.Helper()
	var b bytes.Buffer
	if !h.Handle([4]byte([]byte(name)), &b) {
		t.Fatalf("%s is unknown", name)
	}
	return b.String()
}

func allWords() []string { return slices.Sorted(maps.Keys(words)) }

func TestWords(t *testing.T) {
	for _, state := range states {
		var b bytes.Buffer
		for _, name := range allWords() {
			section(&b, name, ask(t, NewFourLetter(newSurface(newFake(state)), "*"), name))
		}
		golden(t, state+".words", b.Bytes())
	}
}

func TestWordsThatAct(t *testing.T) {
	f := newFake(leading)
	s := newSurface(f)
	h := NewFourLetter(s, "*")

	ask(t, h, "crst")
	if f.resets != 1 {
		t.Errorf("crst reset %d times", f.resets)
	}
	ask(t, h, "srst")
	if got := ask(t, h, "srvr"); !strings.Contains(got, "Latency min/avg/max: 0/0.0/0\nReceived: 0\nSent: 0\n") ||
		!strings.Contains(got, "Proposal sizes last/min/max: -1/-1/-1\n") {
		t.Errorf("after srst:\n%s", got)
	}
	if n := s.Metrics.PacketsSent.Total(); n != 37 {
		t.Errorf("srst set what Prometheus reads back to %d", n)
	}

	var b bytes.Buffer
	arg := binary.BigEndian.AppendUint64(nil, 50)
	if !h.HandleArg([4]byte([]byte("stmk")), arg, &b) || b.String() != "50" || f.mask != 50 {
		t.Errorf("stmk answers %q and sets %d", b.String(), f.mask)
	}
	b.Reset()
	if !h.HandleArg([4]byte([]byte("stmk")), arg[:7], &b) || b.String() != "" || f.mask != 50 {
		t.Errorf("stmk with half a mask answers %q and sets %d", b.String(), f.mask)
	}
	if got := ask(t, h, "gtmk"); got != "50" {
		t.Errorf("gtmk answers %q", got)
	}
}

func TestNotServing(t *testing.T) {
	f := newFake(following)
	f.status = Status{Role: RoleLooking, NotServingReason: "no leader"}
	h := NewFourLetter(newSurface(f), "*")
	answered := map[string]string{"ruok": "imok", "isro": "null", "gtmk": "306", "stmk": "",
		"envi": "Environment:\nzookeeper.version=3.8.0-conclave-0.1.0, built on 11/20/2026 08:30 GMT\nhost.name=zk-3\nos.name=Linux\n"}
	for _, name := range allWords() {
		want, ok := answered[name]
		if !ok {
			want = "This ZooKeeper instance is not currently serving requests\n"
		}
		if got := ask(t, h, name); got != want {
			t.Errorf("%s answers %q, want %q", name, got, want)
		}
	}
	if f.resets != 0 {
		t.Error("crst acted on a member that does not serve")
	}
	f.status.Disk = DiskHealth{Failed: true, Reason: "fdatasync: input/output error"}
	if got := ask(t, h, "ruok"); got != "" {
		t.Errorf("with a failed disk ruok answers %q", got)
	}
}

func TestWhitelist(t *testing.T) {
	s := newSurface(newFake(standalone))
	for _, c := range []struct {
		whitelist []string
		allowed   string
	}{
		{[]string{"srvr"}, "srvr"},
		{nil, ""},
		{[]string{" mntr", "ruok ", "nope"}, "mntr ruok"},
		{[]string{"srvr", "*"}, strings.Join(allWords(), " ")},
	} {
		h := NewFourLetter(s, c.whitelist...)
		for _, name := range allWords() {
			refusal := name + " is not executed because it is not in the whitelist.\n"
			refused := ask(t, h, name) == refusal
			if refused == slices.Contains(strings.Fields(c.allowed), name) {
				t.Errorf("whitelist %q, %s: refused is %v", c.whitelist, name, refused)
			}
		}
	}
}

func TestIsWord(t *testing.T) {
	h := NewFourLetter(newSurface(newFake(leading)))
	for _, name := range allWords() {
		v := binary.BigEndian.Uint32([]byte(name))
		if !h.IsWord(v) {
			t.Errorf("%s is no word", name)
		}
		// jute.maxbuffer bounds the length of a handshake.
		if v < 1<<30 {
			t.Errorf("%s could be a length", name)
		}
		want := 0
		if name == "stmk" {
			want = 8
		}
		if h.ArgLen(v) != want {
			t.Errorf("%s takes %d bytes", name, h.ArgLen(v))
		}
	}
	for _, v := range []uint32{0, 44, 1 << 20, 0xffffffff, binary.BigEndian.Uint32([]byte("GET "))} {
		if h.IsWord(v) || h.ArgLen(v) != 0 {
			t.Errorf("%d is a word", v)
		}
	}
}

type goneClient struct{}

func (goneClient) Write([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func TestWordToAClientThatHasGone(t *testing.T) {
	f := newFake(leading)
	for range 3000 { // more than is buffered
		f.byPath = append(f.byPath, PathWatches{"/a/rather/long/path", []int64{1, 2, 3}})
	}
	if !NewFourLetter(newSurface(f), "*").Handle([4]byte([]byte("wchp")), goneClient{}) {
		t.Error("wchp is unknown")
	}
}

func TestNothingToTell(t *testing.T) {
	f := &fake{status: Status{Role: RoleStandalone, Serving: true}}
	s := &Surface{Source: f, Metrics: metrics.New()}
	h := NewFourLetter(s, "*")
	for name, want := range map[string]string{
		"cons": "\n", "wchp": "\n", "wchc": "\n", "hash": "", "wchs": "0 connections watching 0 paths\nTotal watches:0\n",
		"dump": "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\n" +
			"Connections dump:\nConnections Sets (0)/(0):\n",
		"srvr": "Zookeeper version: 3.8.0-conclave-unknown, built on unknown\nLatency min/avg/max: 0/0.0/0\nReceived: 0\nSent: 0\n" +
			"Connections: 0\nOutstanding: 0\nZxid: 0x0\nMode: standalone\nNode count: 0\n",
	} {
		if got := ask(t, h, name); got != want {
			t.Errorf("%s answers %q, want %q", name, got, want)
		}
	}
	ask(t, h, "mntr") // with the process' own file descriptors
	if got := ask(t, h, "envi"); !strings.Contains(got, "\ngo.version=go") || !strings.Contains(got, "\nos.arch=") {
		t.Errorf("envi of this process:\n%s", got)
	}
}

func TestExpirySets(t *testing.T) {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	items := []time.Time{at(2001), at(4000), {}, at(3999), at(2000), at(1e9)}
	sets := expirySets(items, func(t *time.Time) time.Time { return *t }, 2*time.Second)
	var got []string
	for _, set := range sets[:3] {
		got = append(got, fmt.Sprint(set.at.Sub(start).Milliseconds(), len(set.items)))
	}
	if !sets[0].at.IsZero() || len(sets) != 4 || got[1] != "2000 1" || got[2] != "4000 3" {
		t.Errorf("%d sets: %q", len(sets), got)
	}
	var b bytes.Buffer
	out := bufio.NewWriter(&b)
	sets[0].writeHeader(out)
	out.Flush()
	if b.String() != "1 expire at an unknown time:\n" {
		t.Errorf("%q", b.String())
	}
	if sets := expirySets(items, func(t *time.Time) time.Time { return *t }, 0); len(sets) < 4 {
		t.Errorf("without ticks: %d sets", len(sets))
	}
}

// Words are answered while the member works.
func TestWordsConcurrently(t *testing.T) {
	f := newFake(leading)
	s := newSurface(f)
	h := NewFourLetter(s, "*")
	var wg sync.WaitGroup
	for _, name := range allWords() {
		wg.Go(func() {
			for range 5 {
				var b bytes.Buffer
				h.Handle([4]byte([]byte(name)), &b)
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			f.change(func(f *fake) { f.status.Zxid = int64(i) })
			s.Metrics.PacketsSent.Inc()
		}
	})
	wg.Wait()
}

func FuzzWord(f *testing.F) {
	for _, name := range allWords() {
		f.Add([]byte(name), "*")
	}
	f.Add([]byte("stmk\x00\x00\x00\x00\x00\x00\x01\x32"), "stmk")
	f.Add([]byte{0, 0, 0, 45, 0}, "srvr,*")
	surface := newSurface(newFake(leading))
	f.Fuzz(func(t *testing.T, in []byte, whitelist string) {
		if len(in) < 4 {
			return
		}
		h := NewFourLetter(surface, strings.Split(whitelist, ",")...)
		v := binary.BigEndian.Uint32(in)
		var b bytes.Buffer
		known := h.HandleArg([4]byte(in[:4]), in[4:], &b)
		if known != h.IsWord(v) {
			t.Fatalf("%q: known is %v, IsWord %v", in[:4], known, h.IsWord(v))
		}
		if !known && b.Len() != 0 {
			t.Fatalf("%q is unknown and answered with %q", in[:4], b.String())
		}
		if n := h.ArgLen(v); n != 0 && !known {
			t.Fatalf("%q takes %d bytes and is no word", in[:4], n)
		}
	})
}
