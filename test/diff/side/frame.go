package side

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// Frame is something that an ensemble has answered or told.
type Frame struct {
	// Who has got it: a session's name.
	Who string
	// Op is the operation that it answers; nil for events and for what befalls a
	// connection.
	Op *script.Op
	// Text says what it was. Each "~" in it stands for one of Zxids.
	Text  string
	Zxids []Zxid
	event bool
}

// Zxid is one that was shown.
type Zxid struct {
	Value int64
	// Exact zxids belong to a transaction of the script. Others only tell how
	// far a member was.
	Exact bool
}

// String returns the text with a number for each zxid.
func (f Frame) String() string {
	text := f.Who + " " + f.Text
	for _, z := range f.Zxids {
		text = strings.Replace(text, "~", fmt.Sprintf("%#x", z.Value), 1)
	}
	return text
}

// Names of errors and events.
var (
	errorNames = map[int32]string{
		wire.RuntimeInconsistency: "RuntimeInconsistency", wire.MarshallingError: "MarshallingError",
		wire.Unimplemented: "Unimplemented", wire.BadArguments: "BadArguments", wire.NoNode: "NoNode", wire.NoAuth: "NoAuth",
		wire.BadVersion: "BadVersion", wire.NoChildrenForEphemerals: "NoChildrenForEphemerals", wire.NodeExists: "NodeExists",
		wire.NotEmpty: "NotEmpty", wire.SessionExpired: "SessionExpired", wire.InvalidACL: "InvalidACL",
		wire.AuthFailed: "AuthFailed", wire.SessionMoved: "SessionMoved", wire.NoWatcher: "NoWatcher",
		wire.ReconfigDisabled: "ReconfigDisabled", wire.QuotaExceeded: "QuotaExceeded",
	}
	eventNames = map[int32]string{
		wire.EventCreated: "Created", wire.EventDeleted: "Deleted", wire.EventDataChanged: "DataChanged",
		wire.EventChildrenChanged: "ChildrenChanged",
	}
)

func errorName(code int32) string {
	if name, ok := errorNames[code]; ok {
		return name
	}
	return fmt.Sprintf("error %d", code)
}

// teller writes down one frame.
type teller struct {
	s     *Side
	b     strings.Builder
	zxids []Zxid
	// where is the path that a stat belongs to.
	where string
}

func (t *teller) add(format string, args ...any) { fmt.Fprintf(&t.b, format, args...) }

func (t *teller) zxid(name string, v int64) {
	t.add(" %s=~", name)
	t.zxids = append(t.zxids, Zxid{v, true})
}

func (t *teller) stat(st wire.Stat) {
	t.add(" version=%d", st.Version)
	if t.where != configPath { // whose data are addresses
		t.add(" length=%d", st.DataLength)
	}
	t.add(" aversion=%d owner=%s", st.Aversion, t.s.sessionName(st.EphemeralOwner))
	t.zxid("czxid", st.Czxid)
	t.zxid("mzxid", st.Mzxid)
	if t.where == "/" || t.where == "" {
		return // other lanes have their directories there
	}
	t.add(" cversion=%d children=%d", st.Cversion, st.NumChildren)
	t.zxid("pzxid", st.Pzxid)
}

const configPath = "/zookeeper/config"

func (t *teller) data(b []byte) {
	if b == nil {
		t.add(" nodata")
		return
	}
	t.add(" data=%s", script.Quote(t.s.hide(string(b))))
}

func (t *teller) path(p string) { t.add(" %s", quoted(t.s.hide(p))) }

func (t *teller) names(what string, names []string) {
	names = slices.Clone(names)
	for i := range names {
		names[i] = t.s.hide(names[i])
	}
	slices.Sort(names)
	t.add(" %s=%q", what, names)
}

func (t *teller) acl(acl []wire.ACL) {
	acl = slices.Clone(acl)
	var at []int
	var digests []wire.ACL
	for i, a := range acl {
		if a.Scheme == "digest" {
			at = append(at, i)
			digests = append(digests, a)
		}
	}
	slices.SortFunc(digests, func(a, b wire.ACL) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Perms, b.Perms)) })
	for i, j := range at {
		acl[j] = digests[i]
	}
	t.add(" acl=%v", acl)
}

// quoted quotes a path only if it needs it.
func quoted(p string) string {
	if q := fmt.Sprintf("%q", p); q != `"`+p+`"` || strings.Contains(p, " ") || p == "" {
		return q
	}
	return p
}

