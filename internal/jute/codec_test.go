package jute

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// unhex reads bytes written as hex, spaced as it reads best. A word in single
// quotes stands for its letters.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for _, f := range strings.Fields(s) {
		if len(f) >= 2 && f[0] == '\'' && f[len(f)-1] == '\'' {
			out = append(out, f[1:len(f)-1]...)
			continue
		}
		b, err := hex.DecodeString(f)
		if err != nil {
			t.Fatalf("%q in a test vector: %v", f, err)
		}
		out = append(out, b...)
	}
	return out
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestPrimitives(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		read        func(*Decoder) any
		want        any
		write       func([]byte) []byte // nil where jute writes it another way
	}{
		{"int32", "00000001", func(d *Decoder) any { return d.Int32() }, int32(1),
			func(b []byte) []byte { return AppendInt32(b, 1) }},
		{"int32 is signed", "80000000", func(d *Decoder) any { return d.Int32() }, int32(math.MinInt32),
			func(b []byte) []byte { return AppendInt32(b, math.MinInt32) }},
		{"int64", "0102030405060708", func(d *Decoder) any { return d.Int64() }, int64(0x0102030405060708),
			func(b []byte) []byte { return AppendInt64(b, 0x0102030405060708) }},
		{"int64 is signed", "ffffffffffffffff", func(d *Decoder) any { return d.Int64() }, int64(-1),
			func(b []byte) []byte { return AppendInt64(b, -1) }},
		{"true", "01", func(d *Decoder) any { return d.Bool() }, true,
			func(b []byte) []byte { return AppendBool(b, true) }},
		{"false", "00", func(d *Decoder) any { return d.Bool() }, false,
			func(b []byte) []byte { return AppendBool(b, false) }},
		{"any other bool is true", "80", func(d *Decoder) any { return d.Bool() }, true, nil},
		{"buffer", "00000003 00ff80", func(d *Decoder) any { return d.Buffer() }, []byte{0, 0xff, 0x80},
			func(b []byte) []byte { return AppendBuffer(b, []byte{0, 0xff, 0x80}) }},
		{"empty buffer", "00000000", func(d *Decoder) any { return d.Buffer() }, []byte{},
			func(b []byte) []byte { return AppendBuffer(b, []byte{}) }},
		{"nil buffer", "ffffffff", func(d *Decoder) any { return d.Buffer() }, []byte(nil),
			func(b []byte) []byte { return AppendBuffer(b, nil) }},
		{"string", "00000004 '/' c3bc '!'", func(d *Decoder) any { return d.String() }, "/ü!",
			func(b []byte) []byte { return AppendString(b, "/ü!") }},
		{"empty string", "00000000", func(d *Decoder) any { return d.String() }, "",
			func(b []byte) []byte { return AppendString(b, "") }},
		{"nil string is empty", "ffffffff", func(d *Decoder) any { return d.String() }, "", nil},
		{"string that is not UTF-8", "00000002 c328", func(d *Decoder) any { return d.String() }, "\xc3(",
			func(b []byte) []byte { return AppendString(b, "\xc3(") }},
		{"strings", "00000002 00000002 '/a' 00000000", func(d *Decoder) any { return d.Strings() }, []string{"/a", ""},
			func(b []byte) []byte { return AppendStrings(b, []string{"/a", ""}) }},
		{"no strings", "00000000", func(d *Decoder) any { return d.Strings() }, []string(nil),
			func(b []byte) []byte { return AppendStrings(b, nil) }},
		{"nil strings are none", "ffffffff", func(d *Decoder) any { return d.Strings() }, []string(nil), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := unhex(t, c.bytes)
			d := NewDecoder(append(bytes.Clone(in), 0xee))
			if got := c.read(&d); !reflect.DeepEqual(got, c.want) || d.Err() != nil {
				t.Errorf("read %#v (%v), want %#v", got, d.Err(), c.want)
			}
			if d.Offset() != len(in) || d.Remaining() != 1 || !bytes.Equal(d.Rest(), []byte{0xee}) {
				t.Errorf("after the value: offset %d, %d remaining, rest %x", d.Offset(), d.Remaining(), d.Rest())
			}
			if c.write != nil {
				if got := c.write([]byte{0xdd}); !bytes.Equal(got, append([]byte{0xdd}, in...)) {
					t.Errorf("written behind dd: %x, want dd%x", got, in)
				}
			}
			for n := range in {
				d := NewDecoder(in[:n])
				if c.read(&d); !errors.Is(d.Err(), ErrShort) {
					t.Errorf("cut off after %d of %d bytes: %v, want ErrShort", n, len(in), d.Err())
				}
			}
		})
	}
}

// What a hostile length or count says is never believed before it is checked
// against what is there: no decoder allocates for it.
func TestHostileLengths(t *testing.T) {
	reads := map[string]func(*Decoder) bool{ // true: something was read
		"Buffer":     func(d *Decoder) bool { return d.Buffer() != nil },
		"String":     func(d *Decoder) bool { return d.String() != "" },
		"Strings":    func(d *Decoder) bool { return d.Strings() != nil },
		"DecodeACLs": func(d *Decoder) bool { return DecodeACLs(d) != nil },
		"Count(1)":   func(d *Decoder) bool { return d.Count(1) != 0 },
		"Count(max)": func(d *Decoder) bool { return d.Count(math.MaxInt32) != 0 },
	}
	for _, c := range []struct{ name, length, message string }{
		{"minus two", "fffffffe", "negative"},
		{"smallest", "80000000", "negative"},
		{"largest", "7fffffff", "2147483647"},
		{"one too many", "00000011", "17"},
	} {
		in := append(unhex(t, c.length), bytes.Repeat([]byte{0}, 16)...)
		for name, read := range reads {
			d := NewDecoder(in)
			var got bool
			if n := allocated(func() { got = read(&d) }); n > 4096 {
				t.Errorf("%s of %s: allocates %d bytes", name, c.name, n)
			}
			if got || d.Err() == nil || !strings.Contains(d.Err().Error(), c.message) {
				t.Errorf("%s of %s: read something: %v, error %v, want one that names %q", name, c.name, got, d.Err(), c.message)
			}
			if wantShort := c.message != "negative"; errors.Is(d.Err(), ErrShort) != wantShort {
				t.Errorf("%s of %s: ErrShort is %v, want %v: %v", name, c.name, !wantShort, wantShort, d.Err())
			}
		}
	}
}

