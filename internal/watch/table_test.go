package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/conclave-dev/conclave/internal/jute"
)

var kindNames = map[string]Kind{"data": Data, "child": Child, "persistent": Persistent, "recursive": PersistentRecursive}

var typeNames = map[string]jute.WatcherType{"data": jute.WatcherData, "children": jute.WatcherChildren,
	"any": jute.WatcherAny, "persistent": jute.WatcherPersistent, "recursive": jute.WatcherPersistentRecursive, "type-6": 6}

// TestTranscripts runs testdata/*.txt. Commands:
//
//	watch                 lines "watcher kind path": register, then print counts
//	change                lines "create|delete|set path": print who is told what
//	check, remove         lines "watcher type path": print yes or no
//	close W...            the connections are gone, then print counts
//	by-path, by-watcher   print the reports
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, file string) {
		tab := New[string]()
		datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			run(t, d, tab, &out)
			checkInvariants(t, tab)
			return out.String()
		})
	})
}

func run(t *testing.T, d *datadriven.TestData, tab *Table[string], out *strings.Builder) {
	counts := func() {
		c, p, w := tab.Counts()
		fmt.Fprintf(out, "%d connections, %d paths, %d watches\n", c, p, w)
	}
	lines := func(fields int, do func(f []string)) {
		for _, line := range strings.Split(d.Input, "\n") {
			f := strings.Fields(line)
			if len(f) != fields {
				d.Fatalf(t, "%q has %d fields, want %d", line, len(f), fields)
			}
			do(f)
		}
	}
	answer := func(f []string, ask func(string, string, jute.WatcherType) bool) {
		typ, ok := typeNames[f[1]]
		if !ok {
			d.Fatalf(t, "no such type: %s", f[1])
		}
		yesNo := map[bool]string{true: "yes", false: "no"}
		fmt.Fprintf(out, "%s %s %s: %s\n", f[0], f[1], f[2], yesNo[ask(f[0], f[2], typ)])
	}
	switch d.Cmd {
	case "watch":
		lines(3, func(f []string) {
			k, ok := kindNames[f[1]]
			if !ok {
				d.Fatalf(t, "no such kind: %s", f[1])
			}
			tab.Add(f[0], f[2], k)
		})
		counts()
	case "change":
		types := map[string]jute.EventType{"create": jute.EventNodeCreated, "delete": jute.EventNodeDeleted,
			"set": jute.EventNodeDataChanged, "children": jute.EventNodeChildrenChanged}
		lines(2, func(f []string) {
			n := 0
			got := tab.Fire(Event{types[f[0]], f[1]}, func(w string, typ jute.EventType, path string) {
				fmt.Fprintf(out, "%s: %v %s\n", w, typ, path)
				n++
			})
			if got != n {
				d.Fatalf(t, "%s: Fire says %d deliveries, there were %d", d.Input, got, n)
			}
			if n == 0 {
				out.WriteString("nobody\n")
			}
		})
	case "check":
		lines(3, func(f []string) { answer(f, tab.Contains) })
	case "remove":
		lines(3, func(f []string) { answer(f, tab.Remove) })
	case "close":
		for _, a := range d.CmdArgs {
			tab.RemoveAll(a.Key)
		}
		counts()
	case "by-path":
		for _, p := range tab.ByPath() {
			fmt.Fprintf(out, "%s: %s\n", p.Path, strings.Join(p.Watchers, " "))
		}
	case "by-watcher":
		for _, w := range tab.ByWatcher(cmp.Compare[string]) {
			fmt.Fprintf(out, "%s: %s\n", w.Watcher, strings.Join(w.Paths, " "))
		}
	default:
		d.Fatalf(t, "no such command: %s", d.Cmd)
	}
}

// checkInvariants walks the whole table and compares everything that is kept
// twice.
func checkInvariants[W comparable](t *testing.T, tab *Table[W]) {
	t.Helper()
	tab.mu.Lock()
	defer tab.mu.Unlock()
	seen := make(map[uint32]bool)
	total, recursive, indexed := 0, 0, 0
	for name, pi := range tab.pathIndex {
		p := tab.paths.at(pi)
		if p.name != name || p.count == 0 {
			t.Fatalf("path %q: slot has name %q and %d watches", name, p.name, p.count)
		}
		var prev, n uint32
		for i := p.first; i != 0; i = tab.watches.at(i).pathNext {
			e := tab.watches.at(i)
			if e.path != pi || e.pathPrev != prev || e.kinds == 0 || tab.find(pi, e.watcher) != i {
				t.Fatalf("path %q: watch %d is %+v, after %d", name, i, *e, prev)
			}
			for k := Data; k <= PersistentRecursive; k <<= 1 {
				if e.kinds&k != 0 {
					total++
				}
			}
			if e.kinds&PersistentRecursive != 0 {
				recursive++
			}
			seen[i] = true
			prev = i
			n++
		}
		if p.last != prev || p.count != n || p.count > crowd && !p.crowded {
			t.Fatalf("path %q: %+v after a walk over %d watches that ended at %d", name, *p, n, prev)
		}
		if p.crowded {
			indexed += int(n)
		}
	}
	linked := 0
	for h, wi := range tab.byHandle {
		w := tab.watchers.at(wi)
		var prev, n uint32
		for i := w.first; i != 0; i = tab.watches.at(i).watcherNext {
			e := tab.watches.at(i)
			if e.watcher != wi || e.watcherPrev != prev || !seen[i] {
				t.Fatalf("watcher %v: watch %d is %+v, after %d; on its path: %v", h, i, *e, prev, seen[i])
			}
			prev = i
			n++
		}
		if w.handle != h || w.last != prev || w.count != n || n == 0 {
			t.Fatalf("watcher %v: %+v after a walk over %d watches that ended at %d", h, *w, n, prev)
		}
		linked += int(n)
	}
	if linked != len(seen) || indexed != len(tab.index) || recursive != tab.recursive || int64(total) != tab.total.Load() {
		t.Fatalf("%d watches by path, %d by watcher; index %d, want %d; recursive %d, want %d; total %d, want %d",
			len(seen), linked, len(tab.index), indexed, tab.recursive, recursive, tab.total.Load(), total)
	}
	for _, h := range tab.hits[:cap(tab.hits)] {
		if h != *new(W) {
			t.Fatalf("the scratch still holds %v", h)
		}
	}
}

