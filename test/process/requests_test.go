package process

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// request is a good request of one kind, whose body is then spoiled.
type request struct {
	name string
	op   int32
	body []byte
}

// goodRequests are one of each kind. What they do is of no consequence to each
// other, however often they are repeated.
func goodRequests() []request {
	acl := wire.OpenACL
	path := "/spoiled"
	create := wire.CreateBody(path, []byte("data"), acl, 0)
	lists := func(n int) []byte {
		var l [][]string
		for range n {
			l = append(l, []string{path, "/other"})
		}
		return wire.SetWatchesBody(0, l...)
	}
	multi := wire.MultiBody(
		wire.MultiOp{Type: wire.OpCheck, Body: wire.VersionBody(path, -1)},
		wire.MultiOp{Type: wire.OpCreate, Body: create},
		wire.MultiOp{Type: wire.OpSetData, Body: wire.SetDataBody(path, []byte("x"), -1)},
		wire.MultiOp{Type: wire.OpDelete, Body: wire.VersionBody(path, -1)},
	)
	watch := wire.WatchBody(path, false)
	return []request{
		{"create", wire.OpCreate, create},
		{"create2", wire.OpCreate2, create},
		{"createContainer", wire.OpCreateContainer, wire.CreateBody(path, nil, acl, wire.Container)},
		{"createTTL", wire.OpCreateTTL, wire.CreateTTLBody(path, nil, acl, wire.PersistentTTL, 5000)},
		{"delete", wire.OpDelete, wire.VersionBody(path, -1)},
		{"exists", wire.OpExists, watch},
		{"getData", wire.OpGetData, watch},
		{"getChildren", wire.OpGetChildren, watch},
		{"getChildren2", wire.OpGetChildren2, watch},
		{"setData", wire.OpSetData, wire.SetDataBody(path, []byte("data"), -1)},
		{"getACL", wire.OpGetACL, wire.PathBody(path)},
		{"setACL", wire.OpSetACL, wire.SetACLBody(path, acl, -1)},
		{"sync", wire.OpSync, wire.PathBody(path)},
		{"multi", wire.OpMulti, multi},
		{"multiRead", wire.OpMultiRead, wire.MultiBody(wire.MultiOp{Type: wire.OpGetData, Body: watch}, wire.MultiOp{Type: wire.OpGetChildren, Body: watch})},
		{"checkWatches", wire.OpCheckWatches, wire.PathIntBody(path, 3)},
		{"removeWatches", wire.OpRemoveWatches, wire.PathIntBody(path, 3)},
		{"addWatch", wire.OpAddWatch, wire.PathIntBody(path, 0)},
		{"setWatches", wire.OpSetWatches, lists(3)},
		{"setWatches2", wire.OpSetWatches2, lists(5)},
		{"getEphemerals", wire.OpGetEphemerals, wire.PathBody(path)},
		{"getAllChildrenNumber", wire.OpGetAllChildrenNumber, wire.PathBody(path)},
		{"auth", wire.OpAuth, wire.AuthBody("digest", []byte("user:secret"))},
		{"whoAmI", wire.OpWhoAmI, nil},
		{"reconfig", wire.OpReconfig, new(wire.Writer).String("server.9=h:1:2").String("3").String("").Long(-1).Bytes()},
	}
}

var badNumbers = []int32{-1, -2, 0, 1, 3, 1 << 16, 1 << 20, 1 << 28, math.MaxInt32 - 3, math.MaxInt32, math.MinInt32, math.MinInt32 + 1}

// spoil returns the request cut short at every length, and with a number at
// every place where there may be a length, a count or a flag.
func (q request) spoil(r *rand.Rand) (bodies [][]byte) {
	for n := range q.body {
		bodies = append(bodies, q.body[:n])
	}
	for off := 0; off+4 <= len(q.body); off++ {
		numbers := badNumbers
		if !all {
			k := r.IntN(len(numbers) - 2)
			numbers = numbers[k : k+3]
		}
		for _, n := range numbers {
			b := slices.Clone(q.body)
			binary.BigEndian.PutUint32(b[off:], uint32(n))
			bodies = append(bodies, b)
		}
	}
	return append(bodies, slices.Concat(q.body, []byte("behind")), make([]byte, 300), nil)
}

// attempt sends one request and returns the error of its reply; events before
// it are skipped. open is false if the connection was closed instead, or after.
func attempt(s *session, op int32, body []byte) (code int32, open bool, err error) {
	xid, err := s.Send(op, body)
	for err == nil {
		var r wire.Reply
		if r, err = s.Recv(); err == nil && r.Xid == xid {
			if r.Err != wire.OK && len(r.Body) > 0 {
				return r.Err, true, fmt.Errorf("error %d comes with a body: %x", r.Err, r.Body)
			}
			return r.Err, true, nil
		}
		if err == nil && r.Xid != wire.XidEvent {
			return 0, true, fmt.Errorf("the reply to request %d came as %+v", xid, r)
		}
	}
	if isBroken(err) {
		return 0, false, nil
	}
	return 0, false, err
}

