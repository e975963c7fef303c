package sim

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
)

var openACL = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}

// think lets the client send its next requests, several at once, after a
// moment.
func (cl *client) think(c *conn) {
	w := cl.w
	w.after(w.between(0, 60*time.Millisecond), func() {
		if cl.conn != c || w.quiet {
			return
		}
		for range 1 + w.rng.IntN(4) {
			q := cl.choose()
			cl.send(q)
			if q.op == jute.OpCloseSession {
				cl.closing = true
				if w.chance(2) {
					cl.drop("it does not wait")
				}
				return
			}
		}
	})
}

// choose picks a request: few paths, so that clients meet.
func (cl *client) choose() *request {
	w := cl.w
	key := fmt.Sprintf("/k%d", w.rng.IntN(5))
	eph := fmt.Sprintf("/e%d", w.rng.IntN(6))
	cl.done++
	tag := fmt.Sprintf("[%s.%d]", cl.name, cl.done)
	if w.chance(5) {
		return cl.chooseSpecial(tag)
	}
	switch n := w.rng.IntN(100); {
	case n < 8:
		return create(key, tag, jute.ModePersistent)
	case n < 28:
		version := int32(-1)
		if w.chance(3) {
			version = int32(w.rng.IntN(4))
		}
		return set(key, tag, version)
	case n < 31:
		return remove(key)
	case n < 39:
		return create(eph, tag, jute.ModeEphemeral)
	case n < 43:
		return remove(eph)
	case n < 47:
		return create("/k0/s-", tag, jute.ModePersistentSequential)
	case n < 50:
		return remove(fmt.Sprintf("/k0/s-%010d", w.rng.IntN(20)))
	case n < 56:
		return multi(key, tag, int32(w.rng.IntN(4)))
	case n < 62:
		return &request{op: jute.OpSync, what: "sync", body: (&jute.PathRequest{Path: "/"}).Append(nil)}
	case n < 76:
		return read(jute.OpGetData, key, w.chance(2))
	case n < 84:
		return read(jute.OpExists, eph, w.chance(2))
	case n < 90:
		return read(jute.OpGetChildren2, "/", w.chance(2))
	case n < 95:
		return read(jute.OpGetChildren2, "/k0", w.chance(2))
	case n < 99 || !w.chance(4):
		return read(jute.OpGetData, "/zookeeper/config", w.chance(2))
	}
	return &request{op: jute.OpCloseSession, what: "close the session"}
}

// keySecret proves that a client may do everything with the locked node.
const (
	keySecret = "owner:key"
	lockedAt  = "/l"
)

// chooseSpecial picks a request about nodes that are more than data: persistent
// watches and what they cover, containers, nodes with a time to live, locked ones.
func (cl *client) chooseSpecial(tag string) *request {
	w := cl.w
	node := []string{lastingRoot, lastingNode, lastingNode + "/x", lastingRoot + "/b"}[w.rng.IntN(4)]
	container := fmt.Sprintf("%s%d", containers, w.rng.IntN(2))
	mortal := fmt.Sprintf("%s%d", mortals, w.rng.IntN(2))
	switch n := w.rng.IntN(24); {
	case n < 2 && cl.lasting == nil:
		return cl.watchLasting()
	case n < 6:
		return create(node, tag, jute.ModePersistent)
	case n < 9:
		return set(node, tag, -1)
	case n < 11:
		return remove(node)
	case n < 13:
		return createContainer(container, tag)
	case n < 14:
		return create(container+"/m", tag, jute.ModePersistent)
	case n < 16:
		return remove(container + "/m")
	case n < 18:
		return createMortal(mortal, tag)
	case n < 19:
		return set(mortal, tag, -1)
	case n < 20:
		return create(lockedAt, tag, jute.ModePersistent)
	case n < 21:
		return lock(w.chance(2))
	case n < 22:
		return set(lockedAt, tag, -1)
	case n < 23:
		return remove(lockedAt)
	}
	return read(jute.OpGetData, lockedAt, false)
}

