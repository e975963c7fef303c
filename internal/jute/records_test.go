package jute

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// record is a vector: the bytes of a record, laid out by hand after ZooKeeper's
// zookeeper.jute, and what they mean.
type record struct {
	name, bytes string
	want        any
	// decode reads into a fresh record that has been decoded from before
	// first, unless before is nil.
	decode func(d *Decoder, before []byte) any
	append func(b []byte, v any) []byte
}

// plain makes a vector of a record with one layout.
func plain[T any, P interface {
	*T
	Decode(*Decoder)
	Append([]byte) []byte
}](name, bytes string, want T) record {
	return record{name, bytes, want,
		func(d *Decoder, before []byte) any {
			var v T
			if before != nil {
				b := NewDecoder(before)
				P(&v).Decode(&b)
			}
			P(&v).Decode(d)
			return v
		},
		func(b []byte, v any) []byte { w := v.(T); return P(&w).Append(b) },
	}
}

// byOp makes a vector of a record whose layout depends on the operation.
func byOp[T any, P interface {
	*T
	Decode(*Decoder, OpCode)
	Append([]byte, OpCode) []byte
}](op OpCode, bytes string, want T) record {
	return record{op.String(), bytes, want,
		func(d *Decoder, before []byte) any {
			var v T
			if before != nil {
				b := NewDecoder(before)
				P(&v).Decode(&b, op)
			}
			P(&v).Decode(d, op)
			return v
		},
		func(b []byte, v any) []byte { w := v.(T); return P(&w).Append(b, op) },
	}
}

var (
	openACL = []ACL{{PermAll, ID{"world", "anyone"}}}
	twoACLs = []ACL{{PermRead, ID{"world", "anyone"}}, {PermAll, ID{"digest", "u:h="}}}
)

const (
	openACLBytes = "00000001  0000001f 00000005 'world' 00000006 'anyone'"
	twoACLsBytes = "00000002  00000001 00000005 'world' 00000006 'anyone'  0000001f 00000006 'digest' 00000004 'u:h='"
	passwd       = "00000010 000102030405060708090a0b0c0d0e0f"
)

var passwdBytes = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func records() []record {
	return []record{
		plain("connect, with readOnly", "00000000 0000000500000007 00007530 0100000000000abc "+passwd+" 01",
			ConnectRequest{0, 0x500000007, 30000, 0x100000000000abc, passwdBytes, true, true}),
		plain("connect, not read-only", "00000000 0000000000000000 00001770 0000000000000000 "+passwd+" 00",
			ConnectRequest{0, 0, 6000, 0, passwdBytes, false, true}),
		plain("connect of an old client", "00000000 0000000000000000 00001770 0000000000000000 00000000",
			ConnectRequest{0, 0, 6000, 0, []byte{}, false, false}),
		plain("connect without a password", "00000001 ffffffffffffffff ffffffff 8000000000000000 ffffffff 00",
			ConnectRequest{1, -1, -1, -1 << 63, nil, false, true}),
		plain("connect response", "00000000 00007530 0100000000000abc "+passwd+" 00",
			ConnectResponse{0, 30000, 0x100000000000abc, passwdBytes, false, true}),
		plain("connect response to an old client", "00000000 00007530 0100000000000abc "+passwd,
			ConnectResponse{0, 30000, 0x100000000000abc, passwdBytes, false, false}),
		plain("connect response, expired", "00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 01",
			ConnectResponse{0, 0, 0, make([]byte, 16), true, true}),

		plain("reply header", "00000007 0000000100000002 ffffff9b", ReplyHeader{7, 0x100000002, ErrNoNode}),
		plain("reply header of a ping", "fffffffe 00000000000000ff 00000000", ReplyHeader{XidPing, 255, OK}),
		plain("multi header", "0000000e 00 ffffffff", MultiHeader{OpMulti, false, -1}),
		plain("multi header, the last", "ffffffff 01 ffffffff", MultiEnd),
		plain("stat", `0000000000000001 0000000000000002 0000000000000003 0000000000000004
			00000005 00000006 00000007 0000000000000008 00000009 0000000a 000000000000000b`,
			Stat{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}),

		byOp(OpCreate, "00000002 '/a' 00000003 'abc' "+openACLBytes+" 00000003",
			CreateRequest{"/a", []byte("abc"), openACL, ModeEphemeralSequential, 0}),
		byOp(OpCreate2, "00000002 '/a' 00000000 "+twoACLsBytes+" 00000000",
			CreateRequest{"/a", []byte{}, twoACLs, ModePersistent, 0}),
		byOp(OpCreateContainer, "00000002 '/a' ffffffff 00000000 00000004",
			CreateRequest{"/a", nil, nil, ModeContainer, 0}),
		byOp(OpCreateTTL, "00000002 '/a' 00000001 'x' "+openACLBytes+" 00000005 0000000000001388",
			CreateRequest{"/a", []byte("x"), openACL, ModeTTL, 5000}),

		plain("delete", "00000002 '/a' ffffffff", PathVersionRequest{"/a", -1}),
		plain("check", "00000002 '/a' 00000003", PathVersionRequest{"/a", 3}),
		plain("exists", "00000002 '/a' 01", PathWatchRequest{"/a", true}),
		plain("getData", "00000004 '/a/b' 00", PathWatchRequest{"/a/b", false}),
		plain("setData", "00000002 '/a' 00000003 'abc' 00000005", SetDataRequest{"/a", []byte("abc"), 5}),
		plain("setData to nothing", "00000002 '/a' ffffffff ffffffff", SetDataRequest{"/a", nil, -1}),
		plain("setACL", "00000002 '/a' "+twoACLsBytes+" 00000004", SetACLRequest{"/a", twoACLs, 4}),
		plain("sync", "00000001 '/'", PathRequest{"/"}),
		plain("addWatch", "00000002 '/a' 00000001", WatchSelection{"/a", int32(AddWatchPersistentRecursive)}),
		plain("removeWatches", "00000002 '/a' 00000003", WatchSelection{"/a", int32(WatcherAny)}),
		plain("auth", "00000000 00000006 'digest' 00000003 'u:p'", AuthRequest{0, "digest", []byte("u:p")}),
		plain("reconfig", "00000001 'j' 00000002 'le' 00000000 ffffffffffffffff", ReconfigRequest{"j", "le", "", -1}),

		byOp(OpSetWatches, "0000000000000009  00000001 00000002 '/d'  00000000  00000002 00000002 '/c' 00000001 '/'",
			SetWatchesRequest{RelativeZxid: 9, Data: []string{"/d"}, Child: []string{"/c", "/"}}),
		byOp(OpSetWatches2, "0000000000000009  00000000  00000001 00000002 '/e'  00000000  00000001 00000002 '/p'  00000001 00000002 '/r'",
			SetWatchesRequest{RelativeZxid: 9, Exist: []string{"/e"}, Persistent: []string{"/p"}, Recurse: []string{"/r"}}),
	}
}

