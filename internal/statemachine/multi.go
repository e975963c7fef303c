package statemachine

import (
	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/session"
)

// multi runs a multi: all of its operations under one zxid, or none. What a
// failed one did is undone and raises no event. Each part's outcome is left in
// r.Parts; the multi's own error stays OK unless it can't be read at all.
func (m *Machine) multi(s *session.Session, flags byte, body []byte, r *Result) {
	d := jute.NewDecoder(body)
	if code := checkMulti(d); code != jute.OK {
		r.Err = code
		return
	}
	failedAt := -1
	m.tree.Begin()
	for {
		var h jute.MultiHeader
		h.Decode(&d)
		if h.Done {
			break
		}
		r.Parts = append(r.Parts, Part{Op: h.Type})
		p := &r.Parts[len(r.Parts)-1]
		if failedAt >= 0 {
			skipPart(&d, h.Type)
			continue
		}
		if p.Err = m.write(s, h.Type, flags, &d, p, true); p.Err != jute.OK {
			failedAt = len(r.Parts) - 1
		}
		if p.Err == jute.ErrMarshalling {
			r.Err = p.Err
			break
		}
	}
	if failedAt < 0 {
		m.tree.Commit()
		return
	}
	m.tree.Rollback()
	m.undoQuotas()
	m.events = m.events[:0]
	if r.Err != jute.OK {
		r.Parts = r.Parts[:0]
	}
	for i := range r.Parts {
		p := Part{Op: jute.OpError}
		switch {
		case i == failedAt:
			p.Err = r.Parts[i].Err
		case i > failedAt:
			p.Err = jute.ErrRuntimeInconsistency
		}
		r.Parts[i] = p
	}
}

// checkMulti reads through a multi without running it: one that can't be read
// to its end, or that holds what has no place in a multi, fails as a whole.
func checkMulti(d jute.Decoder) jute.ErrCode {
	for {
		var h jute.MultiHeader
		h.Decode(&d)
		if d.Err() != nil {
			return jute.ErrMarshalling
		}
		if h.Done {
			return jute.OK
		}
		if !skipPart(&d, h.Type) || d.Err() != nil {
			return jute.ErrMarshalling
		}
	}
}

// createInMulti returns which create an operation of a multi is. Outside a multi
// the operation decides, inside one the mode: ZooKeeper forgets there as what
// a create came, also that a create2 asked for a Stat. A mode with a time to
// live makes the multi unreadable if none has come with it.
func createInMulti(op jute.OpCode, mode jute.CreateMode) (jute.OpCode, jute.ErrCode) {
	switch {
	case mode.TTL() && op != jute.OpCreateTTL:
		return op, jute.ErrMarshalling
	case mode.TTL():
		return jute.OpCreateTTL, jute.OK
	case mode == jute.ModeContainer:
		return jute.OpCreateContainer, jute.OK
	}
	return jute.OpCreate, jute.OK
}

// skipPart reads past one operation's body; false for what a multi can't hold.
func skipPart(d *jute.Decoder, op jute.OpCode) bool {
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		var r jute.CreateRequest
		r.Decode(d, op)
	case jute.OpDelete, jute.OpCheck:
		var r jute.PathVersionRequest
		r.Decode(d)
	case jute.OpSetData:
		var r jute.SetDataRequest
		r.Decode(d)
	default:
		return false
	}
	return true
}
