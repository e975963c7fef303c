//go:build conformance

package conformance

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// maxBuffer is jute.maxbuffer's default: the largest request body.
const maxBuffer = 0xfffff

// A request of exactly the maximum is executed, one byte more costs the
// connection, but not the session.
func TestWireRequestSize(t *testing.T) {
	e := sharedEnsemble(t)
	s := openSession(t, e.Addrs()[0])
	p := root(t, s)
	overhead := len(wire.Request(1, wire.OpSetData, wire.SetDataBody(p, nil, -1)))
	largest := bytes.Repeat([]byte("z"), maxBuffer-overhead)
	s.ok(wire.OpSetData, wire.SetDataBody(p, largest, -1))
	if got := s.ok(wire.OpGetData, wire.WatchBody(p, false)).Buffer(); !bytes.Equal(got, largest) {
		t.Errorf("read %d bytes back, wrote %d", len(got), len(largest))
	}
	s.send(wire.OpSetData, wire.SetDataBody(p, append(largest, 'z'), -1))
	wantClosed(t, s.Conn)
	fresh := s.reattach(e.Addrs()[1])
	t.Cleanup(fresh.end)
	r := fresh.ok(wire.OpGetData, wire.WatchBody(p, false))
	r.Buffer()
	if stat := r.Stat(); stat.Version != 1 {
		t.Errorf("version %d, want 1: the request that was too large has been executed", stat.Version)
	}
	fresh.ok(wire.OpSetData, wire.SetDataBody(p, nil, -1))
}

// A child list may be longer than the largest request.
func TestWireLargeChildList(t *testing.T) {
	s := openSession(t, sharedEnsemble(t).Addrs()[0])
	p := root(t, s)
	name := string(bytes.Repeat([]byte("n"), 1000))
	const batch, batches = 100, 13
	for i := range batches {
		var ops []wire.MultiOp
		for j := range batch {
			ops = append(ops, create(fmt.Sprintf("%s/%s%d-%d", p, name, i, j), wire.Persistent))
		}
		s.multi(wire.OpMulti, ops...)
	}
	if kids := s.ok(wire.OpGetChildren, wire.WatchBody(p, false)).Strings(); len(kids) != batch*batches {
		t.Errorf("%d children, want %d", len(kids), batch*batches)
	}
}

// Whatever is pipelined is answered in the order sent, reads behind writes
// included, and each read sees the session's own writes before it and none
// after it.
func TestWirePipelineOrder(t *testing.T) {
	for _, addr := range sharedEnsemble(t).Addrs() {
		s := openSession(t, addr)
		p := root(t, s)
		const rounds = 200
		var packet wire.Writer
		xid := int32(1000)
		add := func(op int32, body []byte) {
			packet.Buffer(wire.Request(xid, op, body))
			xid++
		}
		for i := range rounds {
			add(wire.OpSetData, wire.SetDataBody(p, fmt.Append(nil, i), int32(i)))
			add(wire.OpGetData, wire.WatchBody(p, false))
			if i%10 == 0 {
				add(wire.OpCreate, wire.CreateBody(p, nil, wire.OpenACL, 0)) // fails
				add(wire.OpSync, wire.PathBody(p))
			}
		}
		go s.SendRaw(packet.Bytes()) // the answers may fill the socket before all is sent
		next := int32(1000)
		reply := func(code int32) *wire.Reader {
			t.Helper()
			r := s.wantReply(next, code)
			next++
			return wire.NewReader(r.Body)
		}
		for i := range rounds {
			reply(wire.OK)
			if got, want := string(reply(wire.OK).Buffer()), fmt.Sprint(i); got != want {
				t.Fatalf("%s: read %q behind the write of %q", addr, got, want)
			}
			if i%10 == 0 {
				reply(wire.NodeExists)
				reply(wire.OK)
			}
		}
		s.ok(wire.OpDelete, wire.VersionBody(p, rounds))
	}
}

// A sync makes a read behind it show everything that was acknowledged before it
// anywhere.
func TestWireSync(t *testing.T) {
	e := sharedEnsemble(t)
	members, err := e.Followers()
	if err != nil {
		t.Fatal(err)
	}
	if target == ensemble.Conclave {
		// ZooKeeper's leader answers a sync before it has applied what its followers
		// have.
		members = append(members, leaderOf(t, e))
	}
	for i, m := range members {
		testSync(t, m.Addr(), members[(i+1)%len(members)].Addr())
	}
}

func testSync(t *testing.T, one, another string) {
	a, b := openSession(t, one), openSession(t, another)
	p := fmt.Sprintf("/wire-sync-%s-%s", one, another)
	a.create(p)
	for i := range int32(50) {
		a.ok(wire.OpSetData, wire.SetDataBody(p, nil, i))
		b.ok(wire.OpSync, wire.PathBody(p))
		if stat := b.stat(p); stat.Version != i+1 {
			t.Fatalf("after sync: version %d, want %d", stat.Version, i+1)
		}
		a, b = b, a
	}
}
