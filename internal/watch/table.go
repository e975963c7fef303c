package watch

import (
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/conclave-dev/conclave/internal/jute"
)

// Kind is a kind of watch, or a set of kinds.
type Kind uint8

// The kinds of watches.
const (
	// Data is what getData and exists leave: it fires once, when the path is
	// created, deleted or its data set.
	Data Kind = 1 << iota
	// Child is what getChildren leaves: it fires once, when the path is deleted
	// or a child of it comes or goes.
	Child
	// Persistent fires like Data and Child together, and stays.
	Persistent
	// PersistentRecursive fires when the path or anything below it is created,
	// deleted or its data set, and stays. It never says that children changed:
	// the children speak for themselves.
	PersistentRecursive

	oneShot = Data | Child
	every   = Data | Child | Persistent | PersistentRecursive
)

// kindsOf returns the kinds that a watcher type of checkWatches and
// removeWatches selects; none for a type that does not exist.
func kindsOf(typ jute.WatcherType) Kind {
	switch typ {
	case jute.WatcherChildren:
		return Child
	case jute.WatcherData:
		return Data
	case jute.WatcherAny:
		return every
	case jute.WatcherPersistent:
		return Persistent
	case jute.WatcherPersistentRecursive:
		return PersistentRecursive
	}
	return 0
}

// crowd is the number of watchers from which on a path has its watchers
// indexed. Up to it, looking through them costs less than a map does.
const crowd = 8

// removeBatch is how many watches RemoveAll takes out before it lets others at
// the table: a connection with 100,000 watches that closes must not hold up
// whoever applies transactions.
const removeBatch = 512

// watch says that one watcher watches one path. It is a link of two lists: the
// watches of its path and the watches of its watcher, each in the order in
// which they came.
type watch struct {
	path, watcher            uint32
	pathNext, pathPrev       uint32
	watcherNext, watcherPrev uint32
	kinds                    Kind // never empty while the watch is linked
}

// watched is a path that somebody watches: never without watches.
type watched struct {
	name        string // the table's own copy, the key in Table.pathIndex
	first, last uint32
	count       uint32
	// crowded: each watch of the path is in Table.index. Set once there are
	// more than crowd of them, and for as long as the path is watched.
	crowded bool
}

// watcher is somebody who watches: never without watches.
type watcher[W comparable] struct {
	handle      W
	first, last uint32
	count       uint32
	// told is the number of the latest event that was collected for this
	// watcher, by which it gets each one once.
	told uint64
}

// Table holds the watches of all connections of a member. W identifies a
// watcher, typically a pointer to a connection.
//
// Its methods may be called concurrently, except that Created, Deleted,
// DataChanged and Fire are for one goroutine at a time. Whoever registers a
// watch along with reading a node must see to it that no change of the node is
// fired between the two, or the watch will miss it.
type Table[W comparable] struct {
	// total is the number of watches, each kind counted. It is written under mu
	// and read without it, so that a change costs nothing where nobody watches.
	total atomic.Int64

	mu        sync.Mutex
	pathIndex map[string]uint32 // path -> slot in paths
	byHandle  map[W]uint32      // handle -> slot in watchers
	index     map[uint64]uint32 // key(path, watcher) -> slot in watches, for crowded paths

	paths    slab[watched]
	watchers slab[watcher[W]]
	watches  slab[watch]

	recursive int    // watches that have the kind PersistentRecursive
	event     uint64 // number of the event that is being collected

	// hits is where an event's watchers are collected. It belongs to the
	// goroutine that fires, also while mu is not held.
	hits []W
}

// New returns an empty table.
func New[W comparable]() *Table[W] {
	t := &Table[W]{}
	t.reset()
	return t
}

func (t *Table[W]) reset() {
	t.pathIndex, t.byHandle, t.index = make(map[string]uint32), make(map[W]uint32), make(map[uint64]uint32)
	t.paths, t.watchers, t.watches = slab[watched]{}, slab[watcher[W]]{}, slab[watch]{}
}

func key(path, watcher uint32) uint64 { return uint64(path)<<32 | uint64(watcher) }

// Add lets w watch path. A watch that exists already is left as it is, and
// kinds do not replace one another (ZOOKEEPER-4466). The path may be a view
// into a buffer: the table makes its own copy of what it keeps.
//
// After RemoveAll(w) the caller must not add for w again.
func (t *Table[W]) Add(w W, path string, k Kind) {
	if k &= every; k == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()

	wi, ok := t.byHandle[w]
	if !ok {
		wi = t.watchers.get(watcher[W]{handle: w})
		t.byHandle[w] = wi
	}
	pi, ok := t.pathIndex[path]
	if !ok {
		name := strings.Clone(path)
		pi = t.paths.get(watched{name: name})
		t.pathIndex[name] = pi
	}
	i := t.find(pi, wi)
	if i == 0 {
		i = t.link(pi, wi)
	}
	e := t.watches.at(i)
	added := k &^ e.kinds
	e.kinds |= added
	if added&PersistentRecursive != 0 {
		t.recursive++
	}
	t.total.Add(int64(bits.OnesCount8(uint8(added))))
}

