package vfs

import (
	"errors"
	"testing"
	"time"
)

func within(dir string) func(string) bool {
	return func(path string) bool { return Within(path, dir) }
}

// While an operation is under way it is seen under the file's present name, with
// its age, by who asks for the directory that it is in; after it, it is not.
func TestWatchedSeesWhatIsUnderWay(t *testing.T) {
	now := time.Minute
	var w *Watched
	var seen []Underway
	mem := NewMem(func(op Op, _ string, _ int64, _ int) error {
		if op != OpDatasync && op != OpSyncDir {
			return nil
		}
		now += 3 * time.Second
		u, ok := w.Busy(within("a/log"))
		if !ok {
			t.Errorf("%s is under way in a/log, and not seen", op)
		}
		seen = append(seen, u)
		if u, ok := w.Busy(within("a/lo")); ok {
			t.Errorf("%v is seen in a directory that it is not in", u)
		}
		if op == OpSyncDir {
			return errors.New("no")
		}
		return nil
	})
	w = Watch(mem, func() time.Duration { return now })
	if err := w.MkdirAll("a/log"); err != nil {
		t.Fatal(err)
	}
	seen = nil // making a directory syncs the one above
	f, err := w.Create("a/log/next.tmp")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Rename("a/log/next.tmp", "a/log/1.log"); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		t.Fatal(err)
	}
	if err := w.SyncDir("a/log"); err == nil {
		t.Error("an error was swallowed")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if u, ok := w.Busy(within("a")); ok {
		t.Errorf("%v is seen after it came back", u)
	}
	want := []Underway{{OpDatasync, "a/log/1.log", 3 * time.Second}, {OpSyncDir, "a/log", 3 * time.Second}}
	if len(seen) != 2 || seen[0] != want[0] || seen[1] != want[1] {
		t.Errorf("seen: %v, want %v", seen, want)
	}
	if len(w.files) != 0 {
		t.Errorf("%d closed files are remembered", len(w.files))
	}
}
