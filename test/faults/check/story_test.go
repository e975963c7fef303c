package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// story tells a history by hand. Each thing that happens takes one unit of time.
type story struct {
	now   int64
	conns []*history.Connection
}

type teller struct {
	s *story
	c *history.Connection
}

// attach opens a connection of a client for a session; session 0 is the answer
// that it is gone.
func (s *story) attach(client string, asked, session int64) *teller {
	s.now += 2
	c := &history.Connection{Client: client, Member: "m", Opened: s.now - 1, Asked: asked, Session: session, Attached: s.now, Timeout: 100}
	s.conns = append(s.conns, c)
	return &teller{s, c}
}

// send notes a request without an answer.
func (t *teller) send(q history.Request) *history.Request {
	t.s.now++
	q.Sent, q.Xid = t.s.now, int32(len(t.c.Requests)+1)
	t.c.Requests = append(t.c.Requests, &q)
	return &q
}

// answer answers a request.
func (t *teller) answer(q *history.Request, r history.Reply) {
	t.s.now++
	r.At = t.s.now
	q.Reply = &r
	t.c.Received = append(t.c.Received, history.Received{Answered: slices.Index(t.c.Requests, q)})
}

func (t *teller) do(q history.Request, r history.Reply) { t.answer(t.send(q), r) }

func (t *teller) event(typ int32, path string, zxid int64) {
	t.s.now++
	t.c.Received = append(t.c.Received, history.Received{Answered: -1, Event: history.Event{At: t.s.now, Type: typ, Path: path, Zxid: zxid}})
}

// Requests and answers, by what they mean.

func create(path, data string) history.Request {
	return history.Request{Op: wire.OpCreate, Path: path, Data: data}
}

func set(path, data string, version int32) history.Request {
	return history.Request{Op: wire.OpSetData, Path: path, Data: data, Version: version}
}

func remove(path string) history.Request {
	return history.Request{Op: wire.OpDelete, Path: path, Version: -1}
}

func get(path string) history.Request { return history.Request{Op: wire.OpGetData, Path: path} }

func watched(q history.Request) history.Request {
	q.Watch = true
	return q
}

func ephemeral(path string) history.Request {
	return history.Request{Op: wire.OpCreate, Path: path, Flags: history.Ephemeral}
}

func sync() history.Request { return history.Request{Op: wire.OpSync, Path: "/"} }

func at(zxid int64) history.Reply { return history.Reply{Zxid: zxid} }

func created(path string, zxid int64) history.Reply { return history.Reply{Zxid: zxid, Path: path} }

func refused(zxid int64, err int32) history.Reply { return history.Reply{Zxid: zxid, Err: err} }

func wrote(zxid int64, version int32) history.Reply {
	return history.Reply{Zxid: zxid, Stat: wire.Stat{Mzxid: zxid, Version: version}}
}

func shown(zxid int64, data string, mzxid int64, version int32) history.Reply {
	return history.Reply{Zxid: zxid, Data: data, Stat: wire.Stat{Mzxid: mzxid, Version: version}}
}

// judge runs all checkers.
func judge(conns []*history.Connection) []Violation {
	return slices.Concat(Linearizable(conns, "/r/"), Order(conns), Expiry(conns), Ephemerals(conns), Watches(conns))
}

// tale is a history that is right, or what is wrong with it.
type tale struct {
	name string
	tell func(s *story)
	// checker and text are of the violation that has to be found; empty if the
	// history is right.
	checker, text string
}

func tell(t *testing.T, tales []tale) {
	t.Helper()
	for _, c := range tales {
		t.Run(c.name, func(t *testing.T) {
			var s story
			c.tell(&s)
			vs := judge(s.conns)
			if c.checker == "" {
				for _, v := range vs {
					t.Errorf("refused: %v", v)
				}
				return
			}
			found := slices.ContainsFunc(vs, func(v Violation) bool { return v.Checker == c.checker && strings.Contains(v.Text, c.text) })
			if !found {
				t.Errorf("%s finds no %q; what was found is %v", c.checker, c.text, vs)
			}
		})
	}
}

func TestViolationNamesItsTime(t *testing.T) {
	v := Violation{"order", int64(1500 * time.Millisecond), "text"}
	if got := v.String(); got != "order, at 1.5s: text" {
		t.Error(got)
	}
}
