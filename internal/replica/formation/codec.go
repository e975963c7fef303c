package formation

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The encoding: a byte that names the format (and with it the version), flags,
// unsigned varints, strings with their length in front. Every list and string
// has a bound that holds on both sides, so that a decoder never allocates more
// than a small multiple of what it was given.

func bit(set bool, n uint) byte {
	if set {
		return 1 << n
	}
	return 0
}

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// appendString cuts what exceeds max, at the start of a character.
func appendString(b []byte, s string, max int) []byte {
	if len(s) > max {
		for max > 0 && !utf8.RuneStart(s[max]) {
			max--
		}
		s = s[:max]
	}
	b = appendUint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads an encoding from the front. The first error stays; after it
// every method returns zero values.
type decoder struct {
	what string
	p    []byte
	off  int
	err  error
}

func newDecoder(what string, p []byte, format byte) *decoder {
	d := &decoder{what: what, p: p}
	if len(p) > MaxMessage {
		d.fail("it has %d bytes, the bound is %d", len(p), MaxMessage)
		return d
	}
	if got := d.byte(); d.err == nil && got != format {
		d.fail("format %#x, expected %#x", got, format)
	}
	return d
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("formation: %s: at byte %d: %s", d.what, d.off, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) byte() byte {
	if d.err != nil {
		return 0
	}
	if d.off >= len(d.p) {
		d.fail("it ends too early")
		return 0
	}
	d.off++
	return d.p[d.off-1]
}

func (d *decoder) uint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.p[d.off:])
	if n <= 0 {
		d.fail("not a number")
		return 0
	}
	d.off += n
	return v
}

func (d *decoder) count(max int) int {
	v := d.uint()
	if v > uint64(max) {
		d.fail("a list of %d, the bound is %d", v, max)
		return 0
	}
	return int(v)
}

func (d *decoder) string(max int) string {
	n := d.count(max)
	if d.err != nil {
		return ""
	}
	if n > len(d.p)-d.off {
		d.fail("a text of %d bytes, %d are left", n, len(d.p)-d.off)
		return ""
	}
	d.off += n
	return string(d.p[d.off-n : d.off])
}

func (d *decoder) bytes(into []byte) {
	if d.err != nil {
		return
	}
	if len(into) > len(d.p)-d.off {
		d.fail("it ends too early")
		return
	}
	d.off += copy(into, d.p[d.off:])
}

// flags refuses bits beyond the known ones: they would mean something that
// this version does not understand.
func (d *decoder) flags(got byte, known uint) {
	if got>>known != 0 {
		d.fail("unknown flags %#x", got)
	}
}

func (d *decoder) finish() error {
	if d.err == nil && d.off != len(d.p) {
		d.fail("%d bytes are left over", len(d.p)-d.off)
	}
	return d.err
}
