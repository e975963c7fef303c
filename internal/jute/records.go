package jute

import "encoding/binary"

// StatSize is the encoded size of a Stat in bytes.
const StatSize = 68

// Stat is a node's metadata as clients see it. Times are milliseconds since
// the Unix epoch.
type Stat struct {
	Czxid, Mzxid   int64
	Ctime, Mtime   int64
	Version        int32
	Cversion       int32
	Aversion       int32
	EphemeralOwner int64
	DataLength     int32
	NumChildren    int32
	Pzxid          int64
}

// Append appends the encoded Stat to b.
func (s *Stat) Append(b []byte) []byte {
	be := binary.BigEndian
	b = be.AppendUint64(b, uint64(s.Czxid))
	b = be.AppendUint64(b, uint64(s.Mzxid))
	b = be.AppendUint64(b, uint64(s.Ctime))
	b = be.AppendUint64(b, uint64(s.Mtime))
	b = be.AppendUint32(b, uint32(s.Version))
	b = be.AppendUint32(b, uint32(s.Cversion))
	b = be.AppendUint32(b, uint32(s.Aversion))
	b = be.AppendUint64(b, uint64(s.EphemeralOwner))
	b = be.AppendUint32(b, uint32(s.DataLength))
	b = be.AppendUint32(b, uint32(s.NumChildren))
	return be.AppendUint64(b, uint64(s.Pzxid))
}

// Decode reads a Stat.
func (s *Stat) Decode(d *Decoder) {
	s.Czxid, s.Mzxid, s.Ctime, s.Mtime = d.Int64(), d.Int64(), d.Int64(), d.Int64()
	s.Version, s.Cversion, s.Aversion = d.Int32(), d.Int32(), d.Int32()
	s.EphemeralOwner = d.Int64()
	s.DataLength, s.NumChildren = d.Int32(), d.Int32()
	s.Pzxid = d.Int64()
}

// ID is an identity: a scheme and what the scheme says of it.
type ID struct{ Scheme, ID string }

// ACL grants permissions to an identity.
type ACL struct {
	Perms Perm
	ID    ID
}

// wellKnown holds the ACLs of one entry that nearly every node has: world:anyone
// and auth: (whoever is asking), by their permissions.
var wellKnown = func() (t struct{ world, auth [PermAll + 1][]ACL }) {
	for p := range PermAll + 1 {
		t.world[p] = []ACL{{p, ID{"world", "anyone"}}}
		t.auth[p] = []ACL{{p, ID{"auth", ""}}}
	}
	return t
}()

// DecodeACLs reads a vector of ACL entries; a nil vector reads as nil. The
// result must not be modified: the ACLs that most nodes have are shared by all
// who decode them, so that decoding one allocates nothing.
func DecodeACLs(d *Decoder) []ACL {
	n := d.Count(12)
	if n == 0 {
		return nil
	}
	first := decodeACL(d)
	if n == 1 && d.err == nil && first.Perms&^PermAll == 0 {
		switch first.ID {
		case ID{"world", "anyone"}:
			return wellKnown.world[first.Perms]
		case ID{"auth", ""}:
			return wellKnown.auth[first.Perms]
		}
	}
	out := append(make([]ACL, 0, n), first)
	for range n - 1 {
		out = append(out, decodeACL(d))
	}
	if d.err != nil {
		return nil
	}
	return out
}

func decodeACL(d *Decoder) ACL {
	return ACL{Perms: Perm(d.Int32()), ID: ID{Scheme: d.String(), ID: d.String()}}
}

// AppendACLs appends a vector of ACL entries.
func AppendACLs(b []byte, acls []ACL) []byte {
	b = AppendInt32(b, int32(len(acls)))
	for i := range acls {
		b = AppendInt32(b, int32(acls[i].Perms))
		b = AppendString(b, acls[i].ID.Scheme)
		b = AppendString(b, acls[i].ID.ID)
	}
	return b
}

