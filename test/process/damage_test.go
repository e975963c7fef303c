package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// fork returns a copy of the history, for a copy of its data.
func (h *history) fork(t testing.TB, seed uint64) *history {
	c := newHistory(t, seed)
	c.count, c.held, c.strays, c.leaving = h.count, h.held, h.strays, h.leaving
	c.open = slices.Clone(h.open)
	if h.world != nil {
		c.world = h.world.clone()
	}
	again := func(s *session) *session {
		if s == nil {
			return nil
		}
		return &session{id: s.id, passwd: s.passwd, timeout: s.timeout, zxid: s.zxid}
	}
	c.main, c.holder, c.guest = again(h.main), again(h.holder), again(h.guest)
	return c
}

// stopped writes a history and stops its member in order.
func stopped(t testing.TB, seed uint64) (*history, plan) {
	t.Helper()
	h := newHistory(t, seed)
	p := small(dataDir(t))
	s := startMember(t, p).mustServe()
	if err := h.resume(s); err != nil {
		t.Fatal(err)
	}
	if err := h.write(60); err != nil {
		t.Fatal(err)
	}
	s.stop()
	return h, p
}

// copyDir returns a copy of a member's data.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := dataDir(t)
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// files returns what is in a member's directory, but for what every start may
// change: the lock's pid, in the identity the count of starts, and temporary
// files, which are removed.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "LOCK" || e.Name() == "identity" || strings.HasSuffix(e.Name(), ".tmp") {
			return err
		}
		b, err := os.ReadFile(name)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(a, b map[string]string) error {
	for name, was := range a {
		if is, ok := b[name]; !ok {
			return fmt.Errorf("%s is gone", name)
		} else if is != was {
			return fmt.Errorf("%s has changed", name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return fmt.Errorf("%s is new", name)
		}
	}
	return nil
}

// refuses expects a start to fail with a message, and to leave all as it was.
func refuses(t testing.TB, p plan, message *regexp.Regexp) {
	t.Helper()
	was := files(t, p.DataDir)
	s := startMember(t, p)
	if got := s.exit(); got != "exit 1" {
		t.Fatalf("the member ended with %s, not with an error\n%s", got, s.log)
	}
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if last := lines[len(lines)-1]; !message.MatchString(last) {
		t.Errorf("the message is\n%s\nwant %s", last, message)
	}
	if err := sameFiles(was, files(t, p.DataDir)); err != nil {
		t.Errorf("the refused start changed the disk: %v", err)
	}
}

// glob returns the files of a kind, in order.
func glob(t testing.TB, p plan, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.DataDir, "conclave", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	slices.Sort(names)
	return names
}

// segments returns the files of the log, oldest first, but for one that was made
// ready and not used yet.
func segments(t testing.TB, p plan) []string {
	t.Helper()
	return slices.DeleteFunc(glob(t, p, "log/*.log"), func(name string) bool {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return len(batches(b)) == 0
	})
}

// batch is a place in a segment.
type batch struct {
	at, end int
	whole   bool
}

// batches finds the batches of a segment, each of which says where it stands
// and how long it is: see the log's format in package storage.
func batches(b []byte) (found []batch) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	seed := crc32.Checksum(b[16:32], castagnoli)
	for at := 4096; at+32 <= len(b); {
		header := binary.LittleEndian.AppendUint64(nil, uint64(at))
		header = append(header, b[at+8:at+32]...)
		if binary.LittleEndian.Uint32(b[at+4:]) != crc32.Update(seed, castagnoli, header) {
			break
		}
		end := at + 32 + int(binary.LittleEndian.Uint32(b[at+12:]))
		whole := crc32.Checksum(b[at+32:end], castagnoli) == binary.LittleEndian.Uint32(b[at+8:])
		found = append(found, batch{at, end, whole})
		at = end
	}
	return found
}