func TestAddKeepsNoView(t *testing.T) {
	frame := []byte("/a/b")
	tab := New[int]()
	tab.Add(1, viewOf(frame), Data)
	copy(frame, "/x/y")
	if n := tab.DataChanged("/a/b", func(int, jute.EventType, string) {}); n != 1 {
		t.Errorf("after the frame was reused, a change of /a/b reached %d watchers, want 1", n)
	}
}

func TestAddOfNoKindIsNothing(t *testing.T) {
	tab := New[int]()
	tab.Add(1, "/a", 0)
	tab.Add(1, "/a", 1<<7)
	if c, p, w := tab.Counts(); c != 0 || p != 0 || w != 0 {
		t.Errorf("counts %d %d %d, want none", c, p, w)
	}
}

// A client that hears of a change registers again at once; a connection that
// turns out to be broken is closed at once. Both happen within deliver.
func TestDeliverMayUseTheTable(t *testing.T) {
	tab := New[string]()
	tab.Add("again", "/a", Data)
	tab.Add("broken", "/a", Persistent)
	tab.Add("broken", "/b", Data|Child)
	var got []string
	change := func() {
		tab.DataChanged("/a", func(w string, _ jute.EventType, path string) {
			got = append(got, w)
			if w == "again" {
				tab.Add(w, path, Data)
			} else {
				tab.RemoveAll(w)
			}
		})
		checkInvariants(t, tab)
	}
	change()
	change()
	if want := []string{"again", "broken", "again"}; !slices.Equal(got, want) {
		t.Errorf("delivered to %q, want %q", got, want)
	}
	if _, _, n := tab.Counts(); n != 1 {
		t.Errorf("%d watches left, want 1", n)
	}
}

func TestManyWatchersAndManyWatches(t *testing.T) {
	const watchers, paths = 10_000, 20_000
	tab := New[int]()
	for w := range watchers {
		tab.Add(w, "/popular", Data|Persistent)
	}
	for p := range paths {
		tab.Add(0, fmt.Sprintf("/own/%d", p), Child)
	}
	checkInvariants(t, tab)
	next := 0
	tab.DataChanged("/popular", func(w int, _ jute.EventType, _ string) {
		if w != next {
			t.Fatalf("watcher %d is told when it is %d's turn", w, next)
		}
		next++
	})
	if next != watchers {
		t.Errorf("%d watchers were told, want %d", next, watchers)
	}
	for w := range watchers {
		tab.RemoveAll((w * 7) % watchers) // 7 and watchers have no common factor: each once
	}
	checkInvariants(t, tab)
	if c, p, w := tab.Counts(); c+p+w != 0 {
		t.Errorf("counts %d %d %d, want none", c, p, w)
	}
	if n := len(tab.watches.chunks) + len(tab.paths.chunks) + len(tab.watchers.chunks); n != 0 {
		t.Errorf("an empty table holds on to %d chunks", n)
	}
}

// Connections come, register and go while changes are fired.
func TestConcurrentUse(t *testing.T) {
	tab := New[int]()
	var conns, firing sync.WaitGroup
	stop := make(chan struct{})
	firing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			tab.Fire(Event{jute.EventType(1 + i%3), fmt.Sprintf("/a/%d", i%10)}, func(int, jute.EventType, string) {})
		}
	})
	for w := range 8 {
		conns.Go(func() {
			for i := range 200 {
				path := fmt.Sprintf("/a/%d", i%10)
				tab.Add(w, path, Kind(1+i%15))
				tab.Contains(w, path, jute.WatcherAny)
				tab.Remove(w, path, jute.WatcherData)
				tab.ByPath()
				tab.ByWatcher(cmp.Compare[int])
				if i%50 == 49 {
					tab.RemoveAll(w)
				}
			}
		})
	}
	conns.Wait()
	close(stop)
	firing.Wait()
	checkInvariants(t, tab)
	if c, p, w := tab.Counts(); c+p+w != 0 {
		t.Errorf("all connections are closed, counts are %d %d %d", c, p, w)
	}
}
