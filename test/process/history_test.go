package process

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// history is one ensemble's life over many lives of its process: it writes,
// notes what was answered, and after each restart holds the server to it.
type history struct {
	t     testing.TB
	rand  *rand.Rand
	world *world // nil until the first look
	count int    // edits so far

	server *server // the present process
	// main writes, holder only holds an ephemeral, guest comes and goes.
	main, holder, guest *session
	held                bool // holder's ephemeral exists
	leaving             bool // the guest was asked to go, and may have gone
	// open are the edits that were sent and not answered when the last process
	// ended, in order. Any first part of them may have been done.
	open []edit
	// strays counts handshakes for new sessions that were not answered.
	strays int
}

func newHistory(t testing.TB, seed uint64) *history {
	return &history{t: t, rand: rand.New(rand.NewPCG(seed, 0))}
}

// broken is the error of a request that was not answered because the process
// died.
type broken struct{ error }

func isBroken(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lost fails the test unless err is what a client sees of a process that dies,
// and this one has.
func (h *history) lost(what string, err error) error {
	h.t.Helper()
	if !isBroken(err) {
		h.t.Fatalf("%s: %v", what, err)
	}
	if waited := h.server.p.Wait(patience); h.server.p.Running() {
		h.t.Fatalf("%s: %v, though the process lives: %v", what, err, waited)
	}
	return broken{fmt.Errorf("%s: %w", what, err)}
}

// resume connects to a process that has just begun to serve, and checks that
// everything is as it was.
func (h *history) resume(s *server) error {
	h.t.Helper()
	h.server = s
	if h.main == nil {
		h.main = &session{timeout: time.Minute}
	}
	if err := h.attach(h.main); err != nil {
		return err
	}
	found, err := look(h.main)
	if err != nil {
		return h.lost("read the tree", err)
	}
	h.check(found)
	if h.leaving {
		h.settleGuest(found)
	}
	for _, s := range []*session{h.holder, h.guest} {
		if s == nil {
			continue
		}
		if err := h.attach(s); err != nil {
			return err
		}
	}
	return h.checkSessions()
}

// settleGuest finds out whether a guest that was asked to go has gone: then its
// ephemeral has gone too, in the same transaction.
func (h *history) settleGuest(found map[string]node) {
	h.leaving = false
	for _, n := range found {
		if n.stat.EphemeralOwner == h.guest.id {
			return
		}
	}
	h.guest = nil
	h.strays++ // if it had no ephemeral, it may be there still
}

// attach opens a session, new or old. An old one has to be there. The server
// may turn it away as long as it has not caught up with what the client has
// seen.
func (h *history) attach(s *session) error {
	h.t.Helper()
	if s.Conn != nil {
		_ = s.Close()
	}
	s.zxid = h.main.zxid
	var err error
	eventually(h.t, "the session is attached", func() error {
		if err = s.open(h.server.addr); err == nil || !isBroken(err) {
			return nil
		}
		if s.id == 0 {
			h.strays++
		}
		if !h.server.p.Running() {
			return nil
		}
		return err
	})
	if err != nil {
		return h.lost("handshake", err)
	}
	return nil
}

// check compares the tree with what it must be.
func (h *history) check(found map[string]node) {
	h.t.Helper()
	if h.world == nil {
		root, ok := found["/"]
		if !ok || len(found) != 1 {
			h.t.Fatalf("a new ensemble has the nodes %v", found)
		}
		h.world = &world{nodes: map[string]node{"/": root}}
		return
	}
	// One of these has to be it.
	var diffs []string
	w := h.world
	for done := 0; ; done++ {
		try := w.clone()
		diff := try.matches(found)
		if diff == "" {
			h.world, h.open = try, nil
			return
		}
		diffs = append(diffs, fmt.Sprintf("with %d of the open edits %v done:\n  %s", done, h.open, diff))
		if done == len(h.open) {
			break
		}
		w = w.clone()
		w.apply(h.open[done], unknown, unknown)
	}
	for _, d := range diffs {
		h.t.Log(d)
	}
	h.t.Fatalf("the tree is not what was written (last zxid %#x)", h.world.zxid)
}

var sessionLine = regexp.MustCompile(`(?m)^\t0x([0-9a-f]+)$`)

// checkSessions compares the sessions with those that must be there.
func (h *history) checkSessions() error {
	h.t.Helper()
	dump, err := fourLetter(h.server.addr, "dump")
	if err != nil || dump == "" || strings.Contains(dump, "not currently serving") {
		return h.lost("dump", cmp.Or(err, io.EOF))
	}
	there := make(map[int64]bool)
	sessions, _, _ := strings.Cut(dump, "ephemeral nodes dump:")
	for _, m := range sessionLine.FindAllStringSubmatch(sessions, -1) {
		id, err := strconv.ParseUint(m[1], 16, 64)
		if err != nil {
			h.t.Fatalf("%v in\n%s", err, dump)
		}
		there[int64(id)] = true
	}
	known := 0
	for _, s := range []*session{h.main, h.holder, h.guest} {
		if s == nil {
			continue
		}
		known++
		if !there[s.id] {
			h.t.Fatalf("session %#x is missing in\n%s", s.id, dump)
		}
	}
	if len(there) > known+h.strays {
		h.t.Fatalf("there are %d sessions; known are %d, and %d may have been left behind\n%s", len(there), known, h.strays, dump)
	}
	return nil
}

// write goes on writing until the process dies or n edits are done.
func (h *history) write(n int) error {
	h.t.Helper()
	if h.holder == nil {
		s := &session{timeout: time.Minute}
		if err := h.attach(s); err != nil {
			return err
		}
		h.holder = s
	}
	if !h.held {
		// The lost answer of an earlier life may have been a yes.
		if _, ok := h.world.nodes["/held"]; !ok {
			if err := h.do(h.holder, edit{op: wire.OpCreate2, path: "/held", flags: wire.Ephemeral, owner: h.holder.id}); err != nil {
				return err
			}
		}
		h.held = true
	}
	for n > 0 {
		if h.rand.IntN(12) == 0 {
			if err := h.visit(); err != nil {
				return err
			}
			n -= 3
			continue
		}
		k := min(n, 1+h.rand.IntN(3))
		n -= k
		if err := h.pipeline(k); err != nil {
			return err
		}
	}
	return nil
}

// visit lets the guest come with an ephemeral, or go.
func (h *history) visit() error {
	if h.guest == nil {
		s := &session{timeout: time.Minute}
		if err := h.attach(s); err != nil {
			return err
		}
		h.guest = s
		return h.do(s, edit{op: wire.OpCreate2, path: fmt.Sprintf("/guest-%d", h.count), flags: wire.Ephemeral, owner: s.id})
	}
	h.leaving = true
	if err := h.do(h.guest, edit{op: wire.OpCloseSession, owner: h.guest.id}); err != nil {
		return err
	}
	h.guest, h.leaving = nil, false
	return nil
}

// do sends one edit and waits for the answer.
func (h *history) do(s *session, e edit) error {
	h.t.Helper()
	if err := h.send(s, e); err != nil {
		return err
	}
	return h.receive(s)
}

func (h *history) pipeline(k int) error {
	h.t.Helper()
	soon := h.world.clone()
	for range k {
		e := h.next(soon)
		soon.apply(e, unknown, unknown)
		if err := h.send(h.main, e); err != nil {
			return err
		}
	}
	for range k {
		if err := h.receive(h.main); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) send(s *session, e edit) error {
	h.t.Helper()
	h.count++
	h.open = append(h.open, e)
	_, err := s.Send(e.op, e.body())
	if err != nil {
		return h.lost(e.String(), err)
	}
	return nil
}

// receive takes the answer to the oldest open edit.
func (h *history) receive(s *session) error {
	h.t.Helper()
	r, err := s.Recv()
	if err != nil {
		return h.lost(h.open[0].String(), err)
	}
	e := h.open[0]
	h.open = h.open[1:]
	got, err := decode(e, r)
	if err != nil {
		h.t.Fatalf("%v: %v", e, err)
	}
	if r.Zxid <= h.world.zxid {
		h.t.Fatalf("%v was answered with zxid %#x after %#x", e, r.Zxid, h.world.zxid)
	}
	if want := h.world.apply(e, r.Zxid, got.time()); !want.same(got) {
		h.t.Fatalf("%v was answered with %+v, want %+v", e, got, want)
	}
	h.world.zxid, h.main.zxid = r.Zxid, r.Zxid
	return nil
}

// next picks an edit that is worth doing in a world like this.
func (h *history) next(w *world) edit {
	r := h.rand
	name := fmt.Sprintf("/n%d", r.IntN(12))
	data := fill(h.count)
	_, there := w.nodes[name]
	switch k := r.IntN(10); {
	case k == 0:
		return edit{op: wire.OpCreate2, path: "/q-", data: data, flags: wire.PersistentSequential}
	case k == 1:
		return edit{op: wire.OpCreate2, path: "/e-", data: data, flags: wire.EphemeralSequential, owner: h.main.id}
	case k == 2:
		if old := h.oldest(w); old != "" {
			return edit{op: wire.OpDelete, path: old, version: -1}
		}
		return edit{op: wire.OpCreate2, path: name, data: data}
	case k == 3:
		return edit{op: wire.OpMulti, parts: []edit{
			{op: wire.OpCreate2, path: fmt.Sprintf("/m%d", r.IntN(4)), data: data},
			{op: wire.OpCheck, path: "/held", version: -1},
			{op: wire.OpSetData, path: name, data: data, version: -1},
		}}
	case k == 4:
		return edit{op: wire.OpMulti, parts: []edit{
			{op: wire.OpDelete, path: fmt.Sprintf("/m%d", r.IntN(4)), version: -1},
			{op: wire.OpCreate2, path: "/q-", data: data, flags: wire.PersistentSequential},
			{op: wire.OpSetData, path: "/held", data: data, version: -1}, // its stat tells the time
		}}
	case k == 5:
		return edit{op: wire.OpSetData, path: name, data: data, version: int32(r.IntN(4))}
	case !there:
		return edit{op: wire.OpCreate2, path: name, data: data}
	case k == 6:
		return edit{op: wire.OpDelete, path: name, version: -1}
	case k == 7:
		return edit{op: wire.OpCreate2, path: name + "/" + strconv.Itoa(r.IntN(3)), data: data}
	}
	return edit{op: wire.OpSetData, path: name, data: data, version: -1}
}

// oldest returns the oldest sequential node, so that they do not pile up.
func (h *history) oldest(w *world) string {
	var old string
	for p := range w.nodes {
		if len(p) > 10 && (p[1] == 'q' || p[1] == 'e') && (old == "" || p[3:] < old[3:]) {
			old = p
		}
	}
	return old
}
