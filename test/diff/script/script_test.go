package script

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// full returns operations of a kind with something in every field, and with
// what is hard to write in text.
func full(name string) []Op {
	plain := Op{Name: name}
	odd := Op{Name: name, Cut: -3}
	for _, f := range kinds[name].fields {
		switch f {
		case fPath:
			plain.Path, odd.Path = "@/a/b", "@/a b=\"[c]#\x00\u0085\U0001f600"
		case fData:
			plain.Data, odd.NilData = "some \"data\" = [1]", true
		case fACL:
			plain.ACL, odd.ACL = "open", "empty"
		case fMode:
			plain.Mode, odd.Mode = 3, -1
		case fTTL:
			plain.TTL, odd.TTL = 1, 1<<63-1
		case fVersion:
			plain.Version, odd.Version = 7, -2
		case fWatch:
			plain.Watch = true
		case fType:
			plain.Type, odd.Type = 5, -1
		case fScheme:
			plain.Scheme, odd.Scheme = "digest", ""
		case fOps:
			plain.Ops = []Op{{Name: "check", Path: "@", Version: -1}, {Name: "getData", Path: "@/]", Watch: true, Cut: 1}}
		case fSince:
			plain.Since, odd.Since = SinceSeen, SinceNone
		case fLists:
			plain.Lists = [5][]string{{"@/a"}, {"@/b", "@/ "}, {"@/c"}, {"@/d"}, {"@/e"}}
		case fCode:
			plain.Code, odd.Code = 23, -5
		}
	}
	none := odd
	none.NilPath, none.Path = odd.Path != "", ""
	return []Op{plain, odd, none}
}

func TestOperationsReadBack(t *testing.T) {
	for _, name := range Names() {
		for _, op := range full(name) {
			steps := []Step{{Session: 2, Verb: Burst, Ops: []Op{op, op}}}
			text := Format(steps)
			got, err := Parse(text)
			if err != nil || !reflect.DeepEqual(got, steps) {
				t.Errorf("%s is read as %v (%v)", text, got, err)
			}
		}
	}
}

func TestStepsReadBack(t *testing.T) {
	const text = `s0 open member=1
s0 whoAmI
 + ping
s1 drop
s1 attach member=3
s0 move member=2
s0 expire member=2 how=silent
 + create @/a data="a"*300 acl=open mode=1
 + getEphemerals ""
s0 reap how=container
s2 forge member=1 how=password
s3 greet member=2 how=old
s0 close
 + exists @/a watch
s0 sweep
`
	steps, err := Parse("# a comment\n\n" + strings.ReplaceAll(text, "\n", "  \n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := Format(steps); got != text {
		t.Errorf("%s\nis written as\n%s", text, got)
	}
	if n := Count(steps); n != 13 {
		t.Errorf("%d operations, want 13", n)
	}
	for _, verb := range []string{Open, Close, Drop, Attach, Move, Expire, Reap, Forge, Greet, Sweep} {
		if !strings.Contains(text, " "+verb) {
			t.Errorf("this test has no %s", verb)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"open member=1", `line 1: "open" is no session`},
		{"x0 sweep", `"x0" is no session`},
		{"s0 jump", `"jump" is neither a step nor an operation`},
		{"s0 open member=one", `"one"`},
		{"s0 open how=silent", `open does not take "how=silent"`},
		{"s0 sweep @/a", `sweep does not take "@/a"`},
		{" + ping", "line 1: no step above takes this"},
		{"s0 drop\n + ping", "line 2: no step above takes this"},
		{"s0 ping\n\n + jump", `line 3: "jump"`},
		{"s0 getData @/a @/b=c", "getData: @/b=c: not understood"},
		{"s0 getData @/a version=1", "getData: version=1: not understood"},
		{"s0 delete @/a version=x", "invalid syntax"},
		{"s0 delete @/a version=4294967296", "out of range"},
		{"s0 create @/a acl=mine", "acl=mine: no such list"},
		{"s0 setWatches future=@/a", "future=@/a: not understood"},
		{"s0 multi [ping", "no ] closes [ping"},
		{"s0 multi [jump]", `"jump" is neither`},
		{`s0 create "@/a`, "at \"@/a"},
		{`s0 setData @/a data="x"*9999999`, "is too much"},
	} {
		if steps, err := Parse(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, %v; want an error with %s", tc.text, steps, err, tc.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                           `""`,
		"x":                          `"x"`,
		strings.Repeat("x", 41):      `"x"*41`,
		strings.Repeat("long ", 100): `"long "*100`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("%.50q is quoted as %s", in, got)
		}
	}
}

func TestBodies(t *testing.T) {
	places := Places{Root: "/r", Quota: "/q", Since: map[string]int64{SinceSeen: 9}}
	for text, want := range map[string]string{
		`delete @/a version=-1`:           "00000004 2f722f61 ffffffff",
		`delete %/a version=-1 cut=1`:     "00000004 2f712f61 ffffff",
		`delete /a version=1 cut=-2`:      "00000002 2f61 00000001 0000",
		`delete a version=1 cut=100`:      "",
		`delete "" version=1`:             "00000000 00000001",
		`delete nopath version=1`:         "ffffffff 00000001",
		`setData @ data="x" version=2`:    "00000002 2f72 00000001 78 00000002",
		`setData @ nodata version=2`:      "00000002 2f72 ffffffff 00000002",
		`setWatches since=seen child=@/c`: "0000000000000009 00000000 00000000 00000001 00000004 2f722f63",
		`op code=7 @`:                     "00000002 2f72",
		`multi [check @ version=0]`:       "0000000d 00 ffffffff 00000002 2f72 00000000 ffffffff 01 ffffffff",
	} {
		steps, err := Parse("s0 " + text)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := steps[0].Ops[0].Body(&places); !bytes.Equal(got, raw) {
			t.Errorf("%s: %x, want %x", text, got, raw)
		}
	}
}

func TestUsesQuotas(t *testing.T) {
	for text, want := range map[string]bool{
		"s0 sweep":                false,
		"s0 getData @/a":          false,
		"s0 ping\n + getData %/a": true,
		"s0 multi [ping] [delete %/a version=-1]": true,
	} {
		steps, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := UsesQuotas(steps); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
