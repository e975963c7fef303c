package server

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// words is a line of a script: its words, and those of the form key=value.
type words struct {
	pos []string
	kv  map[string]string
}

func parseWords(fields []string) words {
	w := words{kv: make(map[string]string)}
	for _, f := range fields {
		// Paths never have a "=", so that what has one is an option.
		if k, v, ok := strings.Cut(f, "="); ok && !strings.HasPrefix(f, "/") {
			w.kv[k] = v
		} else {
			w.pos = append(w.pos, f)
		}
	}
	return w
}

func (w *words) at(i int) string {
	if i < len(w.pos) {
		return w.pos[i]
	}
	return ""
}

func (w *words) has(flag string) bool { return slices.Contains(w.pos, flag) }

func (w *words) int(key string, absent int64) int64 {
	v, ok := w.kv[key]
	if !ok {
		return absent
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is not a number", key, v))
	}
	return n
}

func (w *words) list(key string) []string {
	if w.kv[key] == "" {
		return nil
	}
	return strings.Split(w.kv[key], ",")
}

// data returns the value of key as bytes; <n>*<c> is c repeated, nil is nil.
func (w *words) data(v string) []byte {
	if v == "nil" {
		return nil
	}
	if n, c, ok := strings.Cut(v, "*"); ok {
		if k, err := strconv.Atoi(n); err == nil {
			return []byte(strings.Repeat(c, k))
		}
	}
	return []byte(v)
}

func parseZxid(v string) int64 {
	var term, n int64
	if _, err := fmt.Sscanf(v, "e%d/%d", &term, &n); err == nil {
		return term<<32 | n
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		panic(v + " is not a zxid")
	}
	return n
}

// parseACL reads scheme:id:perms,... Scheme pw is digest with the password in
// the clear.
func parseACL(v string) []jute.ACL {
	if v == "none" {
		return nil
	}
	var out []jute.ACL
	for _, e := range strings.Split(v, ",") {
		first, last := strings.IndexByte(e, ':'), strings.LastIndexByte(e, ':')
		if first < 0 || first == last {
			panic(e + " is not an ACL entry")
		}
		a := jute.ACL{ID: jute.ID{Scheme: e[:first], ID: e[first+1 : last]}}
		for _, p := range e[last+1:] {
			a.Perms |= 1 << strings.IndexRune("rwcda", p)
		}
		if a.ID.Scheme == "pw" {
			a.ID.Scheme = "digest"
			a.ID.ID, _ = (&Server{opt: Options{DigestAlg: "SHA1"}}).digest(a.ID.ID)
		}
		out = append(out, a)
	}
	return out
}

func openACL() []jute.ACL {
	return []jute.ACL{{Perms: jute.PermAll, ID: jute.ID{Scheme: "world", ID: "anyone"}}}
}

// opsByName are the operations as scripts name them.
var opsByName = map[string]jute.OpCode{
	"create": jute.OpCreate, "create2": jute.OpCreate2, "createContainer": jute.OpCreateContainer, "createTTL": jute.OpCreateTTL,
	"delete": jute.OpDelete, "set": jute.OpSetData, "setACL": jute.OpSetACL, "check": jute.OpCheck, "sync": jute.OpSync,
	"exists": jute.OpExists, "get": jute.OpGetData, "ls": jute.OpGetChildren, "ls2": jute.OpGetChildren2, "getACL": jute.OpGetACL,
	"countAll": jute.OpGetAllChildrenNumber, "ephemerals": jute.OpGetEphemerals, "whoAmI": jute.OpWhoAmI,
	"addWatch": jute.OpAddWatch, "checkWatches": jute.OpCheckWatches, "removeWatches": jute.OpRemoveWatches,
	"setWatches": jute.OpSetWatches, "setWatches2": jute.OpSetWatches2, "deleteContainer": jute.OpDeleteContainer,
	"auth": jute.OpAuth, "ping": jute.OpPing, "close": jute.OpCloseSession, "reconfig": jute.OpReconfig,
	"multi": jute.OpMulti, "multiRead": jute.OpMultiRead, "op": 0,
}

var watchKinds = map[string]int32{"persistent": 0, "recursive": 1}

var watcherTypes = map[string]jute.WatcherType{
	"children": jute.WatcherChildren, "data": jute.WatcherData, "any": jute.WatcherAny,
	"persistent": jute.WatcherPersistent, "recursive": jute.WatcherPersistentRecursive,
}

