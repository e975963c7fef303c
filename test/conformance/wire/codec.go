package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Writer builds the body of one frame.
type Writer struct{ buf []byte }

// Bytes returns what was written so far.
func (w *Writer) Bytes() []byte { return w.buf }

// Raw appends b as it is.
func (w *Writer) Raw(b []byte) *Writer { w.buf = append(w.buf, b...); return w }

// Byte appends one byte.
func (w *Writer) Byte(b byte) *Writer { w.buf = append(w.buf, b); return w }

// Bool appends one byte, 0 or 1.
func (w *Writer) Bool(b bool) *Writer {
	if b {
		return w.Byte(1)
	}
	return w.Byte(0)
}

// Int appends a big-endian 32-bit number.
func (w *Writer) Int(v int32) *Writer {
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(v))
	return w
}

// Long appends a big-endian 64-bit number.
func (w *Writer) Long(v int64) *Writer {
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(v))
	return w
}

// Buffer appends a length and the bytes; nil is written as length -1.
func (w *Writer) Buffer(b []byte) *Writer {
	if b == nil {
		return w.Int(-1)
	}
	return w.Int(int32(len(b))).Raw(b)
}

// String appends a length and the text.
func (w *Writer) String(s string) *Writer { return w.Int(int32(len(s))).Raw([]byte(s)) }

// Strings appends a vector of strings.
func (w *Writer) Strings(ss ...string) *Writer {
	w.Int(int32(len(ss)))
	for _, s := range ss {
		w.String(s)
	}
	return w
}

// ACL is one entry of an access list.
type ACL struct {
	Perms      int32
	Scheme, ID string
}

// OpenACL grants everything to everybody.
var OpenACL = []ACL{{31, "world", "anyone"}}

// ACLs appends a vector of access list entries; nil is written as length -1.
func (w *Writer) ACLs(acls []ACL) *Writer {
	if acls == nil {
		return w.Int(-1)
	}
	w.Int(int32(len(acls)))
	for _, a := range acls {
		w.Int(a.Perms).String(a.Scheme).String(a.ID)
	}
	return w
}

// Reader takes the body of one frame apart. The first read beyond the end sets
// Err, and every later read returns zero values.
type Reader struct {
	buf []byte
	off int
	err error
}

// NewReader reads from b.
func NewReader(b []byte) *Reader { return &Reader{buf: b} }

// Err returns the first failure.
func (r *Reader) Err() error { return r.err }

// Rest returns the bytes that have not been read.
func (r *Reader) Rest() []byte { return r.buf[r.off:] }

// Done fails when a read went wrong or when bytes are left over.
func (r *Reader) Done() error {
	if r.err != nil {
		return r.err
	}
	if n := len(r.buf) - r.off; n != 0 {
		return fmt.Errorf("%d bytes left over at the end: %x", n, r.Rest())
	}
	return nil
}

func (r *Reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.buf)-r.off) {
		r.err = fmt.Errorf("want %d bytes at offset %d of a %d-byte body", n, r.off, len(r.buf))
	}
	if r.err != nil {
		return make([]byte, 8) // enough for every fixed-size read
	}
	b := r.buf[r.off : r.off+n]
	r.off += n
	return b
}

// Byte reads one byte.
func (r *Reader) Byte() byte { return r.take(1)[0] }

// Bool reads one byte as a truth value.
func (r *Reader) Bool() bool { return r.Byte() != 0 }

// Int reads a 32-bit number.
func (r *Reader) Int() int32 { return int32(binary.BigEndian.Uint32(r.take(4))) }

// Long reads a 64-bit number.
func (r *Reader) Long() int64 { return int64(binary.BigEndian.Uint64(r.take(8))) }

// Buffer reads a length and as many bytes; length -1 is nil.
func (r *Reader) Buffer() []byte {
	n := r.Int()
	if n == -1 || r.err != nil {
		return nil
	}
	return append([]byte{}, r.take(int(n))...)
}

// String reads a length and as much text.
func (r *Reader) String() string { return string(r.Buffer()) }

// count reads the length of a vector whose elements take at least size bytes.
func (r *Reader) count(size int) int {
	n := r.Int()
	if r.err == nil && (n < -1 || int64(n)*int64(size) > math.MaxInt32) {
		r.err = fmt.Errorf("vector of %d elements at offset %d", n, r.off-4)
	}
	if r.err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// Strings reads a vector of strings.
func (r *Reader) Strings() []string {
	var out []string
	for i := r.count(4); i > 0 && r.err == nil; i-- {
		out = append(out, r.String())
	}
	return out
}

// ACLs reads a vector of access list entries.
func (r *Reader) ACLs() []ACL {
	var out []ACL
	for i := r.count(12); i > 0 && r.err == nil; i-- {
		out = append(out, ACL{r.Int(), r.String(), r.String()})
	}
	return out
}

// Stat is a node's metadata, in the order of the wire.
type Stat struct {
	Czxid, Mzxid, Ctime, Mtime  int64
	Version, Cversion, Aversion int32
	EphemeralOwner              int64
	DataLength, NumChildren     int32
	Pzxid                       int64
}

// Stat reads a node's metadata.
func (r *Reader) Stat() Stat {
	return Stat{
		Czxid: r.Long(), Mzxid: r.Long(), Ctime: r.Long(), Mtime: r.Long(),
		Version: r.Int(), Cversion: r.Int(), Aversion: r.Int(),
		EphemeralOwner: r.Long(),
		DataLength:     r.Int(), NumChildren: r.Int(),
		Pzxid: r.Long(),
	}
}