// edited rewrites a file.
func edited(t testing.TB, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(off int) func([]byte) []byte {
	return func(b []byte) []byte { b[off] ^= 0x10; return b }
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func TestDamage(t *testing.T) {
	t.Parallel()
	h, template := stopped(t, seed(t))
	snapshots := func(t testing.TB, p plan) []string { return glob(t, p, "snap/*.snap") }
	log := func(t testing.TB, p plan) []string { return glob(t, p, "log/*.log") }
	identity := func(t testing.TB, p plan) []string { return glob(t, p, "identity") }
	first := func(names []string) string { return names[0] }
	last := func(names []string) string { return names[len(names)-1] }
	corrupt := `is corrupt at offset [0-9]+: `
	for _, c := range []struct {
		name   string
		files  func(testing.TB, plan) []string
		which  func([]string) string
		damage func([]byte) []byte // nil: the file is deleted
		want   string
	}{
		{"magic of a segment", segments, last, flip(0), corrupt + "this is not a log segment"},
		{"header of a segment", segments, last, flip(17), corrupt + "the segment header has a bad checksum"},
		{"a segment cut in its header", segments, last, cut(100), corrupt + "the segment's size is 100 bytes"},
		{"a segment cut behind its batches", segments, last, func(b []byte) []byte { return b[:len(b)-1] }, corrupt + "the file ends here"},
		{"an empty segment", segments, last, cut(0), corrupt},
		{"first batch of the last segment", segments, last, flip(4096 + 40), corrupt + ".*though this was durable"},
		{"header of a batch", segments, last, func(b []byte) []byte { return flip(batches(b)[1].at + 8)(b) }, corrupt + ".*though this was durable"},
		{"body of a batch", segments, last, func(b []byte) []byte { return flip(batches(b)[1].at + 40)(b) }, corrupt + ".*though this was durable"},
		{"body of a batch in the first segment", segments, first, func(b []byte) []byte { return flip(batches(b)[1].at + 40)(b) }, corrupt},
		{"a batch of zeros", segments, last, func(b []byte) []byte {
			second := batches(b)[1]
			clear(b[second.at:second.end])
			return b
		}, corrupt + ".*though this was durable"},
		{"the last segment is missing", segments, last, nil, corrupt + ".*missing|" + corrupt + ".*no valid first batch"},
		{"the first segment is missing", segments, first, nil, corrupt + ".*is missing|" + corrupt + ".*entries .* are missing|what was before it is in no snapshot"},
		{"magic of a snapshot", snapshots, last, flip(3), corrupt + "this is not a snapshot"},
		{"header of a snapshot", snapshots, last, flip(30), corrupt + "the checksum of the header is wrong"},
		{"body of a snapshot", snapshots, last, flip(200), corrupt + "the checksum of the block is wrong"},
		{"trailer of a snapshot", snapshots, last, func(b []byte) []byte { return flip(len(b) - 1)(b) }, corrupt},
		{"a snapshot cut short", snapshots, last, func(b []byte) []byte { return b[:len(b)/2] }, corrupt + "the file ends at"},
		{"an empty snapshot", snapshots, last, cut(0), corrupt + "the file ends at 0"},
		{"a snapshot with something behind it", snapshots, last, func(b []byte) []byte { return append(b, 0) }, corrupt + ".*follow the end of the snapshot"},
		{"header of an old snapshot", snapshots, first, flip(30), corrupt + "the checksum of the header is wrong"},
		{"identity", identity, first, flip(60), corrupt},
		{"an identity of zeros", identity, first, func(b []byte) []byte { return make([]byte, len(b)) }, corrupt},
		{"an empty identity", identity, first, cut(0), corrupt},
		{"half an identity", identity, first, func(b []byte) []byte { return b[:len(b)/2] }, corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := template
			p.DataDir = copyDir(t, template.DataDir)
			name := c.which(c.files(t, p))
			if c.damage == nil {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
				refuses(t, p, regexp.MustCompile(c.want))
				return
			}
			edited(t, name, c.damage)
			refuses(t, p, regexp.MustCompile(regexp.QuoteMeta(name)+" ?"+c.want))
		})
	}
	t.Run("an old snapshot is missing", func(t *testing.T) {
		t.Parallel()
		p := template
		p.DataDir = copyDir(t, template.DataDir)
		if err := os.Remove(first(snapshots(t, p))); err != nil {
			t.Fatal(err)
		}
		h.fork(t, 1).survive(p)
	})
	for name, files := range map[string]func(testing.TB, plan) []string{"all snapshots are missing": snapshots, "the whole log is missing": log} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := template
			p.DataDir = copyDir(t, template.DataDir)
			for _, name := range files(t, p) {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			refuses(t, p, regexp.MustCompile("what was before it is in no snapshot|holds no log, but this member has had one"))
		})
	}
}