// parseRequest reads one operation: its name and what follows. cut=n leaves n
// bytes of its body away.
func parseRequest(c *client, fields []string) request {
	name := fields[0]
	op, ok := opsByName[name]
	if !ok {
		panic(name + " is no operation")
	}
	q := request{op: op}
	if op == jute.OpMulti || op == jute.OpMultiRead {
		q.body = multiBody(c, fields[1:])
		return q
	}
	w := parseWords(fields[1:])
	switch {
	case name == "op":
		code, err := strconv.Atoi(w.at(0))
		if err != nil {
			panic(err)
		}
		q.op = jute.OpCode(code)
		if q.body, err = hex.DecodeString(w.kv["hex"]); err != nil {
			panic(err)
		}
	case op == jute.OpPing:
		q.xid = jute.XidPing
	case op == jute.OpAuth:
		q.xid = jute.XidAuth
		q.body = (&jute.AuthRequest{Scheme: w.at(0), Auth: []byte(w.at(1))}).Append(nil)
	default:
		q.body = encodeBody(c, op, &w)
	}
	if op == jute.OpSetWatches || op == jute.OpSetWatches2 {
		q.xid = jute.XidSetWatches
	}
	q.body = q.body[:len(q.body)-int(w.int("cut", 0))]
	return q
}

func encodeBody(c *client, op jute.OpCode, w *words) []byte {
	path := w.at(0)
	if p, ok := w.kv["path"]; ok {
		path = strings.ReplaceAll(p, "NUL", "\x00")
	}
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		return (&jute.CreateRequest{Path: path, Data: w.data(w.kv["data"]), ACL: createACL(w), Mode: createMode(op, w), TTL: w.int("ttl", 0)}).Append(nil, op)
	case jute.OpDelete, jute.OpCheck:
		return (&jute.PathVersionRequest{Path: path, Version: int32(w.int("v", -1))}).Append(nil)
	case jute.OpSetData:
		return (&jute.SetDataRequest{Path: path, Data: w.data(w.at(1)), Version: int32(w.int("v", -1))}).Append(nil)
	case jute.OpSetACL:
		return (&jute.SetACLRequest{Path: path, ACL: createACL(w), Version: int32(w.int("v", -1))}).Append(nil)
	case jute.OpExists, jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2:
		return (&jute.PathWatchRequest{Path: path, Watch: w.has("watch")}).Append(nil)
	case jute.OpSync, jute.OpGetACL, jute.OpGetAllChildrenNumber, jute.OpGetEphemerals, jute.OpDeleteContainer:
		return (&jute.PathRequest{Path: path}).Append(nil)
	case jute.OpAddWatch:
		kind, ok := watchKinds[w.at(1)]
		if !ok {
			kind = int32(w.int("mode", 0))
		}
		return (&jute.WatchSelection{Path: path, Kind: kind}).Append(nil)
	case jute.OpCheckWatches, jute.OpRemoveWatches:
		kind, ok := watcherTypes[w.at(1)]
		if !ok {
			kind = jute.WatcherType(w.int("type", 0))
		}
		return (&jute.WatchSelection{Path: path, Kind: int32(kind)}).Append(nil)
	case jute.OpSetWatches, jute.OpSetWatches2:
		relative := c.lastZxid
		if v, ok := w.kv["zxid"]; ok {
			relative = parseZxid(v)
		}
		return (&jute.SetWatchesRequest{
			RelativeZxid: relative, Data: w.list("data"), Exist: w.list("exist"), Child: w.list("child"),
			Persistent: w.list("persistent"), Recurse: w.list("recursive"),
		}).Append(nil, op)
	case jute.OpReconfig:
		return (&jute.ReconfigRequest{CurConfigID: -1}).Append(nil)
	}
	return nil
}

func createACL(w *words) []jute.ACL {
	if v, ok := w.kv["acl"]; ok {
		return parseACL(v)
	}
	return openACL()
}

func createMode(op jute.OpCode, w *words) jute.CreateMode {
	if _, ok := w.kv["flags"]; ok {
		return jute.CreateMode(w.int("flags", 0))
	}
	mode := jute.ModePersistent
	switch {
	case op == jute.OpCreateContainer:
		return jute.ModeContainer
	case op == jute.OpCreateTTL:
		if w.has("seq") {
			return jute.ModeTTLSequential
		}
		return jute.ModeTTL
	case w.has("ephemeral"):
		mode = jute.ModeEphemeral
	}
	if w.has("seq") {
		mode |= jute.ModePersistentSequential
	}
	return mode
}

// parseRequests reads operations with ";" between them.
func parseRequests(c *client, fields []string) []request {
	var out []request
	for _, part := range split(fields, ";") {
		out = append(out, parseRequest(c, part))
	}
	return out
}

func split(fields []string, sep string) [][]string {
	var out [][]string
	for len(fields) > 0 {
		i := slices.Index(fields, sep)
		if i < 0 {
			return append(out, fields)
		}
		out = append(out, fields[:i])
		fields = fields[i+1:]
	}
	return out
}

// multiBody reads operations with "|" between them. The word unfinished leaves
// the end away.
func multiBody(c *client, fields []string) []byte {
	var b []byte
	unfinished := false
	for _, part := range split(fields, "|") {
		if part[0] == "unfinished" {
			unfinished = true
			continue
		}
		q := parseRequest(c, part)
		b = jute.MultiHeader{Type: q.op, Err: -1}.Append(b)
		b = append(b, q.body...)
	}
	if unfinished {
		return b
	}
	return jute.MultiEnd.Append(b)
}