// jute's nil string is the empty string to most, but a path has to be there.
func TestPathHasToBeThere(t *testing.T) {
	for _, r := range []interface{ Decode(*Decoder) }{&PathRequest{}, &PathWatchRequest{}, &PathVersionRequest{}} {
		in := AppendInt32(AppendInt32(nil, -1), 0)
		d := NewDecoder(in)
		if r.Decode(&d); d.Err() == nil {
			t.Errorf("%T: a path of length -1 was taken for one", r)
		}
		in = AppendInt32(AppendString(nil, ""), 0)
		d = NewDecoder(in)
		if r.Decode(&d); d.Err() != nil {
			t.Errorf("%T: the empty path: %v", r, d.Err())
		}
	}
}

// A full request of the emptiest elements costs a small multiple of its size.
func TestDecodingCostsNoMoreThanItsInput(t *testing.T) {
	in := make([]byte, DefaultMaxBuffer)
	count := func(elem int) []byte {
		copy(in, AppendInt32(nil, int32((len(in)-4)/elem)))
		return in
	}
	for name, c := range map[string]struct {
		elem int
		read func(*Decoder) int
	}{
		"strings": {4, func(d *Decoder) int { return len(d.Strings()) }},
		"ACLs":    {12, func(d *Decoder) int { return len(DecodeACLs(d)) }},
	} {
		d := NewDecoder(count(c.elem))
		var got int
		if n := allocated(func() { got = c.read(&d) }); n > 5*DefaultMaxBuffer {
			t.Errorf("%s: %d bytes allocated for a request of %d", name, n, len(in))
		}
		if want := (len(in) - 4) / c.elem; got != want || d.Err() != nil {
			t.Errorf("%s: read %d (%v), want %d", name, got, d.Err(), want)
		}
	}
}

func TestFirstFailureSticks(t *testing.T) {
	d := NewDecoder(unhex(t, "00000009 00000001"))
	d.Buffer()
	err := d.Err()
	if err == nil || !strings.Contains(err.Error(), "offset 4") {
		t.Fatalf("error %v, want one that names offset 4", err)
	}
	if v := d.Int32(); v != 0 {
		t.Errorf("a read after the failure returns %d", v)
	}
	if d.Int64() != 0 || d.Bool() || d.Buffer() != nil || d.String() != "" || d.Strings() != nil || d.Count(0) != 0 || DecodeACLs(&d) != nil {
		t.Error("a read after the failure returns something")
	}
	d.Fail(errors.New("a later one"))
	if d.Err() != err || d.Offset() != 4 {
		t.Errorf("now the error is %v at offset %d, want %v at 4", d.Err(), d.Offset(), err)
	}

	d = NewDecoder(unhex(t, "00000001"))
	mine := errors.New("mine")
	d.Fail(mine)
	if d.Int32() != 0 || d.Err() != mine {
		t.Errorf("after Fail: error %v, want %v", d.Err(), mine)
	}
}

// Appending to what a decoder returned must not write into the input.
func TestBuffersAreClosedViews(t *testing.T) {
	in := unhex(t, "00000002 'ab' 00000001 'c'")
	d := NewDecoder(in)
	v := d.Buffer()
	if &v[0] != &in[4] {
		t.Error("a buffer is a copy of the input, want a view")
	}
	_ = append(v, "xxxx"...)
	if s := d.String(); s != "c" {
		t.Errorf("the next field reads %q, want \"c\"", s)
	}
}

func TestFrames(t *testing.T) {
	b := []byte{0xaa}
	b, mark := BeginFrame(b)
	b = append(b, "abc"...)
	EndFrame(b, mark)
	b, mark = BeginFrame(b)
	EndFrame(b, mark)
	if want := unhex(t, "aa 00000003 'abc' 00000000"); !bytes.Equal(b, want) {
		t.Errorf("two frames behind aa: %x, want %x", b, want)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		OpCreate2.String(): "create2", OpCloseSession.String(): "closeSession", OpCode(77).String(): "op(77)",
		ErrNoNode.Error(): "NoNode", OK.Error(): "OK", ErrCode(-9).Error(): "error(-9)",
		EventNodeChildrenChanged.String(): "NodeChildrenChanged", EventType(9).String(): "event(9)",
	} {
		if got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

func TestCreateModes(t *testing.T) {
	for m, want := range map[CreateMode]string{
		-1: "", ModePersistent: "valid", ModeEphemeral: "valid ephemeral", ModePersistentSequential: "valid sequential",
		ModeEphemeralSequential: "valid sequential ephemeral", ModeContainer: "valid", ModeTTL: "valid ttl",
		ModeTTLSequential: "valid sequential ttl", 7: "",
	} {
		var is []string
		for _, p := range []struct {
			name string
			is   bool
		}{{"valid", m.Valid()}, {"sequential", m.Sequential()}, {"ephemeral", m.Ephemeral()}, {"ttl", m.TTL()}} {
			if p.is {
				is = append(is, p.name)
			}
		}
		if got := strings.Join(is, " "); got != want {
			t.Errorf("mode %d is %q, want %q", m, got, want)
		}
	}
}
