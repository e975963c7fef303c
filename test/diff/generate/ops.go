package generate

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

var names = []string{"a", "b", "c"}

// path makes a path, most often one that can exist.
func (g *generator) path() string {
	if g.one(40) {
		return pick(g, badPaths...)
	}
	return g.goodPath()
}

func (g *generator) goodPath() string {
	depth := g.weighted(3, 45, 38, 14)
	path := "@" + strings.Repeat("/?", depth)
	for strings.Contains(path, "?") {
		path = strings.Replace(path, "?", pick(g, names...), 1)
	}
	if g.one(20) {
		path += fmt.Sprintf("/q%010d", g.IntN(6))
	}
	return path
}

// badPaths cannot exist below @. What is not UTF-8, or beyond what UTF-16 says
// in one unit, is among them.
var badPaths = []string{
	"", "a", "@/", "@//a", "@/.", "@/..", "@/a/..", "@/./a", "@/../a", "@/a/", "@/a/b/", "@/a\x00b", "@/a\x07b", "@/a\x7f",
	"@/a\u0085", "@/a\u009f", "@/a\u00a0", "@/\ud7ff", "@/a\ue000", "@/\uf8ff", "@/\uf900", "@/\uffef", "@/a\ufff0", "@/\U0001f600",
	"@/a b", "@/ü", "@/zookeeper", "@/a\n",
}

// systemPaths may be created and deleted by anybody, without success.
var systemPaths = []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "//", "//x"}

func (g *generator) data() string {
	switch g.weighted(20, 60, 3) {
	case 0:
		return ""
	case 1:
		return strings.Repeat(string(rune('a'+g.IntN(26))), 1+g.IntN(12))
	default:
		return strings.Repeat("long ", 100+g.IntN(200))
	}
}

func (g *generator) version() int32 {
	return pick[int32](g, -1, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, -2, 1<<31-1)
}

var (
	goodACLs = []string{"read", "norights", "nodelete", "nocreate", "noread", "noadmin", "alice", "bob", "shared", "two", "twice",
		"auth", "authread", "here", "net", "elsewhere", "strange"}
	badACLs = []string{"none", "empty", "someone", "nobody", "badip", "baddigest", "emptyid", "openbad"}
)

// acl picks an access list; open ones keep the script going.
func (g *generator) acl() string {
	switch g.weighted(84, 14, 2) {
	case 0:
		return "open"
	case 1:
		return pick(g, goodACLs...)
	default:
		return pick(g, badACLs...)
	}
}

// family is what kind of watches a session leaves on a path.
type family int

const (
	oneShot family = iota
	persistent
	recursive
)

// watchFamily keeps a session from watching one path in several ways, but for
// data and children together. ZooKeeper 3.8 takes the last kind for all of them
// (ZOOKEEPER-4466) and removes halves of persistent watches (ZOOKEEPER-4471).
func (g *generator) watchFamily(path string) family {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", g.salt, g.slot, path)
	return []family{oneShot, oneShot, persistent, recursive}[h.Sum64()>>20&3]
}

// op makes one operation.
func (g *generator) op() script.Op {
	var op script.Op
	switch {
	case g.quota && g.one(8):
		op = g.quotaOp()
	case g.IntN(100) < 55:
		op = g.write()
	default:
		op = g.read()
	}
	// A reconfig that is too short stops ZooKeeper's member for good.
	if g.one(150) && op.Name != "reconfig" {
		op.Cut = pick(g, 1, 2, 3, 4, 5, 8, -1, -3)
	}
	return op
}

// write makes an operation that the ensemble has to order.
func (g *generator) write() script.Op {
	switch g.weighted(24, 20, 3, 16, 5, 7, 2, 1) {
	case 0:
		return g.create()
	case 1:
		op := script.Op{Name: "delete", Path: g.writePath(), Version: -1}
		if g.one(3) {
			op.Version = g.version()
		}
		return op
	case 2:
		return g.createTTL()
	case 3:
		return script.Op{Name: "setData", Path: g.path(), Data: g.data(), NilData: g.one(15), Version: g.version()}
	case 4:
		op := script.Op{Name: "setACL", Path: g.path(), ACL: g.acl(), Version: g.version()}
		if op.Path == "@" {
			op.ACL = pick(g, "open", "open", "net", "shared", "nodelete")
		}
		return op
	case 5:
		return g.multi()
	case 6:
		return g.createContainer()
	default:
		return script.Op{Name: "deleteContainer", Path: g.path()}
	}
}

// writePath is one for create and delete, which do no harm to the tree's own
// nodes.
func (g *generator) writePath() string {
	if g.one(100) {
		return pick(g, systemPaths...)
	}
	return g.path()
}

