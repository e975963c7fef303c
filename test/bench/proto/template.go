package proto

// Template is a request that is sent many times: only its transaction number
// and, where it carries data, the data change.
type Template struct {
	frame []byte
	data  int // where the data begins, 0 without any
}

// SetTemplate prepares setData requests that carry size bytes.
func SetTemplate(path string, size int) Template {
	frame := AppendSet(nil, 0, path, make([]byte, size))
	return Template{frame, HeaderLen + 4 + len(path) + 4}
}

// ReadTemplate prepares an exists, getData or getChildren.
func ReadTemplate(op int32, path string, watch bool) Template {
	return Template{frame: AppendRead(nil, 0, op, path, watch)}
}

// Append appends the request under the number xid.
func (t Template) Append(b []byte, xid int32) []byte {
	at := len(b)
	b = append(b, t.frame...)
	be.PutUint32(b[at+4:], uint32(xid))
	return b
}

// AppendData is Append for a request with data; the caller fills the returned
// part of the buffer before it appends anything else.
func (t Template) AppendData(b []byte, xid int32, size int) (out, data []byte) {
	out = t.Append(b, xid)
	at := len(out) - len(t.frame) + t.data
	return out, out[at : at+size]
}
