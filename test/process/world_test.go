package process

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// world is what the tree has to be: every node, to the last field of its stat.
type world struct {
	nodes map[string]node
	// zxid is that of the last write that was answered.
	zxid int64
}

type node struct {
	data    string
	creates int32 // children ever made
	stat    wire.Stat
}

// unknown stands for a zxid or a time that a lost answer would have told. What
// is found in its place is taken, if it is possible.
const unknown = math.MinInt64

func (w *world) clone() *world { return &world{maps.Clone(w.nodes), w.zxid} }

// edit is a write as the model knows it.
type edit struct {
	op   int32 // wire's; create2 for all creates
	path string
	data string
	// version is the expected one of setData, delete and check, -1 for any.
	version int32
	flags   int32
	owner   int64 // of an ephemeral
	parts   []edit
}

func (e edit) String() string {
	if e.op == wire.OpMulti {
		return fmt.Sprintf("multi%v", e.parts)
	}
	names := map[int32]string{wire.OpCreate2: "create", wire.OpDelete: "delete", wire.OpSetData: "set", wire.OpCheck: "check", wire.OpCloseSession: "close"}
	return fmt.Sprintf("%s %s", names[e.op], e.path)
}

func (e edit) body() []byte {
	switch e.op {
	case wire.OpCreate2:
		return wire.CreateBody(e.path, []byte(e.data), wire.OpenACL, e.flags)
	case wire.OpSetData:
		return wire.SetDataBody(e.path, []byte(e.data), e.version)
	case wire.OpDelete, wire.OpCheck:
		return wire.VersionBody(e.path, e.version)
	case wire.OpMulti:
		var ops []wire.MultiOp
		for _, p := range e.parts {
			ops = append(ops, wire.MultiOp{Type: p.op, Body: p.body()})
		}
		return wire.MultiBody(ops...)
	}
	return nil
}

// effect is what an edit answers.
type effect struct {
	err   int32
	path  string
	stat  wire.Stat
	parts []effect
}

// apply does the edit to the world as of zxid and time, either of which may be
// unknown.
func (w *world) apply(e edit, zxid, time int64) effect {
	switch e.op {
	case wire.OpCreate2:
		return w.create(e, zxid, time)
	case wire.OpSetData:
		n, ok := w.nodes[e.path]
		switch {
		case !ok:
			return effect{err: wire.NoNode}
		case e.version != -1 && e.version != n.stat.Version:
			return effect{err: wire.BadVersion}
		}
		n.data = e.data
		n.stat.Version++
		n.stat.Mzxid, n.stat.Mtime, n.stat.DataLength = zxid, time, int32(len(e.data))
		w.nodes[e.path] = n
		return effect{stat: n.stat}
	case wire.OpDelete:
		n, ok := w.nodes[e.path]
		switch {
		case !ok:
			return effect{err: wire.NoNode}
		case e.version != -1 && e.version != n.stat.Version:
			return effect{err: wire.BadVersion}
		case n.stat.NumChildren > 0:
			return effect{err: -111}
		}
		w.remove(e.path, zxid)
	case wire.OpCheck:
		n, ok := w.nodes[e.path]
		switch {
		case !ok:
			return effect{err: wire.NoNode}
		case e.version != -1 && e.version != n.stat.Version:
			return effect{err: wire.BadVersion}
		}
	case wire.OpMulti:
		return w.multi(e, zxid, time)
	case wire.OpCloseSession:
		for _, p := range slices.Sorted(maps.Keys(w.nodes)) {
			if w.nodes[p].stat.EphemeralOwner == e.owner {
				w.remove(p, zxid)
			}
		}
	}
	return effect{}
}

func (w *world) create(e edit, zxid, time int64) effect {
	dir := path.Dir(e.path)
	parent, ok := w.nodes[dir]
	name := e.path
	switch {
	case !ok:
		return effect{err: wire.NoNode}
	case parent.stat.EphemeralOwner != 0:
		return effect{err: wire.NoChildrenForEphemerals}
	case e.flags == wire.PersistentSequential || e.flags == wire.EphemeralSequential:
		name = fmt.Sprintf("%s%010d", e.path, parent.creates)
	}
	if _, ok := w.nodes[name]; ok {
		return effect{err: wire.NodeExists}
	}
	n := node{data: e.data, stat: wire.Stat{
		Czxid: zxid, Mzxid: zxid, Pzxid: zxid, Ctime: time, Mtime: time, EphemeralOwner: e.owner, DataLength: int32(len(e.data)),
	}}
	w.nodes[name] = n
	parent.creates++
	parent.stat.NumChildren++
	w.touchParent(dir, parent, zxid)
	return effect{path: name, stat: n.stat}
}

func (w *world) remove(name string, zxid int64) {
	delete(w.nodes, name)
	dir := path.Dir(name)
	parent := w.nodes[dir]
	parent.stat.NumChildren--
	w.touchParent(dir, parent, zxid)
}

func (w *world) touchParent(dir string, parent node, zxid int64) {
	parent.stat.Cversion = 2*parent.creates - parent.stat.NumChildren
	parent.stat.Pzxid = zxid
	w.nodes[dir] = parent
}

