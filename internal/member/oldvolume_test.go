package member

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

// A member that comes back on an older copy of its directory says so and takes
// no part; with an empty directory it does.
func TestOldVolume(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "")
	e.startAll()
	old := e.leader()%3 + 1
	dir := filepath.Join(e.dir, fmt.Sprint(old))
	e.stop(old)
	if err := os.CopyFS(dir+".old", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	e.start(old)
	e.ready()
	eventually(t, "no other one leads", func() bool {
		if e.leader() == old {
			_ = e.members[old-1].node.Load().TransferLeadership(0) // and look again
		}
		return e.leader() != old
	})
	lead := e.leader()
	term := e.members[lead-1].node.Load().Role().Term
	c := e.connect(lead, 30*time.Second, nil)
	for i := range 20 {
		c.mustCreate(fmt.Sprintf("/n%d", i), jute.ModePersistent)
	}
	e.sameState()
	e.stop(old)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".old", dir); err != nil {
		t.Fatal(err)
	}
	e.start(old)
	m := e.members[old-1]
	eventually(t, "it goes on", func() bool {
		select {
		case <-m.Failed():
			if err := m.Err(); !strings.Contains(err.Error(), "its directory is older") {
				t.Errorf("it fails with %v", err)
			}
			return true
		default:
			// A leader of a later term does not know what it had acknowledged.
			n := e.members[lead-1].node.Load()
			return n.Role().Term != term
		}
	})
	e.stop(old)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	e.start(old)
	eventually(t, "it does not take its seat again", func() bool { return e.isVoter(lead, old) })
	e.ready()
	e.sameState()
}