// Contains reports whether w itself has a watch of the type on exactly this
// path: an answer to checkWatches. A recursive watch further up does not count.
func (t *Table[W]) Contains(w W, path string, typ jute.WatcherType) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.lookup(w, path)
	return i != 0 && t.watches.at(i).kinds&kindsOf(typ) != 0
}

// Remove takes away what w watches on exactly this path and the type selects:
// the types data and children select one-shot watches only (ZOOKEEPER-4471).
// It reports whether there was anything; if not, the answer to removeWatches
// is NoWatcher.
func (t *Table[W]) Remove(w W, path string, typ jute.WatcherType) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.lookup(w, path)
	if i == 0 || t.watches.at(i).kinds&kindsOf(typ) == 0 {
		return false
	}
	t.drop(i, kindsOf(typ))
	return true
}

// RemoveAll forgets w: its connection is gone. Others get at the table in
// between, so a change that is applied meanwhile may still be delivered to w.
func (t *Table[W]) RemoveAll(w W) {
	for t.removeSome(w) {
	}
}

// removeSome takes away up to removeBatch of w's watches and reports whether
// more are left.
func (t *Table[W]) removeSome(w W) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	wi, ok := t.byHandle[w]
	if !ok {
		return false
	}
	left := t.watchers.at(wi).count
	for n := min(left, removeBatch); n > 0; n-- {
		t.drop(t.watchers.at(wi).first, every)
	}
	return left > removeBatch
}

// lookup returns the watch of w on path, or 0.
func (t *Table[W]) lookup(w W, path string) uint32 {
	wi, ok := t.byHandle[w]
	if !ok {
		return 0
	}
	pi, ok := t.pathIndex[path]
	if !ok {
		return 0
	}
	return t.find(pi, wi)
}

// find returns the watch of watcher wi on path pi, or 0.
func (t *Table[W]) find(pi, wi uint32) uint32 {
	p := t.paths.at(pi)
	if p.crowded {
		return t.index[key(pi, wi)]
	}
	for i := p.first; i != 0; {
		e := t.watches.at(i)
		if e.watcher == wi {
			return i
		}
		i = e.pathNext
	}
	return 0
}

// link makes a watch of watcher wi on path pi, with no kinds yet, and puts it
// at the end of both lists.
func (t *Table[W]) link(pi, wi uint32) uint32 {
	p, w := t.paths.at(pi), t.watchers.at(wi)
	i := t.watches.get(watch{path: pi, watcher: wi, pathPrev: p.last, watcherPrev: w.last})
	if p.last == 0 {
		p.first = i
	} else {
		t.watches.at(p.last).pathNext = i
	}
	if w.last == 0 {
		w.first = i
	} else {
		t.watches.at(w.last).watcherNext = i
	}
	p.last, w.last = i, i
	p.count++
	w.count++

	switch {
	case p.crowded:
		t.index[key(pi, wi)] = i
	case p.count > crowd:
		p.crowded = true
		for j := p.first; j != 0; j = t.watches.at(j).pathNext {
			t.index[key(pi, t.watches.at(j).watcher)] = j
		}
	}
	return i
}

// drop takes kinds k from watch i, and the watch itself once none is left.
func (t *Table[W]) drop(i uint32, k Kind) {
	e := t.watches.at(i)
	gone := e.kinds & k
	e.kinds &^= gone
	if gone&PersistentRecursive != 0 {
		t.recursive--
	}
	t.total.Add(-int64(bits.OnesCount8(uint8(gone))))
	if e.kinds == 0 {
		t.unlink(i)
	}
}

// unlink takes watch i out of both lists and, with their last watch, its path
// and its watcher out of the table.
func (t *Table[W]) unlink(i uint32) {
	e := *t.watches.at(i)
	p, w := t.paths.at(e.path), t.watchers.at(e.watcher)
	if e.pathPrev == 0 {
		p.first = e.pathNext
	} else {
		t.watches.at(e.pathPrev).pathNext = e.pathNext
	}
	if e.pathNext == 0 {
		p.last = e.pathPrev
	} else {
		t.watches.at(e.pathNext).pathPrev = e.pathPrev
	}
	if e.watcherPrev == 0 {
		w.first = e.watcherNext
	} else {
		t.watches.at(e.watcherPrev).watcherNext = e.watcherNext
	}
	if e.watcherNext == 0 {
		w.last = e.watcherPrev
	} else {
		t.watches.at(e.watcherNext).watcherPrev = e.watcherPrev
	}
	if p.crowded {
		delete(t.index, key(e.path, e.watcher))
	}
	t.watches.put(i)
	if p.count--; p.count == 0 {
		delete(t.pathIndex, p.name)
		t.paths.put(e.path)
	}
	if w.count--; w.count == 0 {
		delete(t.byHandle, w.handle)
		t.watchers.put(e.watcher)
	}
	if len(t.byHandle) == 0 && len(t.watches.chunks) > 1 {
		t.reset() // nobody watches any more: give the memory of the peak back
	}
}
