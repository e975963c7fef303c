package jute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// ErrShort is returned when a record ends before its fields do.
var ErrShort = errors.New("jute: record is shorter than its fields")

// Decoder reads jute primitives from a byte slice.
//
// The first failure sticks: later reads return zero values, and Err reports
// what went wrong and at which offset. A caller decodes a whole record and
// looks at Err once.
//
// Byte slices and strings that it returns are views into the input. Whoever
// keeps one longer than the input lives must clone it.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder returns a decoder over b.
func NewDecoder(b []byte) Decoder { return Decoder{buf: b} }

// Err returns the first failure, or nil.
func (d *Decoder) Err() error { return d.err }

// Remaining returns how many bytes have not been read.
func (d *Decoder) Remaining() int { return len(d.buf) - d.off }

// Offset returns how many bytes have been read.
func (d *Decoder) Offset() int { return d.off }

// Rest returns the bytes not yet read, without consuming them.
func (d *Decoder) Rest() []byte { return d.buf[d.off:] }

// Fail records err as the decoder's failure unless one is recorded already.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.buf)-d.off {
		d.err = fmt.Errorf("%w: %d bytes wanted at offset %d, %d left", ErrShort, n, d.off, len(d.buf)-d.off)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

// Int32 reads a big-endian signed 32-bit integer.
func (d *Decoder) Int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 reads a big-endian signed 64-bit integer.
func (d *Decoder) Int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Bool reads one byte; anything but 0 is true.
func (d *Decoder) Bool() bool {
	b := d.take(1)
	return b != nil && b[0] != 0
}

// Buffer reads a length-prefixed byte string as a view. A length of -1 is a
// nil buffer, as jute writes one; any other negative length is an error.
func (d *Decoder) Buffer() []byte {
	n := d.Int32()
	if d.err != nil || n == -1 {
		return nil
	}
	if n < 0 {
		d.err = fmt.Errorf("jute: negative length %d at offset %d", n, d.off-4)
		return nil
	}
	return d.take(int(n))
}

// String reads a length-prefixed string as a view into the input. It does not
// check that it is UTF-8: that is for whoever knows what the string means.
func (d *Decoder) String() string { return view(d.Buffer()) }

// Path reads a string that has to be there: one of length -1 is an error, where
// String reads it as empty.
func (d *Decoder) Path() string {
	b := d.Buffer()
	if b == nil && d.err == nil {
		d.err = fmt.Errorf("jute: a path of negative length -1 at offset %d", d.off-4)
	}
	return view(b)
}

// Count reads the count of a vector whose elements take at least elemSize
// bytes each. A count of -1 (jute's nil vector) reads as 0. Negative counts,
// and counts that the rest of the record can't hold, are errors, so that no
// one allocates what a hostile count asks for.
func (d *Decoder) Count(elemSize int) int {
	n := d.Int32()
	switch {
	case d.err != nil || n == -1:
		return 0
	case n < 0:
		d.err = fmt.Errorf("jute: negative vector count %d at offset %d", n, d.off-4)
		return 0
	case int64(n)*int64(elemSize) > int64(d.Remaining()):
		d.err = fmt.Errorf("%w: vector of %d elements at offset %d, %d bytes left", ErrShort, n, d.off-4, d.Remaining())
		return 0
	}
	return int(n)
}

// Strings reads a vector of strings.
func (d *Decoder) Strings() []string {
	n := d.Count(4)
	if n == 0 {
		return nil
	}
	out := make([]string, 0, n)
	for range n {
		out = append(out, d.String())
	}
	if d.err != nil {
		return nil
	}
	return out
}

// view returns b as a string without copying.
func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// The Append functions write one primitive behind b and return the longer
// slice.

// AppendInt32 appends v in big-endian order.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendInt64 appends v in big-endian order.
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendBool appends one byte, 1 or 0.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendBuffer appends a length-prefixed byte string; nil is length -1.
func AppendBuffer(b, v []byte) []byte {
	if v == nil {
		return AppendInt32(b, -1)
	}
	return append(AppendInt32(b, int32(len(v))), v...)
}

// AppendString appends a length-prefixed string.
func AppendString(b []byte, v string) []byte {
	return append(AppendInt32(b, int32(len(v))), v...)
}

// AppendStrings appends a vector of strings.
func AppendStrings(b []byte, v []string) []byte {
	b = AppendInt32(b, int32(len(v)))
	for _, s := range v {
		b = AppendString(b, s)
	}
	return b
}

// BeginFrame appends room for a frame's length and returns the slice and the
// mark that EndFrame wants.
func BeginFrame(b []byte) ([]byte, int) { return append(b, 0, 0, 0, 0), len(b) }

// EndFrame writes the length of everything behind mark into the room that
// BeginFrame made.
func EndFrame(b []byte, mark int) {
	binary.BigEndian.PutUint32(b[mark:], uint32(len(b)-mark-4))
}
