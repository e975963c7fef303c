package jute

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// fuzzRecord feeds arbitrary bytes to the decoder of the test vectors named.
// Whatever is decoded without an error must be encoded and decoded to the same
// value; whatever is not must be refused for its length, without a panic.
// Fuzzing starts from the vectors, from what hostile lengths do to them, and
// from testdata/fuzz.
func fuzzRecord(f *testing.F, names ...string) {
	byName := make(map[string]record)
	for _, r := range records() {
		byName[r.name] = r
	}
	var kinds []record
	for i, name := range names {
		r, ok := byName[name]
		if !ok {
			f.Fatalf("no test vector is called %q", name)
		}
		kinds = append(kinds, r)
		in := unhex(f, r.bytes)
		f.Add(byte(i), in)
		for at := 0; at+4 <= len(in); at += 4 {
			for _, length := range []int32{-1, -2, math.MinInt32, math.MaxInt32, 1 << 20} {
				f.Add(byte(i), append(AppendInt32(bytes.Clone(in[:at]), length), in[at+4:]...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		r := kinds[int(kind)%len(kinds)]
		d := NewDecoder(in)
		got := r.decode(&d, nil)
		if d.Offset() < 0 || d.Remaining() < 0 || d.Offset()+d.Remaining() != len(in) {
			t.Fatalf("offset %d and %d remaining of %d bytes", d.Offset(), d.Remaining(), len(in))
		}
		if err := d.Err(); err != nil {
			if !errors.Is(err, ErrShort) && !strings.Contains(err.Error(), "negative") {
				t.Fatalf("refused for another reason than its length: %v", err)
			}
			return
		}
		out := r.append(nil, got)
		d = NewDecoder(out)
		if again := r.decode(&d, in); !reflect.DeepEqual(again, got) || d.Err() != nil || d.Remaining() != 0 {
			t.Fatalf("decoded %+v, encoded and decoded again %+v (%v, %d bytes left)", got, again, d.Err(), d.Remaining())
		}
		// Only nils, and bools other than 0 and 1, have a second encoding; none is longer than what jute writes.
		if len(out) > len(in) {
			t.Fatalf("%d bytes decoded, %d encoded", len(in), len(out))
		}
	})
}

func FuzzConnect(f *testing.F)     { fuzzRecord(f, "connect, with readOnly", "connect of an old client") }
func FuzzCreate(f *testing.F)      { fuzzRecord(f, "create", "createTTL", "create2", "createContainer") }
func FuzzPathVersion(f *testing.F) { fuzzRecord(f, "delete") }
func FuzzPathWatch(f *testing.F)   { fuzzRecord(f, "exists") }
func FuzzSetData(f *testing.F)     { fuzzRecord(f, "setData", "setData to nothing") }
func FuzzSetACL(f *testing.F)      { fuzzRecord(f, "setACL") }
func FuzzPath(f *testing.F)        { fuzzRecord(f, "sync") }
func FuzzWatch(f *testing.F)       { fuzzRecord(f, "addWatch") }
func FuzzAuth(f *testing.F)        { fuzzRecord(f, "auth") }
func FuzzSetWatches(f *testing.F)  { fuzzRecord(f, "setWatches", "setWatches2") }
func FuzzReconfig(f *testing.F)    { fuzzRecord(f, "reconfig") }
func FuzzMultiHeader(f *testing.F) { fuzzRecord(f, "multi header") }

// FuzzResponses covers what only clients decode: ours are the admin tools and
// the tests.
func FuzzResponses(f *testing.F) { fuzzRecord(f, "connect response", "reply header", "stat") }

// FuzzDecoder reads primitives in any order.
func FuzzDecoder(f *testing.F) {
	for _, r := range records() {
		f.Add([]byte("\x00\x01\x03\x04\x05\x06\x07"), unhex(f, r.bytes))
		f.Add([]byte("\x04\x03\x06\x00"), unhex(f, r.bytes))
	}
	f.Fuzz(func(t *testing.T, program, in []byte) {
		d := NewDecoder(in)
		for _, op := range program {
			before, failed := d.Offset(), d.Err()
			read := 0 // how many bytes what was read takes on the wire
			switch op % 7 {
			case 0:
				d.Int32()
				read = 4
			case 1:
				d.Int64()
				read = 8
			case 2:
				d.Bool()
				read = 1
			case 3:
				read = 4 + len(d.Buffer())
			case 4:
				read = 4 + len(d.String())
			case 5:
				for _, s := range d.Strings() {
					read += 4 + len(s)
				}
				read += 4
			case 6:
				for _, a := range DecodeACLs(&d) {
					read += 12 + len(a.ID.Scheme) + len(a.ID.ID)
				}
				read += 4
			}
			switch took := d.Offset() - before; {
			case d.Offset()+d.Remaining() != len(in) || !bytes.Equal(d.Rest(), in[d.Offset():]):
				t.Fatalf("offset %d, %d remaining, of %d bytes", d.Offset(), d.Remaining(), len(in))
			case failed != nil && (d.Err() != failed || took != 0):
				t.Fatalf("after the failure %v: %v, and %d bytes were read", failed, d.Err(), took)
			case d.Err() == nil && took != read:
				t.Fatalf("operation %d took %d bytes for a value of %d", op%7, took, read)
			}
		}
	})
}
