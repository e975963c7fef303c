package script

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// field is one argument of an operation in its text form.
type field int

const (
	fPath field = iota
	fData
	fACL
	fMode
	fTTL
	fVersion
	fWatch
	fType
	fScheme
	fOps
	fSince
	fLists
	fCode
)

// kind is what the package knows of one operation.
type kind struct {
	code   int32
	fields []field
	write  bool
}

var kinds = map[string]kind{
	"create":               {wire.OpCreate, []field{fPath, fData, fACL, fMode}, true},
	"create2":              {wire.OpCreate2, []field{fPath, fData, fACL, fMode}, true},
	"createContainer":      {wire.OpCreateContainer, []field{fPath, fData, fACL, fMode}, true},
	"createTTL":            {wire.OpCreateTTL, []field{fPath, fData, fACL, fMode, fTTL}, true},
	"delete":               {wire.OpDelete, []field{fPath, fVersion}, true},
	"check":                {wire.OpCheck, []field{fPath, fVersion}, true},
	"setData":              {wire.OpSetData, []field{fPath, fData, fVersion}, true},
	"setACL":               {wire.OpSetACL, []field{fPath, fACL, fVersion}, true},
	"multi":                {wire.OpMulti, []field{fOps}, true},
	"exists":               {wire.OpExists, []field{fPath, fWatch}, false},
	"getData":              {wire.OpGetData, []field{fPath, fWatch}, false},
	"getChildren":          {wire.OpGetChildren, []field{fPath, fWatch}, false},
	"getChildren2":         {wire.OpGetChildren2, []field{fPath, fWatch}, false},
	"getACL":               {wire.OpGetACL, []field{fPath}, false},
	"sync":                 {wire.OpSync, []field{fPath}, false},
	"ping":                 {wire.OpPing, nil, false},
	"multiRead":            {wire.OpMultiRead, []field{fOps}, false},
	"getEphemerals":        {wire.OpGetEphemerals, []field{fPath}, false},
	"getAllChildrenNumber": {wire.OpGetAllChildrenNumber, []field{fPath}, false},
	"whoAmI":               {wire.OpWhoAmI, nil, false},
	"auth":                 {wire.OpAuth, []field{fScheme, fData}, false},
	"addWatch":             {wire.OpAddWatch, []field{fPath, fType}, false},
	"checkWatches":         {wire.OpCheckWatches, []field{fPath, fType}, false},
	"removeWatches":        {wire.OpRemoveWatches, []field{fPath, fType}, false},
	"setWatches":           {wire.OpSetWatches, []field{fSince, fLists}, false},
	"setWatches2":          {wire.OpSetWatches2, []field{fSince, fLists}, false},
	"reconfig":             {wire.OpReconfig, nil, false},
	"deleteContainer":      {wire.OpDeleteContainer, []field{fPath}, false},
	"op":                   {0, []field{fCode, fPath}, false},
}

// Code returns the operation's type on the wire.
func (o *Op) OpCode() int32 {
	if o.Name == "op" {
		return o.Code
	}
	return kinds[o.Name].code
}

// Writes reports whether the operation is one that the ensemble orders as a
// transaction.
func (o *Op) Writes() bool { return kinds[o.Name].write }

// Names lists the operations that scripts know, sorted.
func Names() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ACLs are the access lists that scripts name.
var ACLs = map[string][]wire.ACL{
	"open":      {{Perms: 31, Scheme: "world", ID: "anyone"}},
	"read":      {{Perms: 1, Scheme: "world", ID: "anyone"}},
	"norights":  {{Perms: 0, Scheme: "world", ID: "anyone"}},
	"nodelete":  {{Perms: 31 &^ 8, Scheme: "world", ID: "anyone"}},
	"nocreate":  {{Perms: 31 &^ 4, Scheme: "world", ID: "anyone"}},
	"noread":    {{Perms: 31 &^ 1, Scheme: "world", ID: "anyone"}},
	"noadmin":   {{Perms: 31 &^ 16, Scheme: "world", ID: "anyone"}},
	"alice":     {{Perms: 31, Scheme: "digest", ID: alice}},
	"bob":       {{Perms: 31, Scheme: "digest", ID: bob}},
	"shared":    {{Perms: 31, Scheme: "digest", ID: alice}, {Perms: 1, Scheme: "world", ID: "anyone"}},
	"two":       {{Perms: 31, Scheme: "digest", ID: alice}, {Perms: 3, Scheme: "digest", ID: bob}},
	"twice":     {{Perms: 31, Scheme: "world", ID: "anyone"}, {Perms: 31, Scheme: "world", ID: "anyone"}},
	"auth":      {{Perms: 31, Scheme: "auth"}},
	"authread":  {{Perms: 31, Scheme: "auth"}, {Perms: 1, Scheme: "world", ID: "anyone"}},
	"here":      {{Perms: 31, Scheme: "ip", ID: "127.0.0.1"}},
	"net":       {{Perms: 31, Scheme: "ip", ID: "127.0.0.0/8"}},
	"elsewhere": {{Perms: 31, Scheme: "ip", ID: "10.0.0.0/8"}, {Perms: 1, Scheme: "world", ID: "anyone"}},

	// Those that every server refuses.
	"none":      nil,
	"empty":     {},
	"someone":   {{Perms: 31, Scheme: "world", ID: "someone"}},
	"nobody":    {{Perms: 31, Scheme: "nobody", ID: "x"}},
	"badip":     {{Perms: 31, Scheme: "ip", ID: "localhost"}},
	"baddigest": {{Perms: 31, Scheme: "digest", ID: "x"}},
	"emptyid":   {{Perms: 31, Scheme: "", ID: ""}},
	"openbad":   {{Perms: 31, Scheme: "world", ID: "anyone"}, {Perms: 1, Scheme: "nobody", ID: "x"}},
	"strange":   {{Perms: -1, Scheme: "world", ID: "anyone"}},
}

