package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/conclave-dev/conclave/internal/jute"
)

// zxid prints a zxid as e<term>/<n>, and the one that stands for none as "-".
func zxid(z int64) string {
	if z < 0 {
		return "-"
	}
	return fmt.Sprintf("e%d/%d", z>>32, z&0xffffffff)
}

// describe is the line of the transcript for what a client sees.
func (c *client) describe(m *message) string {
	switch m.what {
	case "connected":
		s := fmt.Sprintf("connected: s%d timeout=%v", c.session, c.timeout)
		if c.old {
			s += " (no readOnly)"
		}
		return s
	case "refused":
		return "refused: timeout=0 session=0"
	case "closed":
		return "-- " + m.path
	case "event":
		return fmt.Sprintf("** %s %v %s", zxid(m.zxid), m.event, m.path)
	case "ping":
		return fmt.Sprintf("<- ping %s %v", zxid(m.zxid), m.code)
	case "auth":
		return fmt.Sprintf("<- auth %v", m.code)
	}
	s := fmt.Sprintf("<- %d %v %s", m.xid, m.op, zxid(m.zxid))
	d := m.d
	if m.code != jute.OK {
		s += " " + m.code.Error()
	} else if body := m.body(&d); body != "" {
		s += " " + body
	}
	if d.Err() != nil || d.Remaining() > 0 {
		c.r.t.Errorf("%s: the reply to %v has %d bytes too many, or: %v", c.name, m.op, d.Remaining(), d.Err())
	}
	return s
}

// body prints the body of a successful reply.
func (m *message) body(d *jute.Decoder) string {
	switch m.op {
	case jute.OpCreate, jute.OpSync:
		return d.String()
	case jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		return d.String() + " " + stat(d)
	case jute.OpSetData, jute.OpSetACL, jute.OpExists:
		return stat(d)
	case jute.OpGetData:
		return data(d) + " " + stat(d)
	case jute.OpGetChildren:
		return names(d)
	case jute.OpGetChildren2:
		return names(d) + " " + stat(d)
	case jute.OpGetACL:
		return acls(jute.DecodeACLs(d)) + " " + stat(d)
	case jute.OpGetEphemerals:
		return names(d)
	case jute.OpGetAllChildrenNumber:
		return fmt.Sprint(d.Int32())
	case jute.OpAddWatch:
		return fmt.Sprintf("error=%d", d.Int32())
	case jute.OpWhoAmI:
		var ids []string
		for range d.Count(8) {
			ids = append(ids, d.String()+":"+d.String())
		}
		return "[" + strings.Join(ids, " ") + "]"
	case jute.OpMulti, jute.OpMultiRead:
		return parts(d)
	}
	return ""
}

func parts(d *jute.Decoder) string {
	var out []string
	for d.Err() == nil {
		var h jute.MultiHeader
		h.Decode(d)
		if h.Done {
			if h != jute.MultiEnd {
				out = append(out, fmt.Sprintf("end=%+v", h))
			}
			break
		}
		s := h.Type.String()
		switch h.Type {
		case jute.OpCreate:
			s += " " + d.String()
		case jute.OpCreate2:
			s += " " + d.String() + " " + stat(d)
		case jute.OpSetData:
			s += " " + stat(d)
		case jute.OpGetData:
			s += " " + data(d) + " " + stat(d)
		case jute.OpGetChildren:
			s += " " + names(d)
		case jute.OpError:
			code := jute.ErrCode(d.Int32())
			s += " " + code.Error()
			if int32(code) != h.Err {
				s += fmt.Sprintf(" (header: %d)", h.Err)
			}
		}
		if h.Type != jute.OpError && h.Err != 0 {
			s += fmt.Sprintf(" (header: %d)", h.Err)
		}
		out = append(out, s)
	}
	return "[" + strings.Join(out, " | ") + "]"
}

func stat(d *jute.Decoder) string {
	var st jute.Stat
	st.Decode(d)
	s := fmt.Sprintf("{c=%s m=%s p=%s v=%d cv=%d av=%d len=%d kids=%d", zxid(st.Czxid), zxid(st.Mzxid), zxid(st.Pzxid),
		st.Version, st.Cversion, st.Aversion, st.DataLength, st.NumChildren)
	if st.EphemeralOwner != 0 {
		s += fmt.Sprintf(" owner=s%d", st.EphemeralOwner)
	}
	return s + "}"
}

func data(d *jute.Decoder) string {
	b := d.Buffer()
	switch {
	case b == nil:
		return "nil"
	case len(b) > 40:
		return fmt.Sprintf("%q...(%d bytes)", b[:10], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func names(d *jute.Decoder) string {
	list := d.Strings()
	slices.Sort(list)
	return "[" + strings.Join(list, " ") + "]"
}

func acls(list []jute.ACL) string {
	var out []string
	for _, a := range list {
		perms := ""
		for i, p := range "rwcda" {
			if a.Perms&(1<<i) != 0 {
				perms += string(p)
			}
		}
		out = append(out, fmt.Sprintf("%s:%s:%s", a.ID.Scheme, a.ID.ID, perms))
	}
	return strings.Join(out, ",")
}
