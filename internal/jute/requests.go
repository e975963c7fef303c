package jute

// CreateRequest is the body of create, create2, createContainer and (with
// TTL) createTTL.
type CreateRequest struct {
	Path string
	Data []byte
	ACL  []ACL
	Mode CreateMode
	TTL  int64 // milliseconds; only on the wire of createTTL
}

// Decode reads the body of op.
func (r *CreateRequest) Decode(d *Decoder, op OpCode) {
	r.Path, r.Data, r.ACL, r.Mode = d.Path(), d.Buffer(), DecodeACLs(d), CreateMode(d.Int32())
	r.TTL = 0
	if op == OpCreateTTL {
		r.TTL = d.Int64()
	}
}

// Append appends the body of op to b.
func (r *CreateRequest) Append(b []byte, op OpCode) []byte {
	b = AppendString(b, r.Path)
	b = AppendBuffer(b, r.Data)
	b = AppendACLs(b, r.ACL)
	b = AppendInt32(b, int32(r.Mode))
	if op == OpCreateTTL {
		b = AppendInt64(b, r.TTL)
	}
	return b
}

// PathVersionRequest is the body of delete and check; a version of -1 matches
// any.
type PathVersionRequest struct {
	Path    string
	Version int32
}

// Decode reads the body.
func (r *PathVersionRequest) Decode(d *Decoder) { r.Path, r.Version = d.Path(), d.Int32() }

// Append appends the body to b.
func (r *PathVersionRequest) Append(b []byte) []byte {
	return AppendInt32(AppendString(b, r.Path), r.Version)
}

// PathWatchRequest is the body of exists, getData, getChildren and
// getChildren2.
type PathWatchRequest struct {
	Path  string
	Watch bool
}

// Decode reads the body.
func (r *PathWatchRequest) Decode(d *Decoder) { r.Path, r.Watch = d.Path(), d.Bool() }

// Append appends the body to b.
func (r *PathWatchRequest) Append(b []byte) []byte {
	return AppendBool(AppendString(b, r.Path), r.Watch)
}

// SetDataRequest is the body of setData.
type SetDataRequest struct {
	Path    string
	Data    []byte
	Version int32
}

// Decode reads the body.
func (r *SetDataRequest) Decode(d *Decoder) {
	r.Path, r.Data, r.Version = d.String(), d.Buffer(), d.Int32()
}

// Append appends the body to b.
func (r *SetDataRequest) Append(b []byte) []byte {
	return AppendInt32(AppendBuffer(AppendString(b, r.Path), r.Data), r.Version)
}

// SetACLRequest is the body of setACL; Version is the aversion that it
// expects.
type SetACLRequest struct {
	Path    string
	ACL     []ACL
	Version int32
}

// Decode reads the body.
func (r *SetACLRequest) Decode(d *Decoder) {
	r.Path, r.ACL, r.Version = d.String(), DecodeACLs(d), d.Int32()
}

// Append appends the body to b.
func (r *SetACLRequest) Append(b []byte) []byte {
	return AppendInt32(AppendACLs(AppendString(b, r.Path), r.ACL), r.Version)
}

// PathRequest is the body of getACL, sync, getEphemerals (a prefix) and
// getAllChildrenNumber. sync and getEphemerals read it by themselves, since
// a path of length -1 is an empty one to them.
type PathRequest struct{ Path string }

// Decode reads the body.
func (r *PathRequest) Decode(d *Decoder) { r.Path = d.Path() }

// Append appends the body to b.
func (r *PathRequest) Append(b []byte) []byte { return AppendString(b, r.Path) }

// WatchSelection is the body of addWatch (Kind is an AddWatchMode) and of
// checkWatches and removeWatches (Kind is a WatcherType).
type WatchSelection struct {
	Path string
	Kind int32
}

// Decode reads the body.
func (r *WatchSelection) Decode(d *Decoder) { r.Path, r.Kind = d.String(), d.Int32() }

// Append appends the body to b.
func (r *WatchSelection) Append(b []byte) []byte { return AppendInt32(AppendString(b, r.Path), r.Kind) }

// AuthRequest is the body of auth.
type AuthRequest struct {
	Type   int32
	Scheme string
	Auth   []byte
}

// Decode reads the body.
func (r *AuthRequest) Decode(d *Decoder) {
	r.Type, r.Scheme, r.Auth = d.Int32(), d.String(), d.Buffer()
}

// Append appends the body to b.
func (r *AuthRequest) Append(b []byte) []byte {
	return AppendBuffer(AppendString(AppendInt32(b, r.Type), r.Scheme), r.Auth)
}

// SetWatchesRequest is the body of setWatches and setWatches2 (which adds the
// last two vectors): what a client watches, sent after it re-attached.
type SetWatchesRequest struct {
	RelativeZxid        int64
	Data, Exist, Child  []string
	Persistent, Recurse []string
}

// Decode reads the body of op.
func (r *SetWatchesRequest) Decode(d *Decoder, op OpCode) {
	r.RelativeZxid = d.Int64()
	r.Data, r.Exist, r.Child = d.Strings(), d.Strings(), d.Strings()
	r.Persistent, r.Recurse = nil, nil
	if op == OpSetWatches2 {
		r.Persistent, r.Recurse = d.Strings(), d.Strings()
	}
}

// Append appends the body of op to b.
func (r *SetWatchesRequest) Append(b []byte, op OpCode) []byte {
	b = AppendInt64(b, r.RelativeZxid)
	b = AppendStrings(b, r.Data)
	b = AppendStrings(b, r.Exist)
	b = AppendStrings(b, r.Child)
	if op == OpSetWatches2 {
		b = AppendStrings(b, r.Persistent)
		b = AppendStrings(b, r.Recurse)
	}
	return b
}

// ReconfigRequest is the body of reconfig.
type ReconfigRequest struct {
	Joining, Leaving, NewMembers string
	CurConfigID                  int64
}

// Decode reads the body.
func (r *ReconfigRequest) Decode(d *Decoder) {
	r.Joining, r.Leaving, r.NewMembers, r.CurConfigID = d.String(), d.String(), d.String(), d.Int64()
}

// Append appends the body to b.
func (r *ReconfigRequest) Append(b []byte) []byte {
	b = AppendString(b, r.Joining)
	b = AppendString(b, r.Leaving)
	b = AppendString(b, r.NewMembers)
	return AppendInt64(b, r.CurConfigID)
}
