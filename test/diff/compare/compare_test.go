package compare

import (
	"maps"
	"strings"
	"testing"

	"github.com/conclave-dev/conclave/test/diff/script"
	"github.com/conclave-dev/conclave/test/diff/side"
)

func exact(values ...int64) (out []side.Zxid) {
	for _, v := range values {
		out = append(out, side.Zxid{Value: v, Exact: true})
	}
	return out
}

func loose(v int64) []side.Zxid { return []side.Zxid{{Value: v}} }

// reply is what a session got for an operation.
func reply(text string, zxids ...side.Zxid) side.Frame {
	return side.Frame{Who: "s0", Op: &script.Op{Name: strings.Split(text, ":")[0]}, Text: text, Zxids: zxids}
}

func event(text string) side.Frame { return side.Frame{Who: "s0", Text: text} }

// agreed is a step on which both agree, with other zxids on each side.
func agreed() (zk, conclave []side.Frame) {
	zk = []side.Frame{event("event Created @/a"), reply("create: ok @/a zxid=~", exact(100)...), reply("exists: NoNode zxid=~", loose(105)...)}
	conclave = []side.Frame{event("event Created @/a"), reply("create: ok @/a zxid=~", exact(7)...), reply("exists: NoNode zxid=~", loose(7)...)}
	return zk, conclave
}

func TestAgreement(t *testing.T) {
	tally := NewTally()
	c := New(tally)
	zk, conclave := agreed()
	if why := c.Step(zk, conclave); why != "" {
		t.Error(why)
	}
	if why := c.Step(nil, nil); why != "" {
		t.Error(why)
	}
	want := map[string]int{"event Created": 1, "create: ok": 1, "exists: NoNode": 1}
	if !maps.Equal(tally.Results, want) || len(tally.Known) > 0 {
		t.Errorf("counted %v, want %v", tally, want)
	}
}

// Each kind of difference, planted into a step on which both agree.
func TestFindsDifferences(t *testing.T) {
	for _, tc := range []struct {
		name  string
		plant func(zk, conclave *[]side.Frame)
		want  string
	}{
		{"another error", func(_, c *[]side.Frame) { (*c)[2].Text = "exists: NoAuth zxid=~" }, "line 3: not the same text"},
		{"another stat", func(z, _ *[]side.Frame) { (*z)[1].Text = "create: ok @/a version=1 zxid=~" }, "line 2: not the same text"},
		{"another event", func(_, c *[]side.Frame) { (*c)[0].Text = "event Deleted @/a" }, "line 1: not the same text"},
		{"an event for somebody else", func(_, c *[]side.Frame) { (*c)[0].Who = "s1" }, "line 1: not the same session"},
		{"the event behind the reply", func(_, c *[]side.Frame) { (*c)[0], (*c)[1] = (*c)[1], (*c)[0] }, "line 1: not the same text"},
		{"no event", func(_, c *[]side.Frame) { *c = (*c)[1:] }, "line 1: not the same text"},
		{"an event too many", func(_, c *[]side.Frame) { *c = append(*c, event("event Deleted @/a")) }, "one has told more than the other"},
		{"no reply", func(_, c *[]side.Frame) { *c = (*c)[:2] }, "one has told more than the other"},
		{"nothing", func(_, c *[]side.Frame) { *c = nil }, "one has told more than the other"},
		{"a zxid too few", func(_, c *[]side.Frame) { (*c)[1].Zxids = nil }, "line 2: not the same number of zxids"},
		{"behind its own write", func(_, c *[]side.Frame) { (*c)[2].Zxids[0].Value = 6 }, "line 3: zxid 1: 1 of the script's transactions are seen on the left, 0 on the right"},
	} {
		zk, conclave := agreed()
		tc.plant(&zk, &conclave)
		if why := New(NewTally()).Step(zk, conclave); !strings.HasPrefix(why, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, why, tc.want)
		}
	}
}