// pinged returns an error unless the connection is open and in step.
func pinged(s *session) error {
	if err := s.SendFrame(wire.Request(wire.XidPing, wire.OpPing, nil)); err != nil {
		return err
	}
	r, err := s.Recv()
	for err == nil && r.Xid == wire.XidEvent {
		r, err = s.Recv()
	}
	if err == nil && (r.Xid != wire.XidPing || r.Err != wire.OK || len(r.Body) != 0) {
		err = fmt.Errorf("a ping is answered by %+v", r)
	}
	return err
}

// TestSpoiledRequests sends every kind of request, spoiled in every way. Each
// is answered or the connection is closed; an open connection stays in step,
// and no session but the one that asked is affected.
func TestSpoiledRequests(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	v := startVictim(t, "extendedTypesEnabled=true")
	var work sync.WaitGroup
	requests := goodRequests()
	for k := range 4 {
		work.Go(func() {
			for i := k; i < len(requests); i += 4 {
				spoilAll(t, v, rand.New(rand.NewPCG(seed, uint64(i))), requests[i])
			}
		})
	}
	work.Wait()
}

func spoilAll(t *testing.T, v *victim, r *rand.Rand, q request) {
	s := &session{timeout: 5 * time.Second}
	if err := s.open(v.addr); err != nil {
		t.Errorf("%s: %v", q.name, err)
		return
	}
	defer func() { _ = s.Close() }()
	codes := map[int32]int{}
	for i, body := range q.spoil(r) {
		code, open, err := attempt(s, q.op, body)
		if err == nil && open && code == wire.AuthFailed {
			open = false // the connection goes after the reply
			closed(t, s)
		}
		if err == nil && open {
			err = pinged(s)
		}
		if err != nil {
			t.Errorf("%s, spoiled in way %d, %x: %v", q.name, i, body, err)
			return
		}
		codes[code]++
		if !open {
			codes[1]++
			if err := s.open(v.addr); err != nil {
				t.Errorf("%s, spoiled in way %d, %x: its session: %v", q.name, i, body, err)
				return
			}
		}
	}
	t.Logf("%s: %v", q.name, codes)
}

// badPaths are no paths of nodes.
var badPaths = []string{
	"", "relative", "/a/", "//", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/\x00", "/a\x00b", "/\x01", "/a\x1fb",
	"/\x7f", "/a\u009fb", "/\xff", "/a\xc3", "/\xc0\xaf", "/\xe2\x28\xa1", "/\xed\xa0\x80", "/\xf5\x80\x80\x80", "/\ufff0", "/\ufffe", "/\ue000", "/\uf8ff",
}

// TestBadPaths asks for nodes with impossible names, in every operation that
// takes one. Nothing comes of it.
func TestBadPaths(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "extendedTypesEnabled=true")
	s := connect(t, v.addr)
	s.must(t, wire.OpCreate, wire.CreateBody("/a", nil, wire.OpenACL, 0))
	before, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range badPaths {
		watch := wire.WatchBody(p, false)
		// Of the root some of these are good requests.
		refused := []int32{wire.BadArguments, wire.MarshallingError, wire.NoNode}
		for _, q := range []request{
			{"create", wire.OpCreate, wire.CreateBody(p, nil, wire.OpenACL, 0)},
			{"create sequential", wire.OpCreate2, wire.CreateBody(p+"\x00", nil, wire.OpenACL, wire.PersistentSequential)},
			{"createTTL", wire.OpCreateTTL, wire.CreateTTLBody(p, nil, wire.OpenACL, wire.PersistentTTL, 1)},
			{"delete", wire.OpDelete, wire.VersionBody(p, -1)},
			{"setData", wire.OpSetData, wire.SetDataBody(p, nil, 5)},
			{"setACL", wire.OpSetACL, wire.SetACLBody(p, wire.OpenACL, 5)},
			{"getData", wire.OpGetData, watch},
			{"exists", wire.OpExists, watch},
			{"getChildren", wire.OpGetChildren, watch},
			{"getACL", wire.OpGetACL, wire.PathBody(p)},
			{"getAllChildrenNumber", wire.OpGetAllChildrenNumber, wire.PathBody(p)},
		} {
			code, open, err := attempt(s, q.op, q.body)
			if err != nil || !open {
				t.Fatalf("%s %q: open %v, %v", q.name, p, open, err)
			}
			if p == "" && (code == wire.OK || code == wire.BadVersion) {
				continue // the root's other name, to reads and to checks of versions
			}
			if !slices.Contains(refused, code) {
				t.Errorf("%s %q: error %d", q.name, p, code)
			}
		}
		r := s.must(t, wire.OpMulti, wire.MultiBody(
			wire.MultiOp{Type: wire.OpCreate, Body: wire.CreateBody("/b", nil, wire.OpenACL, 0)},
			wire.MultiOp{Type: wire.OpCreate, Body: wire.CreateBody(p, nil, wire.OpenACL, 0)}))
		if results, err := wire.DecodeMulti(r.Rest()); err != nil || len(results) != 2 || results[0].Type != wire.OpError || results[1].Err == wire.OK {
			t.Errorf("multi with %q: %+v, %v", p, results, err)
		}
		for _, op := range []int32{wire.OpAddWatch, wire.OpCheckWatches, wire.OpRemoveWatches, wire.OpGetEphemerals, wire.OpSync} {
			if _, open, err := attempt(s, op, wire.PathIntBody(p, 1)); err != nil || !open {
				t.Errorf("operation %d on %q: open %v, %v", op, p, open, err)
			}
		}
	}
	after, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	delete(before, "/witness")
	delete(after, "/witness")
	if diff := (&world{nodes: before}).matches(after); diff != "" {
		t.Errorf("something came of it:\n%s", diff)
	}
}