// tell describes the reply to op.
func (s *Side) tell(op *script.Op, reply wire.Reply) Frame {
	t := teller{s: s, where: op.Path}
	t.add("%s:", op.Name)
	if reply.Err != wire.OK {
		t.add(" %s", errorName(reply.Err))
		if len(reply.Body) > 0 {
			t.add(" body=%x", reply.Body)
		}
	} else {
		t.add(" ok")
		r := wire.NewReader(reply.Body)
		if op.Name == "op" {
			t.add(" body=%x", r.Rest()) // whatever it is
		} else if t.body(op, r); r.Done() != nil {
			t.add(" UNREADABLE: %v", r.Done())
		}
	}
	switch {
	case op.Writes() && op.Name != "check":
		t.zxid("zxid", reply.Zxid)
	case op.Name == "auth" || op.Name == "op":
		t.add(" zxid=%d", reply.Zxid) // a constant, not the state's
	default:
		t.add(" zxid=~")
		t.zxids = append(t.zxids, Zxid{reply.Zxid, false})
	}
	return Frame{Op: op, Text: t.b.String(), Zxids: t.zxids}
}

func (t *teller) body(op *script.Op, r *wire.Reader) {
	switch op.Name {
	case "create", "sync":
		t.path(r.String())
	case "create2", "createContainer", "createTTL":
		t.path(r.String())
		t.stat(r.Stat())
	case "setData", "setACL", "exists":
		t.stat(r.Stat())
	case "getData":
		t.data(r.Buffer())
		t.stat(r.Stat())
	case "getChildren":
		t.names("children", r.Strings())
	case "getChildren2":
		t.names("children", r.Strings())
		t.stat(r.Stat())
	case "getACL":
		t.acl(r.ACLs())
		t.stat(r.Stat())
	case "getEphemerals":
		t.names("paths", r.Strings())
	case "getAllChildrenNumber", "addWatch":
		t.add(" %d", r.Int())
	case "whoAmI":
		var who []string
		for i := r.Int(); i > 0 && r.Err() == nil; i-- {
			who = append(who, r.String()+":"+r.String())
		}
		t.names("who", who)
	case "multi", "multiRead":
		t.multi(op, r)
	}
}

// multi takes the results of a multi or multiRead apart.
func (t *teller) multi(op *script.Op, r *wire.Reader) {
	for i := 0; r.Err() == nil; i++ {
		typ, done, code := r.Int(), r.Bool(), r.Int()
		if done {
			if typ != -1 || code != -1 {
				t.add(" BAD END type=%d err=%d", typ, code)
			}
			return
		}
		if i < len(op.Ops) {
			t.where = op.Ops[i].Path
		}
		t.add(" [")
		switch typ {
		case wire.OpError:
			t.add("%s", errorName(code))
			if inner := r.Int(); inner != code {
				t.add(" %d in the body", inner)
			}
		case wire.OpCreate:
			t.add("create")
			t.path(r.String())
		case wire.OpCreate2:
			t.add("create2")
			t.path(r.String())
			t.stat(r.Stat())
		case wire.OpSetData:
			t.add("setData")
			t.stat(r.Stat())
		case wire.OpDelete:
			t.add("delete")
		case wire.OpCheck:
			t.add("check")
		case wire.OpGetData:
			t.add("getData")
			t.data(r.Buffer())
			t.stat(r.Stat())
		case wire.OpGetChildren:
			t.add("getChildren")
			t.names("children", r.Strings())
		default:
			t.add("UNKNOWN TYPE %d", typ)
			return
		}
		if typ != wire.OpError && code != 0 {
			t.add(" err=%d", code)
		}
		t.add("]")
	}
}

// tellEvent describes a watch event.
func (s *Side) tellEvent(reply wire.Reply) Frame {
	e, err := reply.Event()
	if err != nil {
		return Frame{Text: fmt.Sprintf("UNREADABLE EVENT: %v", err), event: true}
	}
	name, ok := eventNames[e.Type]
	if !ok {
		name = fmt.Sprintf("type %d", e.Type)
	}
	text := "event " + name + " " + quoted(s.hide(e.Path))
	if e.State != 3 || reply.Err != 0 {
		text += fmt.Sprintf(" state=%d err=%d", e.State, reply.Err)
	}
	return Frame{Text: text, event: true}
}

// tellHandshake describes the answer to a ConnectRequest.
func (s *Side) tellHandshake(what string, resp wire.ConnectResponse) Frame {
	id := "none"
	if resp.SessionID != 0 {
		id = s.sessionName(resp.SessionID)
	}
	passwd := fmt.Sprintf("%d bytes", len(resp.Passwd))
	if strings.Trim(string(resp.Passwd), "\x00") == "" {
		passwd += " of zeros"
	}
	return Frame{Text: fmt.Sprintf("%s: session=%s timeout=%d password=%s version=%d readonly=%v,%v",
		what, id, resp.Timeout.Milliseconds(), passwd, resp.ProtocolVersion, resp.HasReadOnly, resp.ReadOnly)}
}