// ConnectRequest opens a connection: SessionID 0 asks for a new session, any
// other re-attaches to it.
type ConnectRequest struct {
	ProtocolVersion int32
	LastZxidSeen    int64
	Timeout         int32 // milliseconds
	SessionID       int64
	Password        []byte
	ReadOnly        bool
	// HasReadOnly tells whether the client sent the ReadOnly field. Clients
	// older than 3.4 do not, and choke on a response that has it
	// (ZOOKEEPER-4814).
	HasReadOnly bool
}

// Decode reads a ConnectRequest from d.
func (r *ConnectRequest) Decode(d *Decoder) {
	r.ProtocolVersion, r.LastZxidSeen, r.Timeout, r.SessionID = d.Int32(), d.Int64(), d.Int32(), d.Int64()
	r.Password = d.Buffer()
	r.HasReadOnly = d.Remaining() > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
}

// Append appends the encoded request to b.
func (r *ConnectRequest) Append(b []byte) []byte {
	b = AppendInt32(b, r.ProtocolVersion)
	b = AppendInt64(b, r.LastZxidSeen)
	b = AppendInt32(b, r.Timeout)
	b = AppendInt64(b, r.SessionID)
	b = AppendBuffer(b, r.Password)
	if r.HasReadOnly {
		b = AppendBool(b, r.ReadOnly)
	}
	return b
}

// ConnectResponse answers a ConnectRequest. Timeout 0 tells the client that
// its session has expired.
type ConnectResponse struct {
	ProtocolVersion int32
	Timeout         int32 // milliseconds
	SessionID       int64
	Password        []byte
	ReadOnly        bool
	HasReadOnly     bool
}

// Append appends the encoded response to b.
func (r *ConnectResponse) Append(b []byte) []byte {
	b = AppendInt32(b, r.ProtocolVersion)
	b = AppendInt32(b, r.Timeout)
	b = AppendInt64(b, r.SessionID)
	b = AppendBuffer(b, r.Password)
	if r.HasReadOnly {
		b = AppendBool(b, r.ReadOnly)
	}
	return b
}

// Decode reads a ConnectResponse from d.
func (r *ConnectResponse) Decode(d *Decoder) {
	r.ProtocolVersion, r.Timeout, r.SessionID = d.Int32(), d.Int32(), d.Int64()
	r.Password = d.Buffer()
	r.HasReadOnly = d.Remaining() > 0
	r.ReadOnly = r.HasReadOnly && d.Bool()
}

// ReplyHeader precedes the body of every reply and event.
type ReplyHeader struct {
	Xid  int32
	Zxid int64
	Err  ErrCode
}

// Append appends the encoded header to b.
func (h ReplyHeader) Append(b []byte) []byte {
	b = AppendInt32(b, h.Xid)
	b = AppendInt64(b, h.Zxid)
	return AppendInt32(b, int32(h.Err))
}

// Decode reads a ReplyHeader.
func (h *ReplyHeader) Decode(d *Decoder) {
	h.Xid, h.Zxid, h.Err = d.Int32(), d.Int64(), ErrCode(d.Int32())
}

// MultiHeader precedes each part of a multi, in requests and in replies.
type MultiHeader struct {
	Type OpCode
	Done bool
	Err  int32
}

// MultiEnd terminates a multi.
var MultiEnd = MultiHeader{Type: OpError, Done: true, Err: -1}

// Decode reads a MultiHeader.
func (h *MultiHeader) Decode(d *Decoder) {
	h.Type, h.Done, h.Err = OpCode(d.Int32()), d.Bool(), d.Int32()
}

// Append appends the encoded header to b.
func (h MultiHeader) Append(b []byte) []byte {
	b = AppendInt32(b, int32(h.Type))
	b = AppendBool(b, h.Done)
	return AppendInt32(b, h.Err)
}

// AppendEvent appends a whole watch event frame, length included.
func AppendEvent(b []byte, zxid int64, typ EventType, path string) []byte {
	b, mark := BeginFrame(b)
	b = ReplyHeader{Xid: XidWatchEvent, Zxid: zxid}.Append(b)
	b = AppendInt32(b, int32(typ))
	b = AppendInt32(b, StateSyncConnected)
	b = AppendString(b, path)
	EndFrame(b, mark)
	return b
}
