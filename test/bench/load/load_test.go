package load

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/test/bench/engine"
	"github.com/conclave-dev/conclave/test/bench/fake"
	"github.com/conclave-dev/conclave/test/bench/prep"
	"github.com/conclave-dev/conclave/test/bench/proto"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

const conns = 4

func serve(t *testing.T, fault func(*fake.Answer)) *fake.Server {
	t.Helper()
	s, err := fake.Start(fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// plan is short; windows on the real clock are only ever compared with nothing.
func plan(s *fake.Server) Plan {
	return Plan{Servers: []netip.AddrPort{s.Addr()}, Conns: conns, Depth: 3, Measure: 50 * time.Millisecond, SessionTimeout: 10_000}
}

// scripts makes one of each, with its nodes in place.
var scripts = map[string]func(t *testing.T, s *fake.Server) Script{
	"mixed": func(t *testing.T, s *fake.Server) Script {
		return NewData(nodes(t, s), conns, 50, proto.OpGetData)
	},
	"exists": func(t *testing.T, s *fake.Server) Script {
		return NewData(nodes(t, s), conns, 10, proto.OpExists)
	},
	"multi": func(t *testing.T, s *fake.Server) Script { return NewMulti(nodes(t, s), conns) },
	"create": func(t *testing.T, s *fake.Server) Script {
		return NewCreate(dirs(t, s), conns)
	},
	"ephemeral": func(t *testing.T, s *fake.Server) Script {
		return NewEphemeral(dirs(t, s), conns)
	},
	"lock": func(t *testing.T, s *fake.Server) Script {
		dirs(t, s)
		return NewLock([]string{ConnDir("/r", 0), ConnDir("/r", 1)}, conns)
	},
}

func nodes(t *testing.T, s *fake.Server) *Nodes {
	t.Helper()
	n := NewNodes("/n", conns)
	if err := prep.Create([]netip.AddrPort{s.Addr()}, n.Paths, true); err != nil {
		t.Fatal(err)
	}
	return n
}

func dirs(t *testing.T, s *fake.Server) string {
	t.Helper()
	paths := []string{"/r"}
	for i := range conns {
		paths = append(paths, ConnDir("/r", i))
	}
	if err := prep.Create([]netip.AddrPort{s.Addr()}, paths, false); err != nil {
		t.Fatal(err)
	}
	return "/r"
}

func TestScriptsAgainstAServerThatIsRight(t *testing.T) {
	for name, make := range scripts {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			script := make(t, s)
			before := s.Len()
			r, err := Run(plan(s), func() Script { return script })
			if err != nil {
				t.Fatal(err)
			}
			if r.Latencies.Count() == 0 {
				t.Error("nothing was counted")
			}
			if c, ok := script.(*Create); ok {
				var paths []string
				c.Created(func(path string) { paths = append(paths, path) })
				if err := prep.Delete([]netip.AddrPort{s.Addr()}, paths); err != nil {
					t.Error(err)
				}
			}
			if s.Len() != before {
				t.Errorf("%d nodes before, %d afterwards", before, s.Len())
			}
		})
	}
}