func (g *generator) create() script.Op {
	op := script.Op{Name: pick(g, "create", "create", "create2"), Path: g.writePath(), Data: g.data(), NilData: g.one(15), ACL: g.acl()}
	switch g.weighted(52, 22, 12, 12, 2) {
	case 1:
		op.Mode = wire.Ephemeral
	case 2:
		op.Mode = wire.PersistentSequential
	case 3:
		op.Mode = wire.EphemeralSequential
	case 4:
		op.Mode = pick[int32](g, wire.Container, wire.PersistentTTL, wire.PersistentSeqTTL, 7, -1)
	}
	if strings.HasPrefix(op.Path, "/") {
		op.Mode = wire.Persistent // or it would succeed, under a name that depends on others
	}
	if (op.Mode == wire.PersistentSequential || op.Mode == wire.EphemeralSequential) && !g.one(5) {
		op.Path = strings.TrimRight(op.Path, "abc") + "q"
	}
	return op
}

// createTTL makes nodes that outlive the script: those that do not are the
// matter of reap steps.
func (g *generator) createTTL() script.Op {
	op := script.Op{Name: "createTTL", Path: g.path(), Data: g.data(), ACL: g.acl(), TTL: 3_600_000, Mode: wire.PersistentTTL}
	switch g.weighted(70, 20, 5, 5) {
	case 1:
		op.Mode = wire.PersistentSeqTTL
	case 2:
		op.TTL = pick[int64](g, 0, -1, 1<<40, 1<<40-1, 1<<63-1)
	case 3:
		op.Mode = int32(g.IntN(5))
	}
	return op
}

// createContainer makes containers that never get a child, so that nobody
// removes them at a time that nobody knows.
func (g *generator) createContainer() script.Op {
	op := script.Op{Name: "createContainer", Path: fmt.Sprintf("@/k%d", g.IntN(3)), Data: g.data(), ACL: g.acl(), Mode: wire.Container}
	if g.one(6) {
		op.Mode = int32(g.IntN(8))
	}
	return op
}

// multi makes a transaction. In scripts about quotas it makes at most one thing
// grow: 3.8 holds each part alone against the limit.
func (g *generator) multi() script.Op {
	m := script.Op{Name: "multi"}
	grown := false
	for range g.IntN(6) {
		var op script.Op
		switch g.weighted(8, 6, 5, 5, 1, 1) {
		case 0:
			op = g.create()
		case 1:
			op = script.Op{Name: "delete", Path: g.path(), Version: pick[int32](g, -1, -1, -1, -1, 0, 1)}
		case 2:
			op = script.Op{Name: "setData", Path: g.path(), Data: g.data(), NilData: g.one(15), Version: pick[int32](g, -1, -1, -1, -1, 0, 1)}
		case 3:
			op = script.Op{Name: "check", Path: g.path(), Version: pick[int32](g, -1, -1, -1, 0, 0, 1)}
		case 4:
			op = g.createTTL()
		default:
			op = g.createContainer()
		}
		if op.Name != "createTTL" && (op.Mode == wire.PersistentTTL || op.Mode == wire.PersistentSeqTTL) && len(m.Ops) > 0 {
			// ZooKeeper takes back nothing of what it has prepared for the parts before:
			// the parent's cversion may count a child that never was (known:
			// multi-ttl-mode).
			op.Mode = wire.Persistent
		}
		grows := op.Name != "delete" && op.Name != "check"
		if g.quota && grown && grows {
			continue
		}
		grown = grown || grows
		m.Ops = append(m.Ops, op)
	}
	if g.one(40) {
		m.Ops = append(m.Ops, pick(g, script.Op{Name: "exists", Path: g.path()}, script.Op{Name: "setACL", Path: g.path(), ACL: "open", Version: -1},
			script.Op{Name: "getData", Path: g.path()}, script.Op{Name: "op", Code: 1000}))
	}
	return m
}

// read makes an operation that a member answers by itself.
func (g *generator) read() script.Op {
	path := g.path()
	if path == "" {
		// The root by another name, where all scripts have their places.
		return script.Op{Name: pick(g, "exists", "getData", "getACL"), Path: path}
	}
	watch := g.one(2) && g.watchFamily(path) == oneShot
	switch g.weighted(14, 14, 9, 8, 5, 5, 2, 2, 8, 4, 4, 2, 2, 2, 1, 1, 1) {
	case 0:
		return script.Op{Name: "exists", Path: path, Watch: watch}
	case 1:
		return script.Op{Name: "getData", Path: path, Watch: watch}
	case 2:
		return script.Op{Name: "getChildren", Path: path, Watch: watch}
	case 3:
		return script.Op{Name: "getChildren2", Path: path, Watch: watch}
	case 4:
		return script.Op{Name: "getACL", Path: path}
	case 5:
		return g.multiRead()
	case 6:
		return script.Op{Name: "getEphemerals", Path: pick(g, "@", "@/a", "@/b", "@/", "@/q", "", "/nothing")}
	case 7:
		return script.Op{Name: "getAllChildrenNumber", Path: path}
	case 8:
		return g.addWatch(path)
	case 9:
		return script.Op{Name: "checkWatches", Path: path, Type: g.watcherType(path)}
	case 10:
		return script.Op{Name: "removeWatches", Path: path, Type: g.watcherType(path)}
	case 11:
		return g.setWatches()
	case 12:
		return script.Op{Name: "sync", Path: g.goodPath()}
	case 13:
		return script.Op{Name: "whoAmI"}
	case 14:
		return script.Op{Name: "ping"}
	case 15:
		return script.Op{Name: "reconfig"}
	default:
		return script.Op{Name: pick(g, "getData", "getACL", "exists"), Path: "/zookeeper/config"}
	}
}