func TestZxidsByOrder(t *testing.T) {
	type pair struct{ a, b int64 }
	for _, tc := range []struct {
		name string
		// All but the last pair are one transaction each.
		exact []pair
		want  string
	}{
		{"in order", []pair{{10, 1}, {20, 2}, {30, 300}}, ""},
		{"a later one first", []pair{{30, 3}, {10, 1}, {20, 2}}, ""},
		{"again", []pair{{10, 1}, {20, 2}, {10, 1}}, ""},
		{"the other way round", []pair{{10, 2}, {20, 1}}, "transaction (a new one, behind 1 others) on the left is (a new one, behind 0 others) on the right"},
		{"two in one", []pair{{10, 1}, {20, 1}}, "transaction (a new one, behind 1 others) on the left is number 0 on the right"},
		{"one in two", []pair{{10, 1}, {10, 2}}, "transaction number 0 on the left is (a new one, behind 1 others) on the right"},
		{"mixed up", []pair{{10, 1}, {20, 2}, {20, 1}}, "transaction number 1 on the left is number 0 on the right"},
	} {
		var z Zxids
		for i, p := range tc.exact {
			err := z.Exact(p.a, p.b)
			if i < len(tc.exact)-1 {
				if err != nil {
					t.Errorf("%s: %v", tc.name, err)
				}
			} else if got := errorText(err); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
			}
		}
	}
	var z Zxids
	for _, p := range []pair{{10, 1}, {20, 2}} {
		if err := z.Exact(p.a, p.b); err != nil {
			t.Fatal(err)
		}
	}
	// Between two transactions of the script others may have come.
	for p, ok := range map[pair]bool{
		{9, 0}: true, {10, 1}: true, {19, 1}: true, {20, 2}: true, {99, 5}: true,
		{9, 1}: false, {10, 0}: false, {19, 2}: false, {20, 1}: false, {99, 1}: false,
	} {
		if err := z.Loose(p.a, p.b); (err == nil) != ok {
			t.Errorf("%d and %d: %v", p.a, p.b, err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestKnownDifferences(t *testing.T) {
	frame := func(op script.Op, result string) []side.Frame {
		return []side.Frame{{Who: "s0", Op: &op, Text: op.Name + ": " + result + " zxid=~", Zxids: loose(1)}}
	}
	types, others := Known[0].Name, Known[1].Name
	for _, tc := range []struct {
		op           script.Op
		zk, conclave string
		known        string // empty: a difference like any other
	}{
		{script.Op{Name: "checkWatches", Type: 4}, "MarshallingError", "NoWatcher", types},
		{script.Op{Name: "removeWatches", Type: 5}, "MarshallingError", "NoWatcher", types},
		{script.Op{Name: "removeWatches", Type: 3}, "MarshallingError", "NoWatcher", ""},
		{script.Op{Name: "removeWatches", Type: 4}, "MarshallingError", "NoNode", ""},
		{script.Op{Name: "addWatch", Type: 4}, "MarshallingError", "NoWatcher", ""},
		{script.Op{Name: "checkWatches", Type: 2}, "ok", "NoWatcher", others},
		{script.Op{Name: "checkWatches", Type: 2}, "NoWatcher", "ok", ""},
		{script.Op{Name: "checkWatches", Type: 6}, "ok", "NoWatcher", ""},
		{script.Op{Name: "removeWatches", Type: 2}, "ok", "NoWatcher", ""},
		{script.Op{Name: "checkWatches", Type: 2}, "ok 1", "NoWatcher", ""},
	} {
		tally := NewTally()
		why := New(tally).Step(frame(tc.op, tc.zk), frame(tc.op, tc.conclave))
		if (why == "") != (tc.known != "") || tc.known != "" && tally.Known[tc.known] != 1 {
			t.Errorf("%s: %s, %s: %q, counted %v", tc.op, tc.zk, tc.conclave, why, tally.Known)
		}
	}
	// An event never passes for a known difference.
	if why := New(NewTally()).Step([]side.Frame{event("event Created @/a")}, []side.Frame{event("event Created @/b")}); why == "" {
		t.Error("two events differ, and it is not seen")
	}
}

func TestTally(t *testing.T) {
	zk, conclave := agreed()
	sum := NewTally()
	for range 3 {
		tally := NewTally()
		New(tally).Step(zk, conclave)
		tally.Known["x"]++
		sum.Add(tally)
	}
	if sum.Results["create: ok"] != 3 || sum.Known["x"] != 3 || sum.Answered != 6 {
		t.Errorf("%+v", sum)
	}
	for text, want := range map[string]string{
		"multi: ok [create @/a] zxid=~":                      "multi: ok",
		"multi: ok [error 0] [NoNode] zxid=~":                "multi: ok, nothing done",
		"multi: ok [NoNode] [RuntimeInconsistency] zxid=~":   "multi: ok, nothing done",
		"getData: ok data=\"x\" version=0 zxid=~":            "getData: ok",
		"connection closed instead of the reply to getACL":   "connection closed",
		"open: session=s0 timeout=60000 password=16 bytes":   "open accepted",
		"forge: session=none timeout=0 password=16 of zeros": "forge refused",
		"event DataChanged @/a":                              "event DataChanged",
	} {
		f := reply(text)
		if strings.Contains(text, "session=") || !strings.Contains(text, ":") {
			f.Op = nil
		}
		if got := kindOf(&f); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestSideBySide(t *testing.T) {
	var zk, conclave []side.Frame
	for range 6 {
		zk, conclave = append(zk, event("event Created @/same")), append(conclave, event("event Created @/same"))
	}
	zk = append(zk, reply("exists: ok zxid=~", loose(0x20)...), event("event Deleted @/more"))
	conclave = append(conclave, reply("exists: NoNode zxid=~", loose(0x3)...))
	const want = `  (3 lines the same)
  both      s0 event Created @/same
  both      s0 event Created @/same
  both      s0 event Created @/same
! zookeeper s0 exists: ok zxid=0x20
! conclave  s0 exists: NoNode zxid=0x3
! zookeeper s0 event Deleted @/more
! conclave  (nothing)
`
	if got := SideBySide(zk, conclave); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Where only the zxids differ, both are shown.
	a, b := []side.Frame{reply("create: ok zxid=~", exact(0x10)...)}, []side.Frame{reply("create: ok zxid=~", exact(0x1)...)}
	if got := SideBySide(a, b); !strings.Contains(got, "zxid=0x10") || !strings.Contains(got, "zxid=0x1\n") {
		t.Errorf("got\n%s", got)
	}
}
