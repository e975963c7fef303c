package proto

// Digits is the length of the number at the end of a numbered path.
const Digits = 8

// Template is a request that is sent many times: only its transaction number
// changes and, where it has them, the number at the end of its path and its data.
type Template struct {
	frame []byte
	// number and data are where these begin, 0 without them.
	number, data int
}

// SetTemplate prepares setData requests that carry size bytes.
func SetTemplate(path string, size int) Template {
	frame := AppendSet(nil, 0, path, make([]byte, size))
	return Template{frame: frame, data: HeaderLen + 4 + len(path) + 4}
}

// ReadTemplate prepares an exists, getData or getChildren.
func ReadTemplate(op int32, path string, watch bool) Template {
	return Template{frame: AppendRead(nil, 0, op, path, watch)}
}

// CreateTemplate prepares creates of nodes that carry size bytes; their paths are
// prefix and a number.
func CreateTemplate(prefix string, size int, flags int32) Template {
	path := AppendNumber([]byte(prefix), 0)
	frame := AppendCreate(nil, 0, string(path), make([]byte, size), flags)
	return Template{frame: frame, number: HeaderLen + 4 + len(prefix), data: HeaderLen + 4 + len(path) + 4}
}

// DeleteTemplate prepares deletes of any version of the nodes that a
// CreateTemplate creates.
func DeleteTemplate(prefix string) Template {
	path := AppendNumber([]byte(prefix), 0)
	return Template{frame: AppendDelete(nil, 0, string(path)), number: HeaderLen + 4 + len(prefix)}
}

// Append appends the request under the number xid.
func (t Template) Append(b []byte, xid int32) []byte {
	at := len(b)
	b = append(b, t.frame...)
	be.PutUint32(b[at+4:], uint32(xid))
	return b
}

// AppendNumbered is Append for a path that ends in n.
func (t Template) AppendNumbered(b []byte, xid int32, n uint32) []byte {
	at := len(b)
	b = t.Append(b, xid)
	putNumber(b[at+t.number:at+t.number+Digits], n)
	return b
}

// Data returns where the data of the request at the end of b lies, size bytes:
// the caller fills them before it appends anything else.
func (t Template) Data(b []byte, size int) []byte {
	at := len(b) - len(t.frame) + t.data
	return b[at : at+size]
}

// AppendNumber appends n as it stands at the end of a numbered path.
func AppendNumber(b []byte, n uint32) []byte {
	b = append(b, "00000000"...)
	putNumber(b[len(b)-Digits:], n)
	return b
}

func putNumber(b []byte, n uint32) {
	for i := Digits - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

// IsNumbered tells whether path is prefix and n.
func IsNumbered(path []byte, prefix string, n uint32) bool {
	if len(path) != len(prefix)+Digits || string(path[:len(prefix)]) != prefix {
		return false
	}
	for i := len(path) - 1; i >= len(prefix); i-- {
		if path[i] != byte('0'+n%10) {
			return false
		}
		n /= 10
	}
	return true
}