func (g *generator) multiRead() script.Op {
	m := script.Op{Name: "multiRead"}
	for range g.IntN(5) {
		op := script.Op{Name: pick(g, "getData", "getChildren"), Path: g.path(), Watch: g.one(2)}
		if op.Path == "" {
			op.Name = "getData"
		}
		m.Ops = append(m.Ops, op)
	}
	if g.one(30) {
		m.Ops = append(m.Ops, script.Op{Name: pick(g, "exists", "getChildren2"), Path: g.path()})
	}
	return m
}

func (g *generator) addWatch(path string) script.Op {
	op := script.Op{Name: "addWatch", Path: path}
	switch g.watchFamily(path) {
	case oneShot:
		if !g.one(30) {
			return script.Op{Name: "exists", Path: path, Watch: true}
		}
		op.Type = pick[int32](g, 2, -1) // no such mode
	case recursive:
		op.Type = 1
	}
	return op
}

// watcherType is one for checkWatches and removeWatches.
func (g *generator) watcherType(path string) int32 {
	if g.one(20) {
		return pick[int32](g, 0, 6, -1)
	}
	if g.watchFamily(path) == oneShot {
		return pick[int32](g, 1, 2, 3, 1, 2, 3, 4, 5)
	}
	return 3
}

func (g *generator) setWatches() script.Op {
	op := script.Op{Name: pick(g, "setWatches", "setWatches2"), Since: pick(g, script.SinceSeen, script.SinceSeen, script.SinceStart, script.SinceNone)}
	for range g.IntN(8) {
		path := g.goodPath()
		list := 0
		switch g.watchFamily(path) {
		case oneShot:
			list = g.IntN(3)
		case persistent:
			list = 3
		case recursive:
			list = 4
		}
		if list < 3 || op.Name == "setWatches2" {
			op.Lists[list] = append(op.Lists[list], path)
		}
	}
	return op
}

// auth shows an identity, or fails to.
func (g *generator) auth() script.Op {
	op := script.Op{Name: "auth", Scheme: "digest"}
	user := pick(g, "alice", "alice", "alice", "bob", "bob", "super")
	op.Data = user + ":" + script.Passwords[user]
	switch g.weighted(80, 8, 6, 4, 6, 1) {
	case 1:
		op.Data = user + ":wrong"
	case 2:
		op.Scheme, op.Data = "ip", ""
	case 3:
		op.Scheme, op.Data = pick(g, "nobody", "", "world", "auth", "super", "sasl", "x509"), "x"
	case 4:
		op.Data = pick(g, "alice", "", ":", ":x", "a:b:c", "alice:")
	case 5:
		op.Data, op.NilData = "", true
	}
	return op
}

// limits makes a quota, always a well-formed one.
func (g *generator) limits() string {
	count, size := g.IntN(8)-1, g.IntN(40)-1
	if g.one(3) {
		return fmt.Sprintf("count=%d,bytes=%d", count, size)
	}
	return fmt.Sprintf("count=%d,bytes=%d=;byteHardLimit=%d;countHardLimit=%d", count, size, pick(g, size, -1, 20), pick(g, count, -1, 6))
}

// quotaOp makes an operation on the nodes that hold quotas.
func (g *generator) quotaOp() script.Op {
	dir := pick(g, "%", "%/a", "%/a", "%/b", "%/a/a")
	node, data := "/zookeeper_limits", g.limits()
	if g.one(2) {
		node, data = "/zookeeper_stats", fmt.Sprintf("count=%d,bytes=%d", g.IntN(9), g.IntN(40))
	}
	switch g.weighted(3, 6, 4, 2, 2, 2) {
	case 0:
		return script.Op{Name: "create", Path: dir, ACL: "open"}
	case 1:
		return script.Op{Name: "create", Path: dir + node, ACL: "open", Data: data}
	case 2:
		return script.Op{Name: "getData", Path: dir + node}
	case 3:
		return script.Op{Name: "setData", Path: dir + node, Data: data, Version: -1}
	case 4:
		return script.Op{Name: "delete", Path: dir + node, Version: -1}
	default:
		return script.Op{Name: "delete", Path: dir, Version: -1}
	}
}
