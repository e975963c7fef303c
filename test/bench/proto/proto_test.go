package proto

import (
	"bytes"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// The conformance suite's codec was written by itself and is checked against
// genuine servers: both must produce the same bytes.
func TestRequestsAgainstTheConformanceCodec(t *testing.T) {
	acl := []wire.ACL{{Perms: 31, Scheme: "world", ID: "anyone"}}
	data := []byte("some data")
	multi := BeginMulti(nil, 9)
	multi.Create("/a", data, Ephemeral)
	multi.Set("/b", data)
	multi.Delete("/c")
	for _, c := range []struct {
		name string
		got  []byte
		body []byte
	}{
		{"connect", AppendConnect(nil, Session{ID: 7, Passwd: [16]byte{1, 2}}, 5, 30_000),
			wire.ConnectRequest{LastZxidSeen: 5, Timeout: 30 * time.Second, SessionID: 7, Passwd: append([]byte{1, 2}, make([]byte, 14)...)}.Encode()},
		{"create", AppendCreate(nil, 3, "/a/b", data, EphemeralSequential), wire.Request(3, OpCreate, wire.CreateBody("/a/b", data, acl, 3))},
		{"delete", AppendDelete(nil, 3, "/a/b"), wire.Request(3, OpDelete, wire.VersionBody("/a/b", -1))},
		{"set", AppendSet(nil, 3, "/a/b", data), wire.Request(3, OpSetData, wire.SetDataBody("/a/b", data, -1))},
		{"get", AppendRead(nil, 3, OpGetData, "/a/b", true), wire.Request(3, OpGetData, wire.WatchBody("/a/b", true))},
		{"ping", AppendPing(nil), wire.Request(-2, OpPing, nil)},
		{"close", AppendClose(nil, 8), wire.Request(8, OpClose, nil)},
		{"multi", multi.End(), wire.Request(9, OpMulti, wire.MultiBody(
			wire.MultiOp{Type: OpCreate, Body: wire.CreateBody("/a", data, acl, 1)},
			wire.MultiOp{Type: OpSetData, Body: wire.SetDataBody("/b", data, -1)},
			wire.MultiOp{Type: OpDelete, Body: wire.VersionBody("/c", -1)}))},
		{"get template", ReadTemplate(OpGetData, "/a", false).Append(nil, 3), wire.Request(3, OpGetData, wire.WatchBody("/a", false))},
	} {
		body, n, err := Frame(c.got)
		if err != nil || n != len(c.got) || !bytes.Equal(body, c.body) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, c.got, c.body)
		}
	}
}

func TestTemplates(t *testing.T) {
	value := make([]byte, ValueLen)
	FillValue(value, 4, 2)
	set := SetTemplate("/some/path", ValueLen)
	out := set.Append([]byte("before"), 77)
	FillValue(set.Data(out, ValueLen), 4, 2)
	if want := append([]byte("before"), AppendSet(nil, 77, "/some/path", value)...); !bytes.Equal(out, want) {
		t.Errorf("set:\n got %x\nwant %x", out, want)
	}
	create := CreateTemplate("/dir/n", ValueLen, Ephemeral)
	out = create.AppendNumbered([]byte("before"), 78, 31)
	FillValue(create.Data(out, ValueLen), 4, 2)
	if want := append([]byte("before"), AppendCreate(nil, 78, "/dir/n00000031", value, Ephemeral)...); !bytes.Equal(out, want) {
		t.Errorf("create:\n got %x\nwant %x", out, want)
	}
	out = DeleteTemplate("/dir/n").AppendNumbered([]byte("before"), 79, 12345678)
	if want := append([]byte("before"), AppendDelete(nil, 79, "/dir/n12345678")...); !bytes.Equal(out, want) {
		t.Errorf("delete:\n got %x\nwant %x", out, want)
	}
	for path, want := range map[string]bool{"/dir/n00000031": true, "/dir/n00000032": false, "/dir/n0000031": false, "/dir/m00000031": false, "/dir/n000000310": false} {
		if IsNumbered([]byte(path), "/dir/n", 31) != want {
			t.Errorf("IsNumbered(%s, 31) = %v", path, !want)
		}
	}
}