func TestRecords(t *testing.T) {
	for _, r := range records() {
		t.Run(r.name, func(t *testing.T) {
			in := unhex(t, r.bytes)
			d := NewDecoder(in)
			if got := r.decode(&d, nil); !reflect.DeepEqual(got, r.want) || d.Err() != nil || d.Remaining() != 0 {
				t.Errorf("decoded %+v (%v, %d bytes left), want %+v", got, d.Err(), d.Remaining(), r.want)
			}
			if got := r.append(nil, r.want); !bytes.Equal(got, in) {
				t.Errorf("encoded %x, want %x", got, in)
			}

			// A record that is decoded into twice keeps nothing of the first.
			zeros := make([]byte, 128)
			d, d2 := NewDecoder(zeros), NewDecoder(zeros)
			if got, want := r.decode(&d, in), r.decode(&d2, nil); !reflect.DeepEqual(got, want) {
				t.Errorf("decoded over another record: %+v, want %+v", got, want)
			}

			for n := range in {
				d := NewDecoder(in[:n])
				got := r.decode(&d, nil)
				switch v := got.(type) {
				case ConnectRequest: // without its last byte: what an old client sends
					if r.want.(ConnectRequest).HasReadOnly && n == len(in)-1 && d.Err() == nil && !v.HasReadOnly && !v.ReadOnly {
						continue
					}
				case ConnectResponse:
					if r.want.(ConnectResponse).HasReadOnly && n == len(in)-1 && d.Err() == nil && !v.HasReadOnly && !v.ReadOnly {
						continue
					}
				}
				if !errors.Is(d.Err(), ErrShort) {
					t.Errorf("cut off after %d of %d bytes: %+v, error %v, want ErrShort", n, len(in), got, d.Err())
				}
			}
		})
	}
}

func TestStatSize(t *testing.T) {
	var s Stat
	if n := len(s.Append(nil)); n != StatSize {
		t.Errorf("a Stat takes %d bytes, StatSize is %d", n, StatSize)
	}
}

func TestAppendEvent(t *testing.T) {
	got := AppendEvent([]byte{0xaa}, 0x100000002, EventNodeChildrenChanged, "/a")
	want := unhex(t, "aa 0000001e  ffffffff 0000000100000002 00000000  00000004 00000003 00000002 '/a'")
	if !bytes.Equal(got, want) {
		t.Errorf("event %x, want %x", got, want)
	}
}

