package watch

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// maxScratch is the largest number of watchers for which the scratch slice is
// kept between events.
const maxScratch = 1 << 16

// Event is a change of one node: Type is NodeCreated, NodeDeleted or
// NodeDataChanged, Path the node's path.
type Event struct {
	Type jute.EventType
	Path string
}

// Fire is Created, Deleted or DataChanged, whichever the event's type says.
// Any other type is not a change of a node, and fires nothing.
func (t *Table[W]) Fire(e Event, deliver func(w W, typ jute.EventType, path string)) int {
	switch e.Type {
	case jute.EventNodeCreated:
		return t.Created(e.Path, deliver)
	case jute.EventNodeDeleted:
		return t.Deleted(e.Path, deliver)
	case jute.EventNodeDataChanged:
		return t.DataChanged(e.Path, deliver)
	}
	return 0
}

// Created fires what the creation of path fires: NodeCreated for those who
// watch the path's data, persistently, or recursively from there or above;
// then NodeChildrenChanged of the parent for those who watch its children or
// watch it persistently.
//
// Each watcher gets an event once, however many of its watches fire, and its
// one-shot watches among them are gone before it gets it. deliver is called
// without a lock held and may use the table, but not fire; it is called in the
// order in which the watchers came to watch the path, then those from above,
// nearest first. The path that it gets is a view into the argument. The number
// of calls is returned.
func (t *Table[W]) Created(path string, deliver func(w W, typ jute.EventType, path string)) int {
	return t.fire(path, jute.EventNodeCreated, Data, true, deliver)
}

// Deleted fires what the deletion of path fires: NodeDeleted for those who
// watch the path in any way, or recursively from above; then
// NodeChildrenChanged of the parent. The rest is as with Created.
func (t *Table[W]) Deleted(path string, deliver func(w W, typ jute.EventType, path string)) int {
	return t.fire(path, jute.EventNodeDeleted, oneShot, true, deliver)
}

// DataChanged fires what a setData of path fires: NodeDataChanged for those
// who watch the path's data, persistently, or recursively from there or above.
// The parent has no part in it. The rest is as with Created.
func (t *Table[W]) DataChanged(path string, deliver func(w W, typ jute.EventType, path string)) int {
	return t.fire(path, jute.EventNodeDataChanged, Data, false, deliver)
}

// fire delivers event typ of path, which uses up the one-shot kinds once, and,
// if the change is one of the parent's children, the parent's event.
func (t *Table[W]) fire(path string, typ jute.EventType, once Kind, children bool,
	deliver func(w W, typ jute.EventType, path string)) int {
	if t.total.Load() == 0 {
		return 0
	}
	parent, hasParent := parentOf(path)

	t.mu.Lock()
	t.event++
	t.collect(path, once|Persistent|PersistentRecursive)
	if t.recursive > 0 {
		for p, ok := parent, hasParent; ok; p, ok = parentOf(p) {
			t.collect(p, PersistentRecursive)
		}
	}
	own := len(t.hits)
	if children && hasParent {
		t.event++
		t.collect(parent, Child|Persistent)
	}
	t.mu.Unlock()

	hits := t.hits
	for _, w := range hits[:own] {
		deliver(w, typ, path)
	}
	for _, w := range hits[own:] {
		deliver(w, jute.EventNodeChildrenChanged, parent)
	}
	clear(hits) // a closed connection must not live on in the scratch
	if t.hits = hits[:0]; cap(hits) > maxScratch {
		t.hits = nil
	}
	return len(hits)
}

// collect puts those who watch path in one of the kinds among the hits, unless
// they are there already for this event, and uses their one-shot watches up.
func (t *Table[W]) collect(path string, kinds Kind) {
	pi, ok := t.pathIndex[path]
	if !ok {
		return
	}
	for i := t.paths.at(pi).first; i != 0; {
		e := t.watches.at(i)
		next := e.pathNext
		if e.kinds&kinds != 0 {
			if w := t.watchers.at(e.watcher); w.told != t.event {
				w.told = t.event
				t.hits = append(t.hits, w.handle)
			}
			if e.kinds&kinds&oneShot != 0 {
				t.drop(i, kinds&oneShot)
			}
		}
		i = next
	}
}

// parentOf returns the path of the node above, if there is one.
func parentOf(path string) (string, bool) {
	switch i := strings.LastIndexByte(path, '/'); {
	case i > 0:
		return path[:i], true
	case i == 0 && len(path) > 1:
		return path[:1], true
	}
	return "", false
}
