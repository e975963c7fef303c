package generate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/diff/script"
)

// scripts are those of a run, made once.
var scripts = sync.OnceValue(func() map[Params][]script.Step {
	all := map[Params][]script.Step{}
	for i := range 200 {
		p := Params{Seed: uint64(i % 7), Lane: i % 4, Epoch: i}
		all[p] = Script(p)
	}
	return all
})

// some returns n of them.
func some(n int) map[Params][]script.Step {
	out := map[Params][]script.Step{}
	for p, steps := range scripts() {
		if p.Epoch < n {
			out[p] = steps
		}
	}
	return out
}

func TestSameParamsSameScript(t *testing.T) {
	texts := map[string]Params{}
	for p, steps := range some(20) {
		text := script.Format(steps)
		if again := script.Format(Script(p)); again != text {
			t.Errorf("%s makes two scripts", p)
		}
		if other, ok := texts[text]; ok {
			t.Errorf("%s and %s make the same script", p, other)
		}
		texts[text] = p
	}
	p := Params{Seed: 1, Lane: 2, Epoch: 3}
	for _, q := range []Params{{2, 2, 3}, {1, 3, 3}, {1, 2, 4}} {
		if script.Format(Script(p)) == script.Format(Script(q)) {
			t.Errorf("%s and %s make the same script", p, q)
		}
	}
}

// What a failure prints can be read back, and sends the same.
func TestScriptsReadBack(t *testing.T) {
	places := script.Places{Root: "/r", Quota: "/zookeeper/quota/r"}
	for p, steps := range some(20) {
		text := script.Format(steps)
		got, err := script.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if again := script.Format(got); again != text {
			t.Fatalf("%s: %s\nis read as\n%s", p, text, again)
		}
		for i, s := range steps {
			for j := range s.Ops {
				a, b := &s.Ops[j], &got[i].Ops[j]
				if a.OpCode() != b.OpCode() || !bytes.Equal(a.Body(&places), b.Body(&places)) {
					t.Errorf("%s: %s is sent as %d %x, read back as %d %x", p, a, a.OpCode(), a.Body(&places), b.OpCode(), b.Body(&places))
				}
			}
		}
	}
}

// eachOp visits the operations of a script and the parts of multis.
func eachOp(steps []script.Step, visit func(s script.Step, op script.Op, inMulti bool)) {
	for _, s := range steps {
		for _, op := range s.Ops {
			visit(s, op, false)
			for _, part := range op.Ops {
				visit(s, part, true)
			}
		}
	}
}

// TestCoversEverything: of all that the language can say, nothing is never said.
func TestCoversEverything(t *testing.T) {
	seen := map[string]bool{}
	for _, steps := range scripts() {
		for _, s := range steps {
			seen["step "+s.Verb+" "+s.How] = true
			seen[fmt.Sprintf("slot %d", s.Session)] = true
		}
		eachOp(steps, func(_ script.Step, op script.Op, inMulti bool) {
			in := ""
			if inMulti {
				in = "in multi "
			}
			seen[in+op.Name] = true
			seen["acl "+op.ACL], seen["since "+op.Since] = true, true
			if strings.HasPrefix(op.Name, "create") {
				seen[fmt.Sprintf("%s%s %d", in, op.Name, op.Mode)] = true
			}
			if strings.HasSuffix(op.Name, "Watches") || op.Name == "addWatch" {
				seen[fmt.Sprintf("%s %d", op.Name, op.Type)] = true
			}
			if op.Name == "auth" {
				user, _, _ := strings.Cut(op.Data, ":")
				seen["scheme "+op.Scheme], seen["user "+user] = true, true
			}
			for i, list := range op.Lists {
				seen[fmt.Sprintf("%s list %d", op.Name, i)] = seen[fmt.Sprintf("%s list %d", op.Name, i)] || len(list) > 0
			}
			switch {
			case op.Path == "":
				seen["empty path"] = true
			case slices.Contains(badPaths, op.Path):
				seen["bad path"] = true
			case op.Path[0] == '%':
				seen["quota"] = true
			}
			seen["no data"] = seen["no data"] || op.NilData
			seen["cut"] = seen["cut"] || op.Cut > 0
			seen["too long"] = seen["too long"] || op.Cut < 0
		})
	}
	want := []string{"empty path", "bad path", "quota", "no data", "cut", "too long", "slot 0", "slot 1", "slot 2", "slot 3",
		"since seen", "since start", "since none", "user alice", "user bob", "user super",
		"scheme digest", "scheme ip", "scheme nobody", "scheme sasl", "scheme world", "scheme super"}
	for _, name := range script.Names() {
		switch name {
		case "check":
			want = append(want, "in multi check")
		default:
			want = append(want, name)
		}
	}
	want = append(want, "in multi create", "in multi create2", "in multi createContainer", "in multi createTTL", "in multi delete",
		"in multi setData", "in multi getData", "in multi getChildren", "in multi exists", "in multi setACL", "in multi op")
	for name := range script.ACLs {
		want = append(want, "acl "+name)
	}
	for mode := -1; mode <= 7; mode++ {
		want = append(want, fmt.Sprintf("create %d", mode), fmt.Sprintf("create2 %d", mode))
	}
	for mode := range 4 {
		want = append(want, fmt.Sprintf("in multi create %d", mode))
	}
	want = append(want, "createContainer 4", "createContainer 0", "createTTL 5", "createTTL 6", "createTTL 0",
		"addWatch 0", "addWatch 1", "addWatch 2", "addWatch -1")
	for typ := -1; typ <= 6; typ++ {
		want = append(want, fmt.Sprintf("checkWatches %d", typ), fmt.Sprintf("removeWatches %d", typ))
	}
	for i := range 5 {
		want = append(want, fmt.Sprintf("setWatches2 list %d", i))
	}
	for i := range 3 {
		want = append(want, fmt.Sprintf("setWatches list %d", i))
	}
	for _, verb := range []string{script.Burst, script.Open, script.Close, script.Drop, script.Attach, script.Move, script.Sweep} {
		want = append(want, "step "+verb+" ")
	}
	for verb, hows := range map[string][]string{
		script.Expire: {script.Silent, script.Dropped},
		script.Reap:   {script.Container, script.TTL, script.TTLParent},
		script.Forge:  {script.WrongPassword, script.ShortPassword, script.Unknown, script.Ended, script.FutureZxid, script.Garbage},
		script.Greet: {script.NoTimeout, script.NegativeTimeout, script.ShortTimeout, script.LongTimeout, script.NoPassword,
			script.OldClient, script.ReadOnlyClient},
	} {
		for _, how := range hows {
			want = append(want, "step "+verb+" "+how)
		}
	}
	for _, what := range want {
		if !seen[what] {
			t.Errorf("no script has: %s", what)
		}
	}
}