func TestReplies(t *testing.T) {
	stat := new(wire.Writer).Long(1).Long(2).Long(3).Long(4).Int(5).Int(6).Int(7).Long(8).Int(9).Int(10).Long(11).Bytes()
	w := new(wire.Writer).Int(3).Long(99).Int(0).Buffer([]byte("xy")).Raw(stat)
	r, err := ParseReply(w.Bytes())
	if err != nil || r.Xid != 3 || r.Zxid != 99 || r.Err != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	v, rest, err := ParseBytes(r.Body)
	if err != nil || string(v) != "xy" {
		t.Fatalf("%q, %v", v, err)
	}
	s, rest, err := ParseStat(rest)
	want := Stat{Czxid: 1, Mzxid: 2, Ctime: 3, Mtime: 4, Version: 5, Cversion: 6, Aversion: 7, EphemeralOwner: 8, DataLength: 9, NumChildren: 10, Pzxid: 11}
	if err != nil || s != want || len(rest) != 0 {
		t.Errorf("%+v, %d left, %v", s, len(rest), err)
	}

	e, err := ParseEvent(new(wire.Writer).Int(EventDataChanged).Int(3).String("/p").Bytes())
	if err != nil || e.Type != EventDataChanged || e.State != 3 || string(e.Path) != "/p" {
		t.Errorf("%+v, %v", e, err)
	}

	a, err := ParseAccepted(new(wire.Writer).Int(0).Int(4000).Long(42).Buffer(bytes.Repeat([]byte{7}, 16)).Bool(false).Bytes())
	if err != nil || a.Timeout != 4000 || a.ID != 42 || a.Passwd[15] != 7 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ParseAccepted(new(wire.Writer).Int(0).Int(4000).Long(42).Buffer([]byte("short")).Bytes()); err == nil {
		t.Error("a short password was accepted")
	}
}

func TestMultiReply(t *testing.T) {
	stat := make([]byte, StatLen)
	stat[35] = 4 // version
	b := new(wire.Writer).
		Int(OpSetData).Bool(false).Int(0).Raw(stat).
		Int(OpCreate).Bool(false).Int(0).String("/x").
		Int(OpDelete).Bool(false).Int(0).
		Int(OpError).Bool(false).Int(NoNode).Int(NoNode).
		Int(-1).Bool(true).Int(-1).Bytes()
	var parts []Part
	for {
		p, rest, err := ParsePart(b)
		if err != nil {
			t.Fatal(err)
		}
		if b = rest; p.Done {
			break
		}
		parts = append(parts, p)
	}
	if len(b) != 0 || len(parts) != 4 || parts[0].Stat.Version != 4 || string(parts[1].Path) != "/x" || parts[2].Op != OpDelete || parts[3].Err != NoNode {
		t.Errorf("%+v, %d bytes left", parts, len(b))
	}
}

// Whatever is cut short must be an error and never a panic.
func TestTruncated(t *testing.T) {
	stat := make([]byte, StatLen)
	full := new(wire.Writer).Int(OpSetData).Bool(false).Int(0).Raw(stat).Bytes()
	for n := range full {
		if _, _, err := ParsePart(full[:n]); err == nil {
			t.Errorf("a transaction's result of %d bytes out of %d was accepted", n, len(full))
		}
	}
	for n := range 16 {
		if _, err := ParseReply(make([]byte, n)); err == nil {
			t.Errorf("a reply of %d bytes was accepted", n)
		}
	}
	if _, _, err := ParseBytes([]byte{0, 0, 0, 9, 1}); err == nil {
		t.Error("a buffer that is cut short was accepted")
	}
	if _, _, err := ParseCount([]byte{0x7f, 0, 0, 0, 1}, 4); err == nil {
		t.Error("a list that cannot fit was accepted")
	}
	if _, _, err := Frame([]byte{0xff, 0, 0, 0}); err == nil {
		t.Error("an absurd frame length was accepted")
	}
	if _, n, err := Frame([]byte{0, 0, 0, 2, 1}); n != 0 || err != nil {
		t.Errorf("an incomplete frame: %d, %v", n, err)
	}
}

func TestValues(t *testing.T) {
	b := make([]byte, ValueLen)
	FillValue(b, 12, 34)
	if v, err := CheckValue(b, 12); err != nil || v != 34 {
		t.Fatalf("version %d, %v", v, err)
	}
	if _, err := CheckValue(b, 13); err == nil {
		t.Error("another node's value was accepted")
	}
	if _, err := CheckValue(b[:99], 12); err == nil {
		t.Error("a short value was accepted")
	}
	for i := range b {
		b[i] ^= 1
		if v, err := CheckValue(b, 12); err == nil && v == 34 {
			t.Errorf("a value damaged at byte %d was accepted", i)
		}
		b[i] ^= 1
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	set := SetTemplate("/some/path", ValueLen)
	get := ReadTemplate(OpGetData, "/some/path", false)
	create := CreateTemplate("/dir/n", ValueLen, Persistent)
	buf := make([]byte, 0, 4096)
	reply := new(wire.Writer).Int(3).Long(99).Int(0).Buffer(make([]byte, ValueLen)).Raw(make([]byte, StatLen)).Bytes()
	FillValue(reply[20:], 1, 0)
	allocs := testing.AllocsPerRun(100, func() {
		b := set.Append(buf[:0], 1)
		FillValue(set.Data(b, ValueLen), 1, 2)
		b = get.Append(b, 2)
		buf = create.AppendNumbered(b, 3, 77)
		r, _ := ParseReply(reply)
		v, rest, _ := ParseBytes(r.Body)
		if _, err := CheckValue(v, 1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ParseStat(rest); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per request and reply", allocs)
	}
}