// Every wrong answer must end the run, whatever script it is given to.
func TestScriptsAgainstAServerThatIsWrong(t *testing.T) {
	stat := func(b []byte, change func(*wire.Stat)) []byte {
		at := len(b) - proto.StatLen
		s := wire.NewReader(b[at:]).Stat()
		change(&s)
		return new(wire.Writer).Raw(b[:at]).Long(s.Czxid).Long(s.Mzxid).Long(s.Ctime).Long(s.Mtime).Int(s.Version).
			Int(s.Cversion).Int(s.Aversion).Long(s.EphemeralOwner).Int(s.DataLength).Int(s.NumChildren).Long(s.Pzxid).Bytes()
	}
	own := make(map[int64]string) // the last node that a session created
	for _, c := range []struct {
		name, script string
		op           int32
		fault        func(*fake.Answer)
		want         string
	}{
		{"an error", "mixed", proto.OpGetData, func(a *fake.Answer) { a.Err, a.Body = proto.NoNode, nil }, "failed with -101"},
		{"a set's version is one too high", "mixed", proto.OpSetData, func(a *fake.Answer) {
			a.Body = stat(a.Body, func(s *wire.Stat) { s.Version++ })
		}, "own writes made"},
		{"a set happens at an old zxid", "mixed", proto.OpSetData, func(a *fake.Answer) {
			a.Body = stat(a.Body, func(s *wire.Stat) { s.Mzxid = 1 })
		}, "came after one at zxid"},
		{"a read's version is not its value's", "mixed", proto.OpGetData, func(a *fake.Answer) {
			a.Body = stat(a.Body, func(s *wire.Stat) { s.Version += 7 })
		}, "version"},
		{"a value is damaged", "mixed", proto.OpGetData, func(a *fake.Answer) { a.Body[40] ^= 1 }, "damaged"},
		{"a value of another node", "mixed", proto.OpGetData, func(a *fake.Answer) { proto.FillValue(a.Body[4:104], 9999, 0) }, "value of node 9999"},
		{"an old value", "mixed", proto.OpGetData, func(a *fake.Answer) {
			var node uint32
			fmt.Sscanf(a.Path, "/n%d", &node)
			s := wire.NewReader(a.Body[104:]).Stat()
			if s.Version > 0 {
				proto.FillValue(a.Body[4:104], node, s.Version-1)
				a.Body = stat(a.Body, func(s *wire.Stat) { s.Version-- })
			}
		}, "version"},
		{"a node modified in the future", "exists", proto.OpExists, func(a *fake.Answer) {
			a.Body = stat(a.Body, func(s *wire.Stat) { s.Mzxid = a.Zxid + 1 })
		}, "in a reply of zxid"},
		{"an empty node", "exists", proto.OpExists, func(a *fake.Answer) {
			a.Body = stat(a.Body, func(s *wire.Stat) { s.DataLength = 0 })
		}, "data of 0 bytes"},
		{"a transaction without its last part", "multi", proto.OpMulti, func(a *fake.Answer) {
			a.Body = append(a.Body[:9*(9+proto.StatLen)], a.Body[10*(9+proto.StatLen):]...)
		}, "says that it is the last"},
		{"a transaction with a part that failed", "multi", proto.OpMulti, func(a *fake.Answer) {
			b := new(wire.Writer).Int(-1).Bool(false).Int(proto.NoNode).Int(proto.NoNode).Bytes()
			a.Body = append(b, a.Body[9+proto.StatLen:]...)
		}, "error -101"},
		{"a create returns another path", "create", proto.OpCreate, func(a *fake.Answer) { a.Body[len(a.Body)-1]++ }, "returned the path"},
		{"a candidate is not in the list", "lock", proto.OpGetChildren, func(a *fake.Answer) {
			a.Body = new(wire.Writer).Strings().Bytes()
		}, "does not find it"},
		{"a list has nobody but who asks", "lock", proto.OpGetChildren, func(a *fake.Answer) {
			a.Body = new(wire.Writer).Strings(own[a.Session]).Bytes()
		}, "held twice|went from candidate"},
		{"a lock's node is gone while it is held", "lock", proto.OpExists, func(a *fake.Answer) { a.Err = proto.NoNode }, "failed with -101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			s := serve(t, func(a *fake.Answer) {
				if a.Op == proto.OpCreate && a.Err == proto.OK {
					own[a.Session] = path.Base(wire.NewReader(a.Body).String())
				}
				if a.Op != c.op || strings.HasSuffix(a.Path, "/r") {
					return
				}
				// Some right answers come first, and the transactions that
				// prepare the nodes are spared.
				if n++; n > 5 {
					c.fault(a)
				}
			})
			script := scripts[c.script](t, s)
			p := plan(s)
			p.Measure = time.Minute // the violation ends it
			_, err := Run(p, func() Script { return script })
			var v *engine.Violation
			if !errors.As(err, &v) || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("got %v, want a violation with %q", err, c.want)
			}
		})
	}
}

func TestThreadsShareTheConnections(t *testing.T) {
	s := serve(t, nil)
	n := nodes(t, s)
	p := plan(s)
	p.Threads = 2
	var began, ended int
	p.Window = func(begin bool) {
		if begin {
			began++
		} else {
			ended++
		}
	}
	scripts := 0
	r, err := Run(p, func() Script { scripts++; return NewData(n, conns, 20, proto.OpGetData) })
	if err != nil {
		t.Fatal(err)
	}
	if scripts != 2 || began != 1 || ended != 1 || r.Latencies.Count() == 0 {
		t.Errorf("%d scripts, window began %d and ended %d times, %d operations", scripts, began, ended, r.Latencies.Count())
	}
}

func TestALostConnectionEndsTheRun(t *testing.T) {
	s := serve(t, nil)
	n := nodes(t, s)
	p := plan(s)
	p.Window = func(begin bool) { s.Drop() }
	if _, err := Run(p, func() Script { return NewData(n, conns, 0, proto.OpGetData) }); err == nil || !strings.Contains(err.Error(), "ended the connection") {
		t.Errorf("got %v", err)
	}
}
