//go:build faults

package faults

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/conclave-dev/conclave/internal/replica/formation"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// points is the operating system's file system, to a member that dies at
// durability boundaries. A boundary is named by the change to the disk that was
// just made and by what it is for: "rename of identity (removed)".
type points struct {
	vfs.FS
	plan victimPlan
	dir  string // the member's data directory

	mu    sync.Mutex
	files map[*pointFile]string // open ones, by the name that they have now
	// identity is the identity as it is in the file, pending the one that is
	// being written, and purpose is what is new about that.
	identity, pending map[string]any
	purpose           string
	// last is the last index that was written to the log; 0 if that is not known.
	last uint64
}

func newPoints(plan victimPlan, dir string) *points {
	p := &points{FS: vfs.OS(), plan: plan, dir: dir, files: map[*pointFile]string{}}
	if b, err := os.ReadFile(path.Join(dir, "conclave", "identity")); err == nil {
		p.identity = identityFields(b)
	}
	return p
}

func identityFields(b []byte) map[string]any {
	var file struct{ Identity map[string]any }
	_ = json.Unmarshal(b, &file) // a member refuses what is not an identity
	return file.Identity
}

// passing notes that a point was passed, and dies if it is the one.
func (p *points) passing(name string) {
	if !p.plan.Armed || name == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.plan.Spared, name) {
		return
	}
	if err := os.WriteFile(p.plan.Report, []byte(name+"\n"), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "victim: the report can't be written:", err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// kindOf says what a file is for.
func (p *points) kindOf(name string) string {
	switch base := path.Base(name); {
	case strings.Contains(base, ".aside-"):
		return "a file moved aside"
	case base == "identity" || base == "identity.tmp":
		p.mu.Lock()
		defer p.mu.Unlock()
		return base + " (" + p.purpose + ")"
	case strings.HasPrefix(base, "audit.log"):
		return "the audit trail"
	case strings.HasSuffix(base, ".snap"), strings.HasSuffix(base, ".snap.tmp"):
		return "a snapshot"
	case strings.HasSuffix(base, ".log"):
		return "the log"
	case base == "next.tmp":
		return "the next segment"
	case strings.HasPrefix(base, "spare-"):
		return "a spare segment"
	default:
		return "directory " + base
	}
}

// identityWritten finds out what a new identity is for.
func (p *points) identityWritten(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = identityFields(b)
	var changed []string
	keys := map[string]bool{}
	for _, m := range []map[string]any{p.identity, p.pending} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == "version" || k == "hostsIndex" || k == "refusal" || fmt.Sprint(p.identity[k]) == fmt.Sprint(p.pending[k]) {
			continue
		}
		switch {
		case p.pending[k] == nil:
			k = "no " + k
		case k == "formation":
			k = formationStage(p.pending[k])
		}
		changed = append(changed, k)
	}
	p.purpose = strings.Join(changed, ", ")
}

// formationStage is what a member says with a new state of the formation.
func formationStage(value any) string {
	text, _ := json.Marshal(value)
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return "formation"
	}
	st, err := formation.DecodeState(b)
	switch {
	case err != nil:
		return "formation"
	case st.Decided:
		return "formation decided"
	case !st.Accepted.IsZero():
		return "formation accepted"
	}
	return "formation promised"
}

// The layout of a batch in the log (internal/storage/format.go): what one is
// for is seen in its first item.
const (
	batchKindAt = 20
	batchBodyAt = 32
	entrySize   = 28
)