// The users, as access lists name them.
var (
	alice = digest("alice:" + Passwords["alice"])
	bob   = digest("bob:" + Passwords["bob"])
)

// Passwords are those of the users in ACLs, and of the ensemble's super user.
var Passwords = map[string]string{"alice": "secret", "bob": "hidden", "super": "test"}

func digest(secret string) string {
	user, _, _ := strings.Cut(secret, ":")
	sum := sha1.Sum([]byte(secret))
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

// Places says what the signs in paths stand for, and what relative zxids of
// setWatches are.
type Places struct {
	Root  string // "@"
	Quota string // "%"
	Since map[string]int64
}

// Path resolves a path.
func (p *Places) Path(path string) string {
	if path == "" {
		return ""
	}
	switch path[0] {
	case '@':
		return p.Root + path[1:]
	case '%':
		return p.Quota + path[1:]
	}
	return path
}

func (p *Places) paths(list []string) []string {
	out := make([]string, len(list))
	for i, path := range list {
		out[i] = p.Path(path)
	}
	return out
}

func (o *Op) data() []byte {
	if o.NilData {
		return nil
	}
	return []byte(o.Data)
}

// Body returns the request's body.
func (o *Op) Body(p *Places) []byte {
	b := o.body(p)
	if o.NilPath {
		b = append([]byte{0xff, 0xff, 0xff, 0xff}, b[4+len(p.Path(o.Path)):]...) // the path comes first in every body
	}
	if o.Cut > 0 {
		return b[:max(0, len(b)-o.Cut)]
	}
	return append(b, make([]byte, -o.Cut)...)
}

func (o *Op) body(p *Places) []byte {
	path := p.Path(o.Path)
	switch o.Name {
	case "create", "create2", "createContainer":
		return wire.CreateBody(path, o.data(), ACLs[o.ACL], o.Mode)
	case "createTTL":
		return wire.CreateTTLBody(path, o.data(), ACLs[o.ACL], o.Mode, o.TTL)
	case "delete", "check":
		return wire.VersionBody(path, o.Version)
	case "setData":
		return wire.SetDataBody(path, o.data(), o.Version)
	case "setACL":
		return wire.SetACLBody(path, ACLs[o.ACL], o.Version)
	case "exists", "getData", "getChildren", "getChildren2":
		return wire.WatchBody(path, o.Watch)
	case "getACL", "sync", "getEphemerals", "getAllChildrenNumber", "deleteContainer", "op":
		return wire.PathBody(path)
	case "addWatch", "checkWatches", "removeWatches":
		return wire.PathIntBody(path, o.Type)
	case "multi", "multiRead":
		var ops []wire.MultiOp
		for i := range o.Ops {
			ops = append(ops, wire.MultiOp{Type: o.Ops[i].OpCode(), Body: o.Ops[i].Body(p)})
		}
		return wire.MultiBody(ops...)
	case "auth":
		return wire.AuthBody(o.Scheme, o.data())
	case "setWatches", "setWatches2":
		n := 3
		if o.Name == "setWatches2" {
			n = 5
		}
		lists := make([][]string, n)
		for i := range lists {
			lists[i] = p.paths(o.Lists[i])
		}
		return wire.SetWatchesBody(p.Since[o.Since], lists...)
	case "reconfig":
		return new(wire.Writer).Buffer(nil).String("3").Buffer(nil).Long(-1).Bytes()
	}
	return nil
}