func (w *world) multi(e edit, zxid, time int64) effect {
	try := w.clone()
	var out effect
	for i, p := range e.parts {
		r := try.apply(p, zxid, time)
		if r.err == 0 {
			if p.op == wire.OpCreate2 {
				r.stat = wire.Stat{} // in a multi a create answers with its path alone
			}
			out.parts = append(out.parts, r)
			continue
		}
		out.parts = make([]effect, len(e.parts))
		out.parts[i] = r
		for j := i + 1; j < len(e.parts); j++ {
			out.parts[j].err = wire.RuntimeInconsistency
		}
		return out
	}
	w.nodes = try.nodes
	return out
}

// time returns the time that the server has given the transaction, as far as
// the answer shows it.
func (e effect) time() int64 {
	for _, p := range e.parts {
		if t := p.time(); t != unknown {
			return t
		}
	}
	if e.stat.Mtime != 0 {
		return e.stat.Mtime
	}
	return unknown
}

// decode reads the answer to an edit.
func decode(e edit, r wire.Reply) (out effect, err error) {
	out.err = r.Err
	if r.Err != wire.OK {
		return out, nil
	}
	b := wire.NewReader(r.Body)
	switch e.op {
	case wire.OpCreate2:
		out.path, out.stat = b.String(), b.Stat()
	case wire.OpSetData:
		out.stat = b.Stat()
	case wire.OpMulti:
		results, err := wire.DecodeMulti(r.Body)
		for _, m := range results {
			out.parts = append(out.parts, effect{err: m.Err, path: m.Path, stat: m.Stat})
		}
		return out, err
	}
	return out, b.Done()
}

// same compares what was expected with what came.
func (e effect) same(o effect) bool {
	return e.err == o.err && e.path == o.path && e.stat == o.stat && slices.EqualFunc(e.parts, o.parts, effect.same)
}

// matches reports how the nodes found differ from the world, "" if not at all,
// and takes what was unknown from them.
func (w *world) matches(found map[string]node) string {
	var diff []string
	for _, p := range slices.Sorted(maps.Keys(w.nodes)) {
		f, ok := found[p]
		if !ok {
			diff = append(diff, p+" is missing")
			continue
		}
		n := w.nodes[p]
		for _, x := range []struct{ want, got *int64 }{
			{&n.stat.Czxid, &f.stat.Czxid}, {&n.stat.Mzxid, &f.stat.Mzxid}, {&n.stat.Pzxid, &f.stat.Pzxid},
		} {
			if *x.want == unknown && *x.got > w.zxid {
				*x.want = *x.got
			}
		}
		for _, x := range []struct{ want, got *int64 }{{&n.stat.Ctime, &f.stat.Ctime}, {&n.stat.Mtime, &f.stat.Mtime}} {
			if *x.want == unknown {
				*x.want = *x.got
			}
		}
		switch {
		case n.stat != f.stat:
			diff = append(diff, fmt.Sprintf("%s: stat %+v, want %+v", p, f.stat, n.stat))
		case n.data != f.data:
			diff = append(diff, fmt.Sprintf("%s: data %.40q, want %.40q", p, f.data, n.data))
		}
		w.nodes[p] = n
	}
	for _, p := range slices.Sorted(maps.Keys(found)) {
		if _, ok := w.nodes[p]; !ok {
			diff = append(diff, fmt.Sprintf("%s is there: %+v", p, found[p].stat))
		}
	}
	return strings.Join(diff, "\n  ")
}

// look reads the whole tree, but for what the server itself keeps.
func look(s *session) (map[string]node, error) {
	found := make(map[string]node)
	todo := []string{"/"}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		r, err := s.Call(wire.OpGetData, wire.WatchBody(p, false))
		if err != nil {
			return nil, err
		}
		if r.Err != wire.OK {
			return nil, fmt.Errorf("getData %s: error %d", p, r.Err)
		}
		b := wire.NewReader(r.Body)
		n := node{data: string(b.Buffer()), stat: b.Stat()}
		if n.stat.NumChildren > 0 {
			r, err := s.Call(wire.OpGetChildren, wire.WatchBody(p, false))
			if err != nil {
				return nil, err
			}
			names := wire.NewReader(r.Body).Strings()
			if len(names) != int(n.stat.NumChildren) {
				return nil, fmt.Errorf("%s has %d children by its stat and the children %q", p, n.stat.NumChildren, names)
			}
			for _, name := range names {
				if p != "/" || name != "zookeeper" {
					todo = append(todo, path.Join(p, name))
				}
			}
		}
		if r.Zxid < s.zxid {
			return nil, fmt.Errorf("zxid %#x after %#x", r.Zxid, s.zxid)
		}
		n.creates = (n.stat.Cversion + n.stat.NumChildren) / 2
		found[p] = n
	}
	return found, nil
}

// fill is a node's data: it says who wrote it, and is long enough to fill a
// segment soon.
func fill(number int) string {
	return fmt.Sprintf("%06d", number) + string(bytes.Repeat([]byte{byte('a' + number%26)}, 100+number*37%400))
}
