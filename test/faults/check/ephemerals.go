package check

import (
	"fmt"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// Ephemerals judges the ephemeral nodes of which clients were told, wherever
// anybody has looked for one. Their paths must not be used twice.
func Ephemerals(conns []*history.Connection) []Violation {
	f := gather(conns)
	created := map[string]*write{}
	children := map[string][]*write{}
	for _, w := range f.writes {
		if w.op == wire.OpCreate && w.ephemeral && w.happened() {
			created[w.path] = w
			children[parent(w.path)] = append(children[parent(w.path)], w)
		}
	}
	var out []Violation
	for _, c := range conns {
		synced := int64(-1)
		for _, q := range c.Requests {
			if q.Reply == nil {
				continue
			}
			there := map[string]bool{}
			var looked []*write
			switch {
			case q.Op == wire.OpSync && q.Reply.Err == wire.OK:
				synced = q.Sent
			case q.Op == wire.OpExists || q.Op == wire.OpGetData:
				if w := created[q.Path]; w != nil {
					looked = append(looked, w)
					there[q.Path] = q.Reply.Err == wire.OK
				}
			case (q.Op == wire.OpGetChildren || q.Op == wire.OpGetChildren2) && q.Reply.Err == wire.OK:
				looked = children[q.Path]
				for _, name := range q.Reply.Children {
					there[strings.TrimSuffix(q.Path, "/")+"/"+name] = true
				}
			}
			for _, w := range looked {
				if text := f.exists(w, there[w.path], q.Reply.Zxid, synced); text != "" {
					out = append(out, Violation{"ephemerals", q.Reply.At, fmt.Sprintf("%s on %s, at zxid %#x: %s", c.Client, c.Member, q.Reply.Zxid, text)})
				}
			}
		}
	}
	return out
}

// exists says what is wrong with an ephemeral node's being there, or not, at a
// zxid. synced is when the reader's last sync before it was sent.
func (f *facts) exists(w *write, there bool, zxid, synced int64) string {
	s := f.sessions[w.conn.Session]
	if s == nil {
		return ""
	}
	deleted := between(f.byPath[w.path], w.zxid, never)
	switch {
	case deleted != nil || f.mayBeDeleted(w.path):
		// Order judges what its client has deleted.
	case there && zxid < w.zxid:
		return fmt.Sprintf("%s is there, and was created later: %v", w.path, w)
	case !there && w.zxid <= zxid && zxid <= s.alive:
		return fmt.Sprintf("%s is gone, its session %#x lives on to execute a write at zxid %#x: %v", w.path, s.id, s.alive, w)
	case there && s.closed != 0 && zxid >= s.closed:
		return fmt.Sprintf("%s is there, its session %#x was closed at zxid %#x: %v", w.path, s.id, s.closed, w)
	case there && synced > s.gone:
		return fmt.Sprintf("%s is there, though its client had been told before that session %#x has ended: %v", w.path, s.id, w)
	}
	return ""
}

// Appended judges the sequential nodes below parent as they are in the end, by
// name: each has the data that one client has written once.
func Appended(conns []*history.Connection, below string, nodes map[string]string) []Violation {
	f := gather(conns)
	var out []Violation
	fail := func(format string, args ...any) {
		out = append(out, Violation{"appended", 0, fmt.Sprintf(format, args...)})
	}
	times := map[string]int{}
	for _, data := range nodes {
		times[data]++
	}
	known := map[string]bool{}
	for _, w := range f.writes {
		if w.op != wire.OpCreate || !w.sequential || w.ephemeral || parent(w.path) != below {
			continue
		}
		known[w.data] = true
		name := strings.TrimPrefix(w.path, below+"/")
		switch n := times[w.data]; {
		case w.happened() && nodes[name] != w.data:
			fail("an acknowledged write is lost: %s has %q; %v", name, nodes[name], w)
		case n > 1:
			fail("a write was executed %d times: %v", n, w)
		case w.known && !w.happened() && n > 0:
			fail("a write that failed was executed: %v", w)
		}
	}
	for name, data := range nodes {
		if !known[data] {
			fail("%s has %q, which nobody wrote", name, data)
		}
	}
	return out
}