// Well-known ACLs are shared, so appending to one must not reach the others,
// and they must not point into the input.
func TestWellKnownACLs(t *testing.T) {
	for perms := Perm(-1); perms <= PermAll+1; perms++ {
		for _, id := range []ID{{"world", "anyone"}, {"auth", ""}, {"world", ""}, {"auth", "anyone"}, {"world", "someone"}} {
			want := []ACL{{perms, id}}
			in := AppendACLs(nil, want)
			d := NewDecoder(in)
			got := DecodeACLs(&d)
			if d.Err() != nil || !slices.Equal(got, want) || d.Remaining() != 0 {
				t.Fatalf("decoded %v (%v), want %v", got, d.Err(), want)
			}
			_ = append(got, ACL{})
			known := perms >= 0 && perms <= PermAll && (id == ID{"world", "anyone"} || id == ID{"auth", ""})
			if clear(in); known && !slices.Equal(got, want) {
				t.Fatalf("%v changed with the buffer that it was decoded from", want)
			}
			d = NewDecoder(AppendACLs(nil, want))
			if again := DecodeACLs(&d); known != (&again[0] == &got[0]) {
				t.Errorf("%v is shared: %v, want %v", want, !known, known)
			}
		}
	}
	// Two entries are never taken for one.
	in := AppendACLs(nil, twoACLs)
	d := NewDecoder(in)
	if got := DecodeACLs(&d); !slices.Equal(got, twoACLs) {
		t.Errorf("decoded %v, want %v", got, twoACLs)
	}
}

// hotPath is what happens for nearly every request and reply.
func hotPath(t testing.TB) map[string]func() {
	out := make([]byte, 0, 4096)
	stat, header := Stat{Czxid: 1}, ReplyHeader{Xid: 1}
	decode := func(name string, body func(d *Decoder)) func() {
		i := slices.IndexFunc(records(), func(r record) bool { return r.name == name })
		in := append(unhex(t, "00000007 00000004"), unhex(t, records()[i].bytes)...)
		var d Decoder // one for all runs: a call through body makes it escape
		return func() {
			d = NewDecoder(in)
			xid, op := d.Int32(), OpCode(d.Int32())
			body(&d)
			if xid != 7 || op != OpGetData || d.Err() != nil || d.Remaining() != 0 {
				panic(name)
			}
		}
	}
	var (
		create  CreateRequest
		version PathVersionRequest
		watch   PathWatchRequest
		set     SetDataRequest
		path    PathRequest
		sel     WatchSelection
	)
	in := (&PathWatchRequest{"/a/b/c", true}).Append(nil)
	return map[string]func(){
		"decode on the stack": func() {
			d := NewDecoder(in)
			watch.Decode(&d)
		},
		"decode create":           decode("create", func(d *Decoder) { create.Decode(d, OpCreate) }),
		"decode createTTL":        decode("createTTL", func(d *Decoder) { create.Decode(d, OpCreateTTL) }),
		"decode delete":           decode("delete", func(d *Decoder) { version.Decode(d) }),
		"decode getData":          decode("getData", func(d *Decoder) { watch.Decode(d) }),
		"decode setData":          decode("setData", func(d *Decoder) { set.Decode(d) }),
		"decode sync":             decode("sync", func(d *Decoder) { path.Decode(d) }),
		"decode addWatch":         decode("addWatch", func(d *Decoder) { sel.Decode(d) }),
		"append header and stat":  func() { out = stat.Append(header.Append(out[:0])) },
		"append header and data":  func() { out = AppendBuffer(header.Append(out[:0]), set.Data) },
		"append an event's frame": func() { out = AppendEvent(out[:0], 1, EventNodeCreated, "/a/b/c") },
		"append a frame of paths": func() {
			b, mark := BeginFrame(out[:0])
			b = AppendStrings(b, []string{"a", "b"})
			EndFrame(b, mark)
		},
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for name, f := range hotPath(t) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkHotPath(b *testing.B) {
	paths := hotPath(b)
	for _, name := range []string{"decode create", "decode getData", "decode setData", "append header and stat", "append an event's frame"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				paths[name]()
			}
		})
	}
}

func BenchmarkSetWatches(b *testing.B) {
	paths := slices.Repeat([]string{"/app/other/item-0000000001"}, 1000)
	in := (&SetWatchesRequest{Data: paths, Child: paths}).Append(nil, OpSetWatches)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var r SetWatchesRequest
	for b.Loop() {
		d := NewDecoder(in)
		r.Decode(&d, OpSetWatches)
	}
}
