package watch

import (
	"cmp"
	"slices"
)

// Counts returns how many connections watch anything, how many paths are
// watched, and how many watches that makes, each kind counted.
//
// ZooKeeper's wchs, wchc and wchp tell of data watches only, and its
// zk_watch_count counts a persistent watch twice; these numbers and the
// reports below are of all watches, each once.
func (t *Table[W]) Counts() (connections, paths, watches int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byHandle), len(t.pathIndex), int(t.total.Load())
}

// PathWatchers is a path and who watches it, in whatever kinds.
type PathWatchers[W comparable] struct {
	Path     string
	Watchers []W // in the order in which they came to watch the path
}

// ByPath reports the table by path, in the order of the paths: what wchp
// prints. It copies the whole table while changes wait, so it is for
// operators, not for a scrape.
func (t *Table[W]) ByPath() []PathWatchers[W] {
	t.mu.Lock()
	out := make([]PathWatchers[W], 0, len(t.pathIndex))
	for _, pi := range t.pathIndex {
		p := t.paths.at(pi)
		ws := make([]W, 0, p.count)
		for i := p.first; i != 0; {
			e := t.watches.at(i)
			ws = append(ws, t.watchers.at(e.watcher).handle)
			i = e.pathNext
		}
		out = append(out, PathWatchers[W]{p.name, ws})
	}
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b PathWatchers[W]) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// WatcherPaths is a watcher and what it watches, in whatever kinds.
type WatcherPaths[W comparable] struct {
	Watcher W
	Paths   []string // in the order in which it came to watch them
}

// ByWatcher reports the table by watcher, in the order that compare gives:
// what wchc prints. It copies the whole table, as ByPath does.
func (t *Table[W]) ByWatcher(compare func(a, b W) int) []WatcherPaths[W] {
	t.mu.Lock()
	out := make([]WatcherPaths[W], 0, len(t.byHandle))
	for _, wi := range t.byHandle {
		w := t.watchers.at(wi)
		paths := make([]string, 0, w.count)
		for i := w.first; i != 0; {
			e := t.watches.at(i)
			paths = append(paths, t.paths.at(e.path).name)
			i = e.watcherNext
		}
		out = append(out, WatcherPaths[W]{w.handle, paths})
	}
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b WatcherPaths[W]) int { return compare(a.Watcher, b.Watcher) })
	return out
}
