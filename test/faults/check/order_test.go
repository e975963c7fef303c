package check

import (
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

func TestOrder(t *testing.T) {
	tell(t, []tale{
		{name: "a pipeline", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			ping := a.send(history.Request{Op: wire.OpPing})
			x, y := a.send(create("/k", "1")), a.send(set("/k", "2", -1))
			a.answer(x, created("/k", 1))
			a.answer(y, wrote(2, 1))
			a.answer(ping, at(0))
		}},
		{name: "answers in another order", checker: "order", text: "sent later", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			x, y := a.send(create("/k", "1")), a.send(create("/l", "2"))
			a.answer(y, created("/l", 1))
			a.answer(x, created("/k", 2))
		}},
		{name: "an answer is left out", checker: "order", text: "sent before it", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.send(create("/k", "1"))
			a.do(create("/l", "1"), created("/l", 2))
		}},
		{name: "zxids fall", checker: "order", text: "showed 0x2", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(sync(), at(2))
			a.do(sync(), at(1))
		}},
		{name: "zxids fall on another member", checker: "order", text: "showed 0x2", tell: func(s *story) {
			s.attach("a", 0, 1).do(sync(), at(2))
			s.attach("a", 1, 1).do(get("/x"), refused(1, wire.NoNode))
		}},
		{name: "a zxid is given twice", checker: "order", text: "so had another", tell: func(s *story) {
			s.attach("a", 0, 1).do(create("/k", "1"), created("/k", 1))
			s.attach("b", 0, 2).do(create("/l", "1"), created("/l", 1))
		}},
		{name: "a read is older than its zxid", checker: "order", text: "though this has happened", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/k", "1"), created("/k", 1))
			a.do(set("/k", "2", -1), wrote(3, 1))
			s.attach("b", 0, 2).do(get("/k"), shown(4, "1", 1, 0))
		}},
		{name: "a read of another value", checker: "order", text: `shows "3"`, tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/k", "1"), created("/k", 1))
			a.do(get("/k"), shown(4, "3", 1, 0))
		}},
		{name: "a read of a value that nobody wrote", checker: "order", text: "nobody wrote", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/r/k", "1"), created("/r/k", 1))
			s.attach("b", 0, 2).do(get("/r/k"), shown(4, "3", 2, 1))
		}},
		{name: "a node is not shown", checker: "order", text: "is not there", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/k", "1"), created("/k", 1))
			s.attach("b", 0, 2).do(get("/k"), refused(1, wire.NoNode))
		}},
		{name: "children", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/p/k", "1"), created("/p/k", 1))
			a.do(create("/p/l", "1"), created("/p/l", 2))
			a.do(remove("/p/k"), at(3))
			a.do(history.Request{Op: wire.OpGetChildren2, Path: "/p"}, history.Reply{Zxid: 3, Children: []string{"l"}})
			s.attach("b", 0, 2).do(history.Request{Op: wire.OpGetChildren2, Path: "/p"}, history.Reply{Zxid: 1, Children: []string{"k"}})
		}},
		{name: "a child too many", checker: "order", text: "/p/k is shown", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/p/k", "1"), created("/p/k", 1))
			a.do(remove("/p/k"), at(3))
			a.do(history.Request{Op: wire.OpGetChildren2, Path: "/p"}, history.Reply{Zxid: 3, Children: []string{"k"}})
		}},
		{name: "a child too early", checker: "order", text: "before this", tell: func(s *story) {
			s.attach("b", 0, 2).do(history.Request{Op: wire.OpGetChildren2, Path: "/p"}, history.Reply{Zxid: 1, Children: []string{"k"}})
			s.attach("a", 0, 1).do(create("/p/k", "1"), created("/p/k", 2))
		}},
		{name: "a child is missing", checker: "order", text: "/p/k is not shown", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/p/k", "1"), created("/p/k", 1))
			a.do(history.Request{Op: wire.OpGetChildren2, Path: "/p"}, history.Reply{Zxid: 3})
		}},
	})
}

func TestExpiry(t *testing.T) {
	tell(t, []tale{
		{name: "after a long silence", tell: func(s *story) {
			s.attach("a", 0, 1).do(sync(), at(1))
			s.now += 200
			s.attach("a", 1, 0)
		}},
		{name: "requests that were not answered count for nothing", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			s.now += 200
			a.send(history.Request{Op: wire.OpPing})
			s.attach("a", 1, 0)
		}},
		{name: "after a short silence", checker: "expiry", text: "session 0x1 has ended", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			s.now += 200
			a.do(history.Request{Op: wire.OpPing}, at(0))
			s.attach("a", 1, 0)
		}},
		{name: "a closed session", tell: func(s *story) {
			s.attach("a", 0, 1).do(history.Request{Op: wire.OpCloseSession}, at(1))
			s.attach("a", 1, 0)
		}},
	})
}