// batchWritten says what a write to the log is for.
func (p *points) batchWritten(b []byte) string {
	if len(b) < batchBodyAt || binary.LittleEndian.Uint32(b) != 0x48435442 {
		return "a segment's header"
	}
	switch b[batchKindAt] {
	case 1:
		return "an opening"
	case 3:
		return "a seal"
	case 4:
		return "a mark"
	}
	body := b[batchBodyAt:]
	if len(body) == 0 {
		return "nothing"
	}
	switch body[0] {
	case 2:
		return "a hard state"
	case 3:
		return "a compaction"
	case 4:
		return "a reset"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first, over := binary.LittleEndian.Uint64(body[8:]), false
	over = p.last != 0 && first <= p.last
	for len(body) >= entrySize && body[0] == 1 {
		p.last = binary.LittleEndian.Uint64(body[8:])
		body = body[min(len(body), entrySize+int(binary.LittleEndian.Uint32(body[4:]))):]
	}
	if over {
		return "entries over others"
	}
	return "entries"
}

func (p *points) Create(name string) (vfs.File, error) {
	f, err := p.FS.Create(name)
	if err != nil {
		return nil, err
	}
	if path.Base(name) != "identity.tmp" { // what it is for is known when it is written
		p.passing("create of " + p.kindOf(name))
	}
	return p.opened(f), nil
}

func (p *points) OpenReadWrite(name string) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	return p.opened(f), nil
}

func (p *points) opened(f vfs.File) vfs.File {
	out := &pointFile{File: f, p: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[out] = f.Name()
	return out
}

func (p *points) Rename(from, to string) error {
	if err := p.FS.Rename(from, to); err != nil {
		return err
	}
	p.mu.Lock()
	for f, name := range p.files {
		if name == from {
			p.files[f] = to
		}
	}
	if path.Base(to) == "identity" {
		p.identity = p.pending
	}
	p.mu.Unlock()
	p.passing("rename to " + p.kindOf(to))
	return nil
}

func (p *points) Remove(name string) error {
	if err := p.FS.Remove(name); err != nil {
		return err
	}
	p.passing("removal of " + p.kindOf(name))
	return nil
}

func (p *points) SyncDir(name string) error {
	if err := p.FS.SyncDir(name); err != nil {
		return err
	}
	p.mu.Lock()
	purpose := ""
	if name == path.Join(p.dir, "conclave") && p.purpose != "" {
		purpose = " after identity (" + p.purpose + ")"
	}
	p.mu.Unlock()
	p.passing("sync of directory " + path.Base(name) + purpose)
	return nil
}

type pointFile struct {
	vfs.File
	p *points
}

func (f *pointFile) name() string {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	return f.p.files[f]
}

func (f *pointFile) Close() error {
	f.p.mu.Lock()
	delete(f.p.files, f)
	f.p.mu.Unlock()
	return f.File.Close()
}

func (f *pointFile) WriteAt(b []byte, off int64) (int, error) {
	name := f.name()
	if path.Base(name) == "identity.tmp" {
		f.p.identityWritten(b)
	}
	kind := f.p.kindOf(name)
	if strings.HasSuffix(name, ".log") && path.Base(path.Dir(name)) == "log" {
		kind += " (" + f.p.batchWritten(b) + ")"
	}
	if half := "half a write of " + kind; f.p.plan.Armed && !slices.Contains(f.p.plan.Spared, half) {
		_, _ = f.File.WriteAt(b[:len(b)/2], off)
		f.p.passing(half)
	}
	n, err := f.File.WriteAt(b, off)
	if err == nil {
		f.p.passing("write of " + kind)
	}
	return n, err
}

func (f *pointFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.p.passing("sync of " + f.p.kindOf(f.name()))
	}
	return err
}

func (f *pointFile) Datasync() error {
	err := f.File.Datasync()
	if err == nil {
		f.p.passing("sync of " + f.p.kindOf(f.name()))
	}
	return err
}

func (f *pointFile) Truncate(size int64) error {
	err := f.File.Truncate(size)
	if err == nil {
		f.p.passing("truncation of " + f.p.kindOf(f.name()))
	}
	return err
}

func (f *pointFile) Preallocate(size int64) error {
	err := f.File.Preallocate(size)
	if err == nil {
		f.p.passing("allocation of " + f.p.kindOf(f.name()))
	}
	return err
}
