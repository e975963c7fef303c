package watch

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/conclave-dev/conclave/internal/jute"
)

// model is the table as one would explain it: a list of who watches what, in
// the order in which they came.
type model struct{ list []entry }

type entry struct {
	w     int
	path  string
	kinds Kind
}

func (m *model) get(w int, path string) *entry {
	for i := range m.list {
		if e := &m.list[i]; e.w == w && e.path == path {
			return e
		}
	}
	return nil
}

func (m *model) sweep() {
	m.list = slices.DeleteFunc(m.list, func(e entry) bool { return e.kinds == 0 })
}

func (m *model) add(w int, path string, k Kind) {
	if e := m.get(w, path); e != nil {
		e.kinds |= k
		return
	}
	m.list = append(m.list, entry{w, path, k})
}

func (m *model) has(w int, path string, k Kind) bool {
	e := m.get(w, path)
	return e != nil && e.kinds&k != 0
}

func (m *model) remove(w int, path string, k Kind) bool {
	had := m.has(w, path, k)
	if had {
		m.get(w, path).kinds &^= k
		m.sweep()
	}
	return had
}

func (m *model) removeAll(w int) {
	m.list = slices.DeleteFunc(m.list, func(e entry) bool { return e.w == w })
}

func (m *model) fire(typ jute.EventType, path string) []string {
	var out []string
	event := func(typ jute.EventType, path string, here Kind) {
		told := make(map[int]bool)
		tell := func(e entry) {
			if !told[e.w] {
				told[e.w] = true
				out = append(out, fmt.Sprint(e.w, typ, path))
			}
		}
		for i, e := range m.list {
			if e.path == path && e.kinds&here != 0 {
				tell(e)
				m.list[i].kinds &^= here & (Data | Child)
			}
		}
		for p := path; typ != jute.EventNodeChildrenChanged && p != "/"; {
			p = up(p)
			for _, e := range m.list {
				if e.path == p && e.kinds&PersistentRecursive != 0 {
					tell(e)
				}
			}
		}
		m.sweep()
	}
	switch typ {
	case jute.EventNodeCreated, jute.EventNodeDataChanged:
		event(typ, path, Data|Persistent|PersistentRecursive)
	case jute.EventNodeDeleted:
		event(typ, path, Data|Child|Persistent|PersistentRecursive)
	}
	if typ != jute.EventNodeDataChanged && path != "/" {
		event(jute.EventNodeChildrenChanged, up(path), Child|Persistent)
	}
	return out
}

func up(path string) string {
	if dir := path[:strings.LastIndex(path, "/")]; dir != "" {
		return dir
	}
	return "/"
}

func (m *model) counts() (connections, paths, watches int) {
	ws, ps := map[int]bool{}, map[string]bool{}
	for _, e := range m.list {
		ws[e.w], ps[e.path] = true, true
		for k := Data; k <= PersistentRecursive; k <<= 1 {
			if e.kinds&k != 0 {
				watches++
			}
		}
	}
	return len(ws), len(ps), watches
}

func TestAgainstModel(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed), 3000) })
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	// Some runs crowd onto few paths, some spread out; some know no recursive watches.
	watchers := 1 + rng.IntN(3*crowd)
	paths := []string{"/"}
	for n := 1 + rng.IntN(12); n > 0; n-- {
		paths = append(paths, strings.TrimSuffix(paths[rng.IntN(len(paths))], "/")+fmt.Sprintf("/%c", 'a'+rune(n)))
	}
	kinds := []Kind{Data, Child, Persistent}
	if rng.IntN(2) == 0 {
		kinds = append(kinds, PersistentRecursive, PersistentRecursive|Child)
	}
	tab, m := New[int](), &model{}
	for step := range steps {
		w, path := 1+rng.IntN(watchers), paths[rng.IntN(len(paths))]
		typ := jute.WatcherType(rng.IntN(7))
		fail := func(what string, got, want any) {
			t.Fatalf("seed %d step %d, watcher %d on %s: %s is %v, want %v", seed, step, w, path, what, got, want)
		}
		switch op := rng.IntN(20); {
		case op < 9:
			k := kinds[rng.IntN(len(kinds))]
			tab.Add(w, path, k)
			m.add(w, path, k)
		case op < 11:
			if got, want := tab.Remove(w, path, typ), m.remove(w, path, kindsOf(typ)); got != want {
				fail(fmt.Sprint("Remove ", typ), got, want)
			}
		case op < 13:
			if got, want := tab.Contains(w, path, typ), m.has(w, path, kindsOf(typ)); got != want {
				fail(fmt.Sprint("Contains ", typ), got, want)
			}
		case op < 14 && step%5 == 0:
			tab.RemoveAll(w)
			m.removeAll(w)
		default:
			e := Event{jute.EventType(1 + rng.IntN(3)), path}
			var got []string
			tab.Fire(e, func(w int, typ jute.EventType, path string) { got = append(got, fmt.Sprint(w, typ, path)) })
			if want := m.fire(e.Type, e.Path); !slices.Equal(got, want) {
				fail(fmt.Sprint("events of ", e), got, want)
			}
		}
		gc, gp, gw := tab.Counts()
		if wc, wp, ww := m.counts(); gc != wc || gp != wp || gw != ww {
			fail("Counts", []int{gc, gp, gw}, []int{wc, wp, ww})
		}
		if step%100 == 0 {
			checkInvariants(t, tab)
			checkReports(t, tab, m)
		}
	}
}

func checkReports(t *testing.T, tab *Table[int], m *model) {
	t.Helper()
	byPath, byWatcher := map[string][]int{}, map[int][]string{}
	for _, e := range m.list {
		byPath[e.path] = append(byPath[e.path], e.w)
		byWatcher[e.w] = append(byWatcher[e.w], e.path)
	}
	gotPath, gotWatcher := tab.ByPath(), tab.ByWatcher(cmp.Compare[int])
	if !slices.IsSortedFunc(gotPath, func(a, b PathWatchers[int]) int { return cmp.Compare(a.Path, b.Path) }) ||
		!slices.IsSortedFunc(gotWatcher, func(a, b WatcherPaths[int]) int { return cmp.Compare(a.Watcher, b.Watcher) }) {
		t.Fatalf("reports are not in order: %v, %v", gotPath, gotWatcher)
	}
	for _, p := range gotPath {
		if !slices.Equal(p.Watchers, byPath[p.Path]) {
			t.Fatalf("%s is watched by %v, want %v", p.Path, p.Watchers, byPath[p.Path])
		}
	}
	for _, w := range gotWatcher {
		if !slices.Equal(w.Paths, byWatcher[w.Watcher]) {
			t.Fatalf("%d watches %v, want %v", w.Watcher, w.Paths, byWatcher[w.Watcher])
		}
	}
	if len(gotPath) != len(byPath) || len(gotWatcher) != len(byWatcher) {
		t.Fatalf("reports of %d paths and %d watchers, want %d and %d", len(gotPath), len(gotWatcher), len(byPath), len(byWatcher))
	}
}

// viewOf returns b as a string that changes with it, as the codec does.
func viewOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