func TestEphemerals(t *testing.T) {
	exists := func(path string) history.Request { return history.Request{Op: wire.OpExists, Path: path} }
	children := history.Request{Op: wire.OpGetChildren2, Path: "/e"}
	tell(t, []tale{
		{name: "there while its session is", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(ephemeral("/e/1"), created("/e/1", 2))
			b.do(exists("/e/1"), refused(1, wire.NoNode)) // not yet
			b.do(exists("/e/1"), shown(2, "", 2, 0))
			b.do(children, history.Reply{Zxid: 3, Children: []string{"1"}})
			a.do(history.Request{Op: wire.OpCloseSession}, at(4))
			b.do(exists("/e/1"), shown(3, "", 2, 0)) // late
			b.do(sync(), at(5))
			b.do(exists("/e/1"), refused(5, wire.NoNode))
		}},
		{name: "gone too early", checker: "ephemerals", text: "lives on", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(ephemeral("/e/1"), created("/e/1", 2))
			b.do(exists("/e/1"), refused(3, wire.NoNode))
			a.do(create("/k", ""), created("/k", 4))
		}},
		{name: "gone too early from its parent's children", checker: "ephemerals", text: "lives on", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(ephemeral("/e/1"), created("/e/1", 2))
			b.do(children, at(3))
			a.do(create("/k", ""), created("/k", 4))
		}},
		{name: "there after its session was closed", checker: "ephemerals", text: "was closed", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(ephemeral("/e/1"), created("/e/1", 2))
			a.do(history.Request{Op: wire.OpCloseSession}, at(4))
			b.do(exists("/e/1"), shown(4, "", 2, 0))
		}},
		{name: "there after its session expired", checker: "ephemerals", text: "has ended", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(ephemeral("/e/1"), created("/e/1", 2))
			s.now += 200
			s.attach("a", 1, 0)
			b.do(sync(), at(5))
			b.do(exists("/e/1"), shown(5, "", 2, 0))
		}},
	})
}

func TestWatches(t *testing.T) {
	tell(t, []tale{
		{name: "before the new state is read", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/p/k", "1"), created("/p/k", 1))
			b.do(watched(get("/p/k")), shown(1, "1", 1, 0))
			b.do(watched(history.Request{Op: wire.OpGetChildren2, Path: "/p"}), history.Reply{Zxid: 1, Children: []string{"k"}})
			a.do(set("/p/k", "2", -1), wrote(2, 1))
			a.do(remove("/p/k"), at(3))
			b.event(history.DataChanged, "/p/k", 2)
			b.event(history.ChildrenChanged, "/p", 3)
			b.do(get("/p/k"), refused(3, wire.NoNode))
		}},
		{name: "an answer comes before the event", checker: "watches", text: "has not fired", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			b.do(get("/k"), shown(2, "2", 2, 1))
			b.event(history.DataChanged, "/k", 2)
		}},
		{name: "for a later change", checker: "watches", text: "the first change since", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			a.do(set("/k", "3", -1), wrote(3, 2))
			b.event(history.DataChanged, "/k", 3)
		}},
		{name: "twice", checker: "watches", text: "no watch for it", tell: func(s *story) {
			a := s.attach("a", 0, 1)
			a.do(create("/k", "1"), created("/k", 1))
			a.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.event(history.DataChanged, "/k", 2)
			a.event(history.DataChanged, "/k", 3)
		}},
		{name: "on another connection", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			b = s.attach("b", 2, 2)
			again := b.send(history.Request{Op: wire.OpSetWatches, Relative: 1, Watches: [3][]string{{"/k"}}})
			b.event(history.DataChanged, "/k", -1)
			b.answer(again, at(2))
			b.do(get("/k"), shown(2, "2", 2, 1))
		}},
		{name: "once for a watch that is set again, once for one that was left before", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			b = s.attach("b", 2, 2)
			b.do(watched(get("/k")), shown(2, "2", 2, 1))
			again := b.send(history.Request{Op: wire.OpSetWatches, Relative: 1, Watches: [3][]string{{"/k"}}})
			b.event(history.DataChanged, "/k", -1)
			b.answer(again, at(2))
			a.do(set("/k", "3", -1), wrote(3, 2))
			b.event(history.DataChanged, "/k", 3)
		}},
		{name: "once for one that was left before, once for a watch that is set again", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			b = s.attach("b", 2, 2)
			left, again := b.send(watched(get("/k"))), b.send(history.Request{Op: wire.OpSetWatches, Relative: 1, Watches: [3][]string{{"/k"}}})
			b.answer(left, shown(2, "2", 2, 1))
			a.do(set("/k", "3", -1), wrote(3, 2))
			b.event(history.DataChanged, "/k", 3)
			b.event(history.DataChanged, "/k", -1)
			b.answer(again, at(3))
		}},
		{name: "missed on another connection", checker: "watches", text: "was set again", tell: func(s *story) {
			a, b := s.attach("a", 0, 1), s.attach("b", 0, 2)
			a.do(create("/k", "1"), created("/k", 1))
			b.do(watched(get("/k")), shown(1, "1", 1, 0))
			a.do(set("/k", "2", -1), wrote(2, 1))
			b = s.attach("b", 2, 2)
			b.do(history.Request{Op: wire.OpSetWatches, Relative: 1, Watches: [3][]string{{"/k"}}}, at(2))
		}},
	})
}

func TestAppended(t *testing.T) {
	sequential := func(data string) history.Request {
		return history.Request{Op: wire.OpCreate, Path: "/log/e-", Data: data, Flags: history.Sequential}
	}
	var s story
	a := s.attach("a", 0, 1)
	a.do(sequential("1"), created("/log/e-1", 1))
	a.do(sequential("2"), refused(2, wire.NoAuth))
	a.send(sequential("3"))
	for _, c := range []struct {
		nodes map[string]string
		want  int
	}{
		{map[string]string{"e-1": "1"}, 0},
		{map[string]string{"e-1": "1", "e-2": "3"}, 0},
		{map[string]string{}, 1},                                   // lost
		{map[string]string{"e-1": "3"}, 1},                         // lost, too
		{map[string]string{"e-1": "1", "e-2": "1"}, 1},             // twice
		{map[string]string{"e-1": "1", "e-2": "3", "e-3": "3"}, 1}, // twice
		{map[string]string{"e-1": "1", "e-2": "2"}, 1},             // failed
		{map[string]string{"e-1": "1", "e-2": "4"}, 1},             // nobody's
	} {
		if got := Appended(s.conns, "/log", c.nodes); len(got) != c.want {
			t.Errorf("%v: %v; want %d", c.nodes, got, c.want)
		}
	}
}
