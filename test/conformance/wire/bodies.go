package wire

import "fmt"

// CreateBody is the body of create, create2 and createContainer.
func CreateBody(path string, data []byte, acl []ACL, flags int32) []byte {
	return new(Writer).String(path).Buffer(data).ACLs(acl).Int(flags).Bytes()
}

// CreateTTLBody is the body of createTTL; ttl is in milliseconds.
func CreateTTLBody(path string, data []byte, acl []ACL, flags int32, ttl int64) []byte {
	return new(Writer).Raw(CreateBody(path, data, acl, flags)).Long(ttl).Bytes()
}

// VersionBody is the body of delete and check.
func VersionBody(path string, version int32) []byte {
	return new(Writer).String(path).Int(version).Bytes()
}

// SetDataBody is the body of setData.
func SetDataBody(path string, data []byte, version int32) []byte {
	return new(Writer).String(path).Buffer(data).Int(version).Bytes()
}

// SetACLBody is the body of setACL.
func SetACLBody(path string, acl []ACL, version int32) []byte {
	return new(Writer).String(path).ACLs(acl).Int(version).Bytes()
}

// WatchBody is the body of every read that can leave a watch: exists, getData,
// getChildren, getChildren2.
func WatchBody(path string, watch bool) []byte {
	return new(Writer).String(path).Bool(watch).Bytes()
}

// PathBody is the body of getACL, sync, getEphemerals and getAllChildrenNumber.
func PathBody(path string) []byte { return new(Writer).String(path).Bytes() }

// PathIntBody is the body of checkWatches, removeWatches and addWatch.
func PathIntBody(path string, n int32) []byte { return new(Writer).String(path).Int(n).Bytes() }

// AuthBody is the body of auth.
func AuthBody(scheme string, auth []byte) []byte {
	return new(Writer).Int(0).String(scheme).Buffer(auth).Bytes()
}

// SetWatchesBody is the body of setWatches (three lists) and of setWatches2
// (five lists).
func SetWatchesBody(relativeZxid int64, lists ...[]string) []byte {
	w := new(Writer).Long(relativeZxid)
	for _, l := range lists {
		w.Strings(l...)
	}
	return w.Bytes()
}

// MultiOp is one operation of a multi or multiRead.
type MultiOp struct {
	Type int32
	Body []byte
}

// MultiBody is the body of multi and multiRead.
func MultiBody(ops ...MultiOp) []byte {
	w := new(Writer)
	for _, op := range ops {
		w.Int(op.Type).Bool(false).Int(-1).Raw(op.Body)
	}
	return w.Int(-1).Bool(true).Int(-1).Bytes()
}

// MultiResult is one element of a multi's reply. Which fields are set follows
// from Type.
type MultiResult struct {
	Type     int32
	Err      int32 // of the header; for OpError also the body, which has to agree
	Path     string
	Stat     Stat
	Data     []byte
	Children []string
}

// DecodeMulti takes the reply of a multi or multiRead apart, down to its last
// byte.
func DecodeMulti(body []byte) ([]MultiResult, error) {
	r := NewReader(body)
	var out []MultiResult
	for {
		m := MultiResult{Type: r.Int()}
		done := r.Bool()
		m.Err = r.Int()
		if r.Err() != nil {
			return out, r.Err()
		}
		if done {
			if m.Type != -1 || m.Err != -1 {
				return out, fmt.Errorf("terminator has type %d and error %d, want -1 and -1", m.Type, m.Err)
			}
			return out, r.Done()
		}
		switch m.Type {
		case OpError:
			if inner := r.Int(); inner != m.Err {
				return out, fmt.Errorf("result %d: error %d in the header, %d in the body", len(out), m.Err, inner)
			}
		case OpCreate:
			m.Path = r.String()
		case OpCreate2:
			m.Path, m.Stat = r.String(), r.Stat()
		case OpSetData:
			m.Stat = r.Stat()
		case OpDelete, OpCheck:
		case OpGetData:
			m.Data, m.Stat = r.Buffer(), r.Stat()
		case OpGetChildren:
			m.Children = r.Strings()
		default:
			return out, fmt.Errorf("result %d has the unexpected type %d", len(out), m.Type)
		}
		if r.Err() != nil {
			return out, r.Err()
		}
		out = append(out, m)
	}
}