func (cl *client) watchLasting() *request {
	o := &lasting{path: lastingNode, recursive: cl.place%2 == 0}
	sel := jute.WatchSelection{Path: lastingNode, Kind: int32(jute.AddWatchPersistent)}
	if o.recursive {
		o.path = lastingRoot
		sel = jute.WatchSelection{Path: lastingRoot, Kind: int32(jute.AddWatchPersistentRecursive)}
	}
	return &request{op: jute.OpAddWatch, body: sel.Append(nil), path: o.path, lasting: o, what: "watch for good " + o.path}
}

// lock says who may use the locked node: its owner, or anybody.
func lock(on bool) *request {
	req := jute.SetACLRequest{Path: lockedAt, ACL: openACL, Version: -1}
	if on {
		sum := sha1.Sum([]byte(keySecret))
		req.ACL = []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "digest", ID: "owner:" + base64.StdEncoding.EncodeToString(sum[:])}}}
	}
	return &request{op: jute.OpSetACL, body: req.Append(nil), path: lockedAt, what: fmt.Sprintf("lock %s: %v", lockedAt, on)}
}

// proveKey shows that the client is the owner of the key.
func proveKey() *request {
	req := jute.AuthRequest{Scheme: "digest", Auth: []byte(keySecret)}
	return &request{xid: jute.XidAuth, op: jute.OpAuth, body: req.Append(nil), what: "prove to be the owner of the key"}
}

func create(path, tag string, mode jute.CreateMode) *request {
	req := jute.CreateRequest{Path: path, Data: []byte(tag), ACL: openACL, Mode: mode}
	return &request{
		op: jute.OpCreate2, body: req.Append(nil, jute.OpCreate2), tag: tag, path: path, ephemeral: mode == jute.ModeEphemeral,
		what: fmt.Sprintf("create %s %s mode %d", path, tag, mode),
	}
}

func set(path, tag string, version int32) *request {
	req := jute.SetDataRequest{Path: path, Data: []byte(tag), Version: version}
	return &request{
		op: jute.OpSetData, body: req.Append(nil), tag: tag, path: path,
		what: fmt.Sprintf("set %s %s version %d", path, tag, version),
	}
}

func remove(path string) *request {
	req := jute.PathVersionRequest{Path: path, Version: -1}
	return &request{op: jute.OpDelete, body: req.Append(nil), path: path, what: "delete " + path}
}

// multi checks a version, and sets and creates beside it.
func multi(path, tag string, version int32) *request {
	var b []byte
	b = jute.MultiHeader{Type: jute.OpCheck, Err: -1}.Append(b)
	b = (&jute.PathVersionRequest{Path: path, Version: version}).Append(b)
	b = jute.MultiHeader{Type: jute.OpSetData, Err: -1}.Append(b)
	b = (&jute.SetDataRequest{Path: path, Data: []byte(tag), Version: -1}).Append(b)
	b = jute.MultiHeader{Type: jute.OpCreate, Err: -1}.Append(b)
	b = (&jute.CreateRequest{Path: path + "/m", ACL: openACL}).Append(b, jute.OpCreate)
	b = jute.MultiHeader{Type: jute.OpDelete, Err: -1}.Append(b)
	b = (&jute.PathVersionRequest{Path: path + "/m", Version: -1}).Append(b)
	return &request{
		op: jute.OpMulti, body: jute.MultiEnd.Append(b), tag: tag, path: path,
		what: fmt.Sprintf("multi: %s at version %d, set %s", path, version, tag),
	}
}

func read(op jute.OpCode, path string, watch bool) *request {
	return &request{
		op: op, body: (&jute.PathWatchRequest{Path: path, Watch: watch}).Append(nil), path: path, watch: watch,
		what: fmt.Sprintf("%v %s watch %v", op, path, watch),
	}
}
