package member

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/storage/vfs"
)

// hangingFS is the operating system's file system, of which a part can be made
// to hang: syncs there do not come back until it answers.
type hangingFS struct {
	vfs.FS
	mu   sync.Mutex
	part string        // in the names of files
	gate chan struct{} // nil unless it hangs
}

func (h *hangingFS) hang(part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.part, h.gate = part, make(chan struct{})
}

func (h *hangingFS) answer() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gate != nil {
		close(h.gate)
	}
	h.gate = nil
}

func (h *hangingFS) wait(name string) {
	h.mu.Lock()
	gate := h.gate
	if !strings.Contains(name, h.part) {
		gate = nil
	}
	h.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (h *hangingFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &hangingFile{f, h}, nil
}

func (h *hangingFS) Create(path string) (vfs.File, error) { return h.wrap(h.FS.Create(path)) }
func (h *hangingFS) OpenReadWrite(path string) (vfs.File, error) {
	return h.wrap(h.FS.OpenReadWrite(path))
}

type hangingFile struct {
	vfs.File
	h *hangingFS
}

func (f *hangingFile) Datasync() error {
	f.h.wait(f.Name())
	return f.File.Datasync()
}

func (f *hangingFile) Sync() error {
	f.h.wait(f.Name())
	return f.File.Sync()
}

// newHangingEnsemble starts an ensemble whose members' disks can be made to hang.
func newHangingEnsemble(t *testing.T, size int) (*ensemble, []*hangingFS) {
	e := newEnsemble(t, size, "")
	disks := make([]*hangingFS, size)
	for i := range disks {
		disks[i] = &hangingFS{FS: vfs.OS()}
	}
	e.fs = func(n int) vfs.FS { return disks[n-1] }
	t.Cleanup(func() { // before the members are stopped
		for _, d := range disks {
			d.answer()
		}
	})
	e.startAll()
	return e, disks
}

// The disk of the leader's log hangs: another leads, and acknowledges writes. The
// member says what is wrong, takes no clients and lets those go that it has; their
// sessions live. When the disk answers it is ready again.
func TestStalledDisk(t *testing.T) {
	e, disks := newHangingEnsemble(t, 3)
	n := e.leader()
	other := n%3 + 1
	m := e.members[n-1]
	here, there := e.connect(n, 4*time.Second, nil), e.connect(other, 20*time.Second, nil)
	if here.create("/here", jute.ModeEphemeral) != jute.OK {
		t.Fatal("no ephemeral node")
	}
	disks[n-1].hang("/log/")
	there.create("/first", jute.ModePersistent)  // on the others' disks, and so answered
	there.create("/second", jute.ModePersistent) // when another leads
	if r := m.node.Load().Role(); r.IsLeader {
		t.Error("the write was acknowledged, and the member without a disk leads")
	}
	st := (*source)(m).Status()
	where := filepath.Join(e.dir, "")
	if ready, why := st.Ready(); ready || !st.Disk.Slow || st.Disk.Failed ||
		!strings.Contains(why, "the log disk does not answer: fdatasync of "+where) || !strings.Contains(why, ".log has been under way for ") {
		t.Errorf("ready: %v, %q, disk: %+v", ready, why, st.Disk)
	}
	// Its client is let go, and finds its session elsewhere.
	if _, err := readFrame(here.nc); err == nil {
		t.Error("a frame comes from a member that can't apply anything")
	}
	back := e.connect(other, 4*time.Second, here)
	if _, st, code := back.get("/here", false); code != jute.OK || st.EphemeralOwner != here.session || back.session != here.session {
		t.Errorf("session %#x is %#x elsewhere; its node: %v, owner %#x", here.session, back.session, code, st.EphemeralOwner)
	}
	disks[n-1].answer()
	e.ready()
	if st := (*source)(m).Status(); st.Disk.Slow || st.Disk.Reason != "" {
		t.Errorf("disk: %+v", st.Disk)
	}
	if got := m.metrics.DiskStalls[0].Summary().Count; got == 0 {
		t.Error("no stall is counted")
	}
	e.sameState()
}

// The disk of the data hangs while a snapshot is written: everything else goes on,
// and the member is ready.
func TestStalledSnapshot(t *testing.T) {
	e, disks := newHangingEnsemble(t, 1)
	c := e.connect(1, 20*time.Second, nil)
	m := e.members[0]
	disks[0].hang("/snap/")
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _, _ = (*source)(m).TakeSnapshot(ctx) })
	eventually(t, "the stall is not told of", func() bool { return (*source)(m).Status().Disk.Slow })
	for range 100 {
		if code := c.create("/n-", jute.ModePersistentSequential); code != jute.OK {
			t.Fatal(code)
		}
	}
	st := (*source)(m).Status()
	if ready, why := st.Ready(); !ready || !strings.Contains(st.Disk.Reason, "the data disk does not answer: fsync of "+e.dir) {
		t.Errorf("ready: %v, %s; disk: %+v", ready, why, st.Disk)
	}
	cancel()
	work.Wait()
	disks[0].answer()
	eventually(t, "the disk answers and is not said to", func() bool { return !(*source)(m).Status().Disk.Slow })
}
