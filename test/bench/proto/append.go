package proto

import "encoding/binary"

var be = binary.BigEndian

// begin appends a frame's start with an open length; end closes it.
func begin(b []byte, xid, op int32) ([]byte, int) {
	at := len(b)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(xid))
	return be.AppendUint32(b, uint32(op)), at
}

func end(b []byte, at int) []byte {
	be.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(be.AppendUint32(b, uint32(len(s))), s...)
}

func appendBytes(b, v []byte) []byte {
	return append(be.AppendUint32(b, uint32(len(v))), v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendOpenACL appends the list of one entry that permits everybody everything.
func appendOpenACL(b []byte) []byte {
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 31)
	b = appendString(b, "world")
	return appendString(b, "anyone")
}

// Session is what re-attaching a session takes. The zero value asks for a new
// one.
type Session struct {
	ID     int64
	Passwd [16]byte
}

// AppendConnect appends the first frame of a connection. timeout is in
// milliseconds.
func AppendConnect(b []byte, s Session, lastZxid int64, timeout int32) []byte {
	at := len(b)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, 0) // protocol version
	b = be.AppendUint64(b, uint64(lastZxid))
	b = be.AppendUint32(b, uint32(timeout))
	b = be.AppendUint64(b, uint64(s.ID))
	b = appendBytes(b, s.Passwd[:])
	return end(appendBool(b, false), at)
}

// AppendCreate appends a create with an open ACL.
func AppendCreate(b []byte, xid int32, path string, data []byte, flags int32) []byte {
	b, at := begin(b, xid, OpCreate)
	return end(appendCreateBody(b, path, data, flags), at)
}

func appendCreateBody(b []byte, path string, data []byte, flags int32) []byte {
	b = appendString(b, path)
	b = appendBytes(b, data)
	b = appendOpenACL(b)
	return be.AppendUint32(b, uint32(flags))
}

// AppendDelete appends a delete of any version.
func AppendDelete(b []byte, xid int32, path string) []byte {
	b, at := begin(b, xid, OpDelete)
	b = appendString(b, path)
	return end(be.AppendUint32(b, 0xffffffff), at)
}

// AppendSet appends a setData of any version.
func AppendSet(b []byte, xid int32, path string, data []byte) []byte {
	b, at := begin(b, xid, OpSetData)
	return end(appendSetBody(b, path, data), at)
}

func appendSetBody(b []byte, path string, data []byte) []byte {
	b = appendString(b, path)
	b = appendBytes(b, data)
	return be.AppendUint32(b, 0xffffffff)
}

// AppendRead appends an exists, getData or getChildren.
func AppendRead(b []byte, xid, op int32, path string, watch bool) []byte {
	b, at := begin(b, xid, op)
	b = appendString(b, path)
	return end(appendBool(b, watch), at)
}

// AppendPing appends a ping.
func AppendPing(b []byte) []byte {
	b, at := begin(b, XidPing, OpPing)
	return end(b, at)
}

// AppendClose appends the end of the session.
func AppendClose(b []byte, xid int32) []byte {
	b, at := begin(b, xid, OpClose)
	return end(b, at)
}

// Multi collects the parts of one transaction directly in a buffer.
type Multi struct {
	b  []byte
	at int
}

// BeginMulti starts a transaction behind b.
func BeginMulti(b []byte, xid int32) Multi {
	b, at := begin(b, xid, OpMulti)
	return Multi{b, at}
}

func (m *Multi) header(op int32, done bool) {
	m.b = be.AppendUint32(m.b, uint32(op))
	m.b = appendBool(m.b, done)
	m.b = be.AppendUint32(m.b, 0xffffffff)
}

// Create adds a create with an open ACL.
func (m *Multi) Create(path string, data []byte, flags int32) {
	m.header(OpCreate, false)
	m.b = appendCreateBody(m.b, path, data, flags)
}

// Set adds a setData of any version.
func (m *Multi) Set(path string, data []byte) {
	m.header(OpSetData, false)
	m.b = appendSetBody(m.b, path, data)
}

// Delete adds a delete of any version.
func (m *Multi) Delete(path string) {
	m.header(OpDelete, false)
	m.b = appendString(m.b, path)
	m.b = be.AppendUint32(m.b, 0xffffffff)
}

// End closes the transaction and returns the buffer.
func (m *Multi) End() []byte {
	m.header(-1, true)
	return end(m.b, m.at)
}