// TestUnknownOperations asks for what there is not: an error that says so, and
// the connection is closed, as in ZooKeeper.
func TestUnknownOperations(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	known := []int32{wire.OpPing, wire.OpAuth}
	for _, q := range goodRequests() {
		known = append(known, q.op)
	}
	known = append(known, wire.OpCloseSession, wire.OpDeleteContainer)
	ops := []int32{math.MinInt32, math.MaxInt32, 1000, -100}
	for op := int32(-20); op < 120; op++ {
		ops = append(ops, op)
	}
	var work sync.WaitGroup
	for _, op := range ops {
		if slices.Contains(known, op) {
			continue
		}
		work.Go(func() {
			s := &session{timeout: 5 * time.Second}
			if err := s.open(v.addr); err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }()
			code, open, err := attempt(s, op, []byte("body"))
			if err != nil || !open || code != wire.Unimplemented {
				t.Errorf("operation %d: error %d, open %v, %v", op, code, open, err)
				return
			}
			closed(t, s)
			v.said("WARN", "unknown operation", s.name(), client(s))
		})
	}
	work.Wait()
	// The leader's own is nobody else's.
	s := connect(t, v.addr)
	if r := s.call(t, wire.OpDeleteContainer, wire.PathBody("/witness")); r.Err != wire.BadArguments {
		t.Errorf("deleteContainer: error %d", r.Err)
	}
}

// TestScrambledPipeline sends good and bad requests in one stream, cut into
// pieces at random: each is answered in its turn.
func TestScrambledPipeline(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 3))
	v := startVictim(t, "extendedTypesEnabled=true")
	requests := goodRequests()
	requests = slices.DeleteFunc(requests, func(q request) bool { return q.op == wire.OpAuth })
	for range 20 {
		s := &session{timeout: 5 * time.Second}
		if err := s.open(v.addr); err != nil {
			t.Fatal(err)
		}
		var stream []byte
		first := s.NextXid()
		const n = 100
		for i := range int32(n) {
			q := requests[r.IntN(len(requests))]
			body := q.body
			if r.IntN(3) == 0 {
				bad := q.spoil(r)
				body = bad[r.IntN(len(bad))]
			}
			stream = append(stream, frame(wire.Request(first+i, q.op, body))...)
		}
		go func() {
			for len(stream) > 0 {
				k := min(len(stream), 1+r.IntN(200))
				if s.SendRaw(stream[:k]) != nil {
					return // the reader sees it
				}
				stream = stream[k:]
			}
		}()
		for i := int32(0); i < n; {
			reply, err := s.Recv()
			if err != nil {
				t.Fatalf("request %d of %d: %v", i, n, err)
			}
			switch reply.Xid {
			case wire.XidEvent:
			case first + i:
				i++
			default:
				t.Fatalf("reply %d is %+v", i, reply)
			}
		}
		if err := pinged(s); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
}

// TestLongNamesInTheLog sends what is logged at lengths that nobody wants to
// read: checkLog bounds every line.
func TestLongNamesInTheLog(t *testing.T) {
	t.Parallel()
	v := startVictim(t)
	long := strings.Repeat("n", 500_000)
	for name, raw := range map[string][]byte{
		"authentication failed":           wire.Request(wire.XidAuth, wire.OpAuth, wire.AuthBody(long, nil)),
		"a frame of an impossible length": wire.Request(1, wire.OpSetData, wire.SetDataBody("/"+long, make([]byte, 600_000), -1)),
	} {
		s := connect(t, v.addr)
		if err := s.SendFrame(raw); err != nil && !isBroken(err) {
			t.Fatal(err)
		}
		closed(t, s)
		v.said("WARN", name, s.name(), client(s))
	}
	v.checkLog()
}