// TestRandomDamage changes a few bytes anywhere: either the member refuses to
// start and names the file and the place, or nothing is lost, because nothing
// was there.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	h, template := stopped(t, seed)
	n := 60
	if all {
		n = 1000
	}
	names := slices.Concat(glob(t, template, "log/*.log"), glob(t, template, "snap/*.snap"), glob(t, template, "identity"))
	for k := range 2 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, uint64(k)))
			refused := 0
			for range n / 2 {
				if damageAnywhere(t, r, h, template, names) {
					refused++
				}
			}
			t.Logf("%d of %d were refused", refused, n/2)
		})
	}
}

// damageAnywhere starts a member on a copy of the template with one of its files
// damaged, and reports whether it refused.
func damageAnywhere(t *testing.T, r *rand.Rand, h *history, p plan, names []string) (refused bool) {
	name, err := filepath.Rel(p.DataDir, names[r.IntN(len(names))])
	if err != nil {
		t.Fatal(err)
	}
	p.DataDir = copyDir(t, p.DataDir)
	name = filepath.Join(p.DataDir, name)
	what := ""
	defer func() {
		if t.Failed() {
			t.Log(what)
		}
	}()
	edited(t, name, func(b []byte) []byte {
		// Most of a segment may be empty space.
		used := len(bytes.TrimRight(b, "\x00"))
		at := r.IntN(used)
		if r.IntN(4) == 0 {
			what = fmt.Sprintf("%s was cut at %d of %d", name, at, used)
			return b[:at]
		}
		what = fmt.Sprintf("%s was changed at %d of %d", name, at, used)
		for i := at; i < min(used, at+1+r.IntN(8)); i++ {
			b[i] ^= byte(1 + r.IntN(255))
		}
		return b
	})
	s := startMember(t, p)
	if err := s.serving(); err == nil {
		if err := h.fork(t, 1).resume(s); err != nil {
			t.Fatal(err)
		}
		_ = s.p.Kill()
		return false
	}
	if got := s.exit(); got != "exit 1" || len(s.log.lines(name, "is corrupt at offset")) == 0 {
		t.Fatalf("the member ended with %s\n%s", got, s.log)
	}
	return true
}

// TestTornTail crashes in the middle of a write to the log, and garbles what
// was half written further: the tail is cut, the log says so, and nothing that
// was answered is missing.
func TestTornTail(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	for name, change := range map[string]func(b []byte, at int) []byte{
		"as it is":        func(b []byte, _ int) []byte { return b },
		"garbled":         func(b []byte, at int) []byte { b[at+33] ^= 1; return b },
		"zeros":           func(b []byte, at int) []byte { clear(b[at+8:]); return b },
		"noise behind it": func(b []byte, at int) []byte { copy(b[at+64:], "\xff\x17noise"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			p := small(dataDir(t))
			p.Crash = &crash{At: 20, Step: &step{vfs.OpWrite, classSegment}, When: torn}
			if _, ok := h.live(p, 60); !ok {
				t.Fatal("the process never came to the write")
			}
			p.Crash = nil
			used := segments(t, p)
			segment := used[len(used)-1]
			where := 0
			edited(t, segment, func(b []byte) []byte {
				where = 4096
				for _, x := range batches(b) {
					if x.whole {
						where = x.end
					}
				}
				return change(b, where)
			})
			s := startMember(t, p).mustServe()
			if got := s.log.lines("WARN", "it was cut off", segment, fmt.Sprintf("at offset %d", where)); len(got) != 1 {
				t.Errorf("nothing was said of what was cut at %d:\n%s", where, s.log)
			}
			if err := h.resume(s); err != nil {
				t.Fatal(err)
			}
			s.stop()
			h.survive(p)
		})
	}
}
