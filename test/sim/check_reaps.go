package sim

import (
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/tree"
)

// Nodes that go by themselves: containers, once their last child has gone, and
// those with a time to live, once nobody has written to them for so long.
const (
	containers = "/c"
	mortals    = "/t"
	timeToLive = 1500 // milliseconds
)

// checkReap judges that a node was deleted, at zxid, by nobody's request.
func (t *truth) checkReap(path string, zxid int64) {
	before := t.nodeAt(path, zxid-1)
	age := t.machine.Now() - before.stat.Mtime
	switch {
	case !before.exists:
	case strings.HasPrefix(path, containers) && before.stat.Cversion == 0:
		t.w.violate("reap", "the container %s is removed at zxid %#x, and has never had a child", path, zxid)
	case strings.HasPrefix(path, mortals) && age < timeToLive:
		t.w.violate("reap", "%s is removed at zxid %#x, %d ms after the last write to it; it was to live for %d", path, zxid, age, timeToLive)
	case !strings.HasPrefix(path, containers) && !strings.HasPrefix(path, mortals):
		t.w.violate("reap", "%s is removed at zxid %#x, and nobody has asked for that", path, zxid)
	}
}

// checkReaped judges, when nobody has written for a while, that nothing is left
// whose time has come.
func (t *truth) checkReaped() {
	tr := t.machine.Tree()
	for _, path := range []string{"/c0", "/c1", "/t0", "/t1"} {
		id := tr.Find(path)
		if id == tree.None {
			continue
		}
		switch tr.Kind(id) {
		case tree.TTL:
			t.w.violate("live", "%s is still there", path)
		case tree.Container:
			if tr.NumChildren(id) == 0 && tr.Creates(id) > 0 {
				t.w.violate("live", "the container %s has lost its last child, and is still there", path)
			}
		}
	}
}

// removed notes what an operation has deleted: a client's, with this zxid, or if
// there is none nobody's.
func (t *truth) removed(zxid int64, byClient bool) {
	for _, d := range t.deleted {
		if byClient && d.zxid == zxid {
			t.deletedByClient[d.path] = zxid
		} else {
			t.checkReap(d.path, d.zxid)
		}
	}
	t.deleted = t.deleted[:0]
}

func createContainer(path, tag string) *request {
	req := jute.CreateRequest{Path: path, Data: []byte(tag), ACL: openACL, Mode: jute.ModeContainer}
	return &request{op: jute.OpCreateContainer, body: req.Append(nil, jute.OpCreateContainer), tag: tag, path: path, what: "create container " + path}
}

func createMortal(path, tag string) *request {
	req := jute.CreateRequest{Path: path, Data: []byte(tag), ACL: openACL, Mode: jute.ModeTTL, TTL: timeToLive}
	return &request{op: jute.OpCreateTTL, body: req.Append(nil, jute.OpCreateTTL), tag: tag, path: path, what: "create with a time to live " + path}
}
