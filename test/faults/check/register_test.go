package check

import (
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

func multi(parts ...history.Request) history.Request {
	return history.Request{Op: wire.OpMulti, Parts: parts}
}

func TestLinearizable(t *testing.T) {
	tell(t, []tale{
		{name: "a life of a node", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			b.do(create("/r/k", "2"), refused(2, wire.NodeExists))
			b.do(set("/r/k", "2", 0), wrote(3, 1))
			a.do(set("/r/k", "3", 0), refused(4, wire.BadVersion))
			a.do(sync(), at(4))
			a.do(get("/r/k"), shown(4, "2", 3, 1))
			a.do(remove("/r/k"), at(5))
			b.do(sync(), at(5))
			b.do(get("/r/k"), refused(5, wire.NoNode))
			b.do(create("/r/k", "4"), created("/r/k", 6))
		}},
		{name: "a read without a sync may be old", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			b.do(get("/r/k"), refused(0, wire.NoNode))
		}},
		{name: "a read behind a sync is not old", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			b.do(sync(), at(0))
			b.do(get("/r/k"), refused(0, wire.NoNode))
		}},
		{name: "two with one version", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			qa, qb := a.send(set("/r/k", "2", 0)), b.send(set("/r/k", "3", 0))
			a.answer(qa, wrote(2, 1))
			b.answer(qb, wrote(3, 1))
		}},
		{name: "a write that was answered is lost", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.do(set("/r/k", "2", -1), wrote(2, 1))
			b.do(sync(), at(3))
			b.do(get("/r/k"), shown(3, "1", 1, 0))
		}},
		{name: "later writes have higher zxids", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 5))
			b.do(set("/r/k", "2", -1), wrote(4, 1))
		}},
		{name: "what was not answered may have happened", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.send(set("/r/k", "2", -1))
			b.do(sync(), at(2))
			b.do(get("/r/k"), shown(2, "2", 2, 1))
		}},
		{name: "or not, or later", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.send(set("/r/k", "2", -1))
			b.do(sync(), at(1))
			b.do(get("/r/k"), shown(1, "1", 1, 0))
			b.do(sync(), at(2))
			b.do(get("/r/k"), shown(2, "2", 2, 1))
		}},
		{name: "but once it was seen it stays", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.send(set("/r/k", "2", -1))
			b.do(sync(), at(2))
			b.do(get("/r/k"), shown(2, "2", 2, 1))
			b.do(sync(), at(3))
			b.do(get("/r/k"), shown(3, "1", 1, 0))
		}},
		{name: "and does not happen once its session is attached again", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.send(set("/r/k", "2", -1))
			s.attach("a", 1, 1)
			b.do(sync(), at(2))
			b.do(get("/r/k"), shown(2, "1", 1, 0))
			b.do(sync(), at(3))
			b.do(get("/r/k"), shown(3, "2", 3, 1))
		}},
		{name: "a write that was refused is not seen", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			a.do(set("/r/k", "2", 7), refused(2, wire.BadVersion))
			b.do(sync(), at(3))
			b.do(get("/r/k"), shown(3, "2", 3, 1))
		}},
		{name: "the parts of a multi", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(multi(create("/r/k", "1"), create("/r/l", "1")), history.Reply{Zxid: 1, Results: []wire.MultiResult{
				{Type: wire.OpCreate, Path: "/r/k"}, {Type: wire.OpCreate, Path: "/r/l"}}})
			a.do(multi(set("/r/k", "2", -1), set("/r/l", "2", 5)), history.Reply{Zxid: 2, Err: wire.BadVersion, Results: []wire.MultiResult{
				{Type: wire.OpError}, {Type: wire.OpError, Err: wire.BadVersion}}})
			a.do(get("/r/k"), shown(2, "1", 1, 0))
		}},
		{name: "half of a multi", checker: "linearizable", text: "/r/k", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(multi(create("/r/k", "1"), create("/r/l", "1")), history.Reply{Zxid: 1, Results: []wire.MultiResult{
				{Type: wire.OpCreate, Path: "/r/k"}, {Type: wire.OpCreate, Path: "/r/l"}}})
			a.do(multi(set("/r/k", "2", -1), set("/r/l", "2", 5)), history.Reply{Zxid: 2, Err: wire.BadVersion, Results: []wire.MultiResult{
				{Type: wire.OpError}, {Type: wire.OpError, Err: wire.BadVersion}}})
			a.do(get("/r/k"), shown(2, "2", 2, 1))
		}},
	})
}

// The window ends with the answer after which nothing was possible any more.
func TestShortestWindow(t *testing.T) {
	var s story
	a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
	a.do(create("/r/k", "1"), created("/r/k", 1))
	for v := range int32(40) {
		a.do(set("/r/k", "x", -1), wrote(int64(v)+2, v+1))
	}
	b.do(sync(), at(50))
	b.do(get("/r/k"), shown(50, "1", 1, 0))
	end := s.now
	for v := range int32(40) {
		a.do(set("/r/k", "y", -1), wrote(int64(v)+60, v+41))
	}
	vs := Linearizable(s.conns, "/r/")
	if len(vs) != 1 || vs[0].At != end {
		t.Fatalf("want one violation at %d: %v", end, vs)
	}
}
