package tree

import (
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// aclTable interns ACLs: a tree has millions of nodes and a handful of ACLs.
// ACLs are equal if their entries are, in order. The id of a new ACL is the
// lowest that is free, so that members agree on ids.
type aclTable struct {
	entries []aclEntry // entries[0] is never used
	free    []uint32   // free places in entries
	byText  map[string]uint32
	buf     []byte // scratch
}

type aclEntry struct {
	acl  []jute.ACL // nobody changes it
	text string     // acl as jute encodes it, the key in byText
	hash uint64     // of text
	refs int        // nodes, and a snapshot's own; 0 in a free place
}

func (a *aclTable) init() {
	a.entries = make([]aclEntry, 1)
	a.byText = map[string]uint32{}
}

// intern returns the id of acl and counts one more reference to it.
func (a *aclTable) intern(acl []jute.ACL) uint32 {
	a.buf = jute.AppendACLs(a.buf[:0], acl)
	if id, ok := a.byText[string(a.buf)]; ok {
		a.entries[id].refs++
		return id
	}
	e := aclEntry{acl: slices.Clone(acl), text: string(a.buf), hash: hashBytes(mulC, a.buf), refs: 1}
	for i := range e.acl {
		e.acl[i].ID.Scheme = strings.Clone(e.acl[i].ID.Scheme)
		e.acl[i].ID.ID = strings.Clone(e.acl[i].ID.ID)
	}
	id := uint32(len(a.entries))
	if k := len(a.free); k > 0 {
		id = a.free[k-1]
		a.free = a.free[:k-1]
		a.entries[id] = e
	} else {
		a.entries = append(a.entries, e)
	}
	a.byText[e.text] = id
	return id
}

// unref takes one reference back; an ACL without any is forgotten.
func (a *aclTable) unref(id uint32) {
	e := &a.entries[id]
	if e.refs--; e.refs > 0 {
		return
	}
	delete(a.byText, e.text)
	*e = aclEntry{}
	a.free = append(a.free, id)
}