// What would take ZooKeeper 3.8 down, or has no determined outcome there, is in
// no script.
func TestLeavesOut(t *testing.T) {
	for p, steps := range scripts() {
		// The kinds of watches that a session has left on a path.
		kinds := map[string]family{}
		watches := func(s script.Step, path string, f family) {
			if s.Verb == script.Expire {
				s.Session = Slots
			}
			key := fmt.Sprintf("%d %s", s.Session, path)
			if before, ok := kinds[key]; ok && before != f {
				t.Errorf("%s: session %d watches %s in two ways", p, s.Session, path)
			}
			kinds[key] = f
		}
		quotas := script.UsesQuotas(steps)
		eachOp(steps, func(s script.Step, op script.Op, inMulti bool) {
			switch {
			case op.Name == "op" && op.Code == wire.OpCheck, op.Name == "check" && !inMulti:
				t.Errorf("%s: check outside a multi", p)
			case op.Name == "reconfig" && op.Cut > 0:
				t.Errorf("%s: a reconfig that is too short", p)
			case op.NilPath:
				t.Errorf("%s: %s", p, op)
			case op.Watch && !inMulti:
				watches(s, op.Path, oneShot)
			case op.Name == "addWatch" && op.Type == 0:
				watches(s, op.Path, persistent)
			case op.Name == "addWatch" && op.Type == 1:
				watches(s, op.Path, recursive)
			}
			if strings.HasPrefix(op.Path, "/") && op.Name[:3] == "cre" && op.Mode != wire.Persistent {
				t.Errorf("%s: %s may succeed outside the script's own place", p, op)
			}
			if op.Name != "multi" || !quotas {
				return
			}
			grown := 0
			for _, part := range op.Ops {
				if strings.HasPrefix(part.Name, "create") || part.Name == "setData" {
					grown++
				}
			}
			if grown > 1 {
				t.Errorf("%s: with quotas, %d parts of a multi may grow: %s", p, grown, op)
			}
		})
	}
}

func TestScriptsEndWithASweep(t *testing.T) {
	for p, steps := range scripts() {
		open := map[int]bool{}
		for _, s := range steps {
			switch s.Verb {
			case script.Open:
				open[s.Session] = true
			case script.Close:
				delete(open, s.Session)
			case script.Burst:
				if !open[s.Session] {
					t.Errorf("%s: session %d is used and was not opened", p, s.Session)
				}
			}
		}
		if last := steps[len(steps)-1]; last.Verb != script.Sweep {
			t.Errorf("%s ends with %s", p, last)
		}
	}
}
