package member

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/jute"
	"github.com/conclave-dev/conclave/internal/statemachine"
)

func TestWhatAReconfigAsksFor(t *testing.T) {
	list := []statemachine.Member{
		{ID: 1, Name: 1, Voter: true, Host: "h1", PeerPort: 1, ElectionPort: 2, ClientPort: 3},
		{ID: 2, Name: 2, Voter: true, Host: "h2", PeerPort: 1, ElectionPort: 2, ClientPort: 3},
		{ID: 3, Name: 3, Observer: true, Host: "h3", PeerPort: 1, ElectionPort: 2, ClientPort: 3},
		{ID: 4, Name: 4, Host: "h4", PeerPort: 1, ElectionPort: 2, ClientPort: 3}, // is catching up
	}
	for _, c := range []struct {
		joining, leaving, members string
		want                      string
		code                      jute.ErrCode
	}{
		{"", "", "", "1:1@h1 2:2@h2 3:3@h3o", 0},
		{"", "2, 7", "", "1:1@h1 3:3@h3o", 0},
		{"server.4=h4:1:2;3", "2", "", "1:1@h1 3:3@h3o 4:4@h4", 0},
		{" server.5 = h5:1:2:participant;3 ,server.3=h3:1:2;3", "", "", "1:1@h1 2:2@h2 3:3@h3 5:0@h5", 0},
		{"server.2=new:1:2:observer;3", "", "", "1:1@h1 2:2@newo 3:3@h3o", 0},
		{"", "", "server.1=h1:1:2;3\nserver.9=h9:1:2:observer;h9:3,version=100000000", "1:1@h1 9:0@h9o", 0},
		{"", "two", "", "", jute.ErrMarshalling},
		{"server.x=h:1:2;3", "", "", "", jute.ErrMarshalling},
		{"server.5", "", "", "", jute.ErrBadArguments},
		{"server.5=h5:1:2", "", "", "", jute.ErrBadArguments},
		{"server.5=h5;3", "", "", "", jute.ErrBadArguments},
		{"server.300=h5:1:2;3", "", "", "", jute.ErrBadArguments},
		{"server.5=H1:1:7;3", "", "", "", jute.ErrBadArguments},
	} {
		got, code, err := planReconfig(list, &jute.ReconfigRequest{Joining: c.joining, Leaving: c.leaving, NewMembers: c.members})
		var out []string
		for _, p := range got {
			role := ""
			if p.Observer {
				role = "o"
			}
			if p.Voter == p.Observer {
				t.Errorf("%+v: %+v", c, p)
			}
			out = append(out, fmt.Sprintf("%d:%d@%s%s", p.Name, p.ID, p.Host, role))
		}
		if strings.Join(out, " ") != c.want || code != c.code || (err != nil) != (c.code != 0) {
			t.Errorf("%q %q %q: %v, %v, %v; want %s, %v", c.joining, c.leaving, c.members, out, code, err, c.want, c.code)
		}
	}
}

const (
	superUser   = "super:admin"
	superDigest = "DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=\n" // of superUser
)

func (c *client) auth(user string) {
	c.t.Helper()
	b, mark := jute.BeginFrame(nil)
	b = jute.AppendInt32(jute.AppendInt32(b, jute.XidAuth), int32(jute.OpAuth))
	b = jute.AppendBuffer(jute.AppendString(jute.AppendInt32(b, 0), "digest"), []byte(user))
	jute.EndFrame(b, mark)
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
	if code, _ := c.receive(jute.XidAuth); code != jute.OK {
		c.t.Fatal(code)
	}
}

func (c *client) reconfig(joining, leaving, members string, from int64) (string, jute.Stat, jute.ErrCode) {
	c.t.Helper()
	code, body := c.do(jute.OpReconfig, (&jute.ReconfigRequest{Joining: joining, Leaving: leaving, NewMembers: members, CurConfigID: from}).Append(nil))
	d := jute.NewDecoder(body)
	data := string(d.Buffer())
	var st jute.Stat
	st.Decode(&d)
	return data, st, code
}

// Clients change the membership: a server that was started to be told its
// ensemble joins and votes, members leave, also the leader, and who watches
// /zookeeper/config is told each time.
func TestClientsReconfigure(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 4, "reconfigEnabled=true\n"+superDigest)
	lines := strings.SplitAfter(e.servers, "\n")
	all := e.servers
	e.servers = strings.Join(lines[:3], "")
	for n := 1; n <= 3; n++ {
		e.start(n)
	}
	e.ready()
	e.servers, e.await = all, true
	e.start(4)
	e.await = false
	fourth := strings.TrimSpace(lines[3])

	// Through a follower, so that it is forwarded.
	follower := e.leader()%3 + 1
	c := e.connect(follower, 30*time.Second, nil)
	watcher := e.connect(e.leader(), 30*time.Second, nil)
	watcher.get(statemachine.ConfigPath, true)
	if _, _, code := c.reconfig(fourth, "", "", -1); code != jute.ErrNoAuth {
		t.Fatalf("anybody: %v", code)
	}
	for _, joining := range []string{"server.9=203.0.113.1:1:2;3", "server.999=127.0.0.1:1:2:observer;3"} {
		if _, _, code := c.reconfig(joining, "", "", -1); code != jute.ErrNoAuth {
			t.Errorf("anybody, %s: %v", joining, code)
		}
	}
	c.auth(superUser)
	for _, bad := range []struct {
		joining, leaving, members string
		from                      int64
		code                      jute.ErrCode
	}{
		{fourth, "", "", 12345, jute.ErrBadVersion},
		{"server.9", "", "", -1, jute.ErrBadArguments},
		{"", "1,2", "", -1, jute.ErrBadArguments}, // one voter, with standaloneEnabled
		{"server.9=" + hosts(t, 1)[0] + ":10001:10002;10000", "", "", -1, jute.ErrNewConfigNoQuorum},
		{"", "x", "", -1, jute.ErrMarshalling},
	} {
		if _, _, code := c.reconfig(bad.joining, bad.leaving, bad.members, bad.from); code != bad.code {
			t.Errorf("%+v: %v", bad, code)
		}
	}
	if len(watcher.events) != 0 {
		t.Fatalf("what was refused has been told of: %v", watcher.events)
	}
	// What is sent before and after it keeps its place.
	created := c.send(jute.OpCreate, (&jute.CreateRequest{Path: "/before", ACL: open}).Append(nil, jute.OpCreate))
	asked := c.send(jute.OpReconfig, (&jute.ReconfigRequest{Joining: fourth, CurConfigID: 0}).Append(nil))
	read := c.send(jute.OpGetData, (&jute.PathWatchRequest{Path: statemachine.ConfigPath}).Append(nil))
	if code, _ := c.receive(created); code != jute.OK {
		t.Fatal(code)
	}
	code, body := c.receive(asked)
	d := jute.NewDecoder(body)
	data := string(d.Buffer())
	if code != jute.OK || strings.Count(data, ":participant") != 4 || !strings.Contains(data, "server.4=") {
		t.Fatalf("%v\n%s", code, data)
	}
	code, body = c.receive(read)
	d = jute.NewDecoder(body)
	if again := string(d.Buffer()); code != jute.OK || again != data {
		t.Fatalf("read behind it: %v\n%s", code, again)
	}
	if _, _, code := watcher.get(statemachine.ConfigPath, true); code != jute.OK || len(watcher.events) != 1 {
		t.Fatalf("the watcher was told %v", watcher.events)
	}
	eventually(t, "the new voter does not serve", func() bool { st := e.source(4).Status(); ok, _ := st.Ready(); return ok })

	// Repeated, it changes nothing; planned on the version before, it is refused.
	again, _, code := c.reconfig(fourth, "", "", -1)
	if code != jute.OK || again != data {
		t.Errorf("repeated: %v\n%s", code, again)
	}
	if _, _, code := c.reconfig("", "4", "", 0); code != jute.ErrBadVersion {
		t.Errorf("planned on the founding configuration: %v", code)
	}
	// The leader leaves, and somebody else becomes an observer.
	lead := e.leader()
	keep := []string{}
	observer := 0
	for n := 1; n <= 4; n++ {
		line := strings.TrimSpace(lines[n-1])
		switch {
		case n == lead:
			continue
		case observer == 0 && n != follower:
			line = strings.Replace(line, ";", ":observer;", 1)
			observer = n
		}
		keep = append(keep, line)
	}
	data, _, code = c.reconfig("", "", strings.Join(keep, ","), -1)
	if code != jute.OK || strings.Count(data, ":participant") != 2 || strings.Count(data, ":observer") != 1 || strings.Contains(data, fmt.Sprintf("server.%d=", lead)) {
		t.Fatalf("%v\n%s", code, data)
	}
	c.mustCreate("/after", jute.ModePersistent)
	eventually(t, "who left does not know", func() bool { return e.members[lead-1].standing.Load().refuses() })
}

// An ensemble of one can't be reconfigured, as in ZooKeeper; nor can one whose
// configuration does not allow it.
func TestReconfigIsRefused(t *testing.T) {
	t.Parallel()
	one := newEnsemble(t, 1, "reconfigEnabled=true\n"+superDigest)
	one.start(1)
	one.ready()
	c := one.connect(1, 30*time.Second, nil)
	c.auth(superUser)
	if _, _, code := c.reconfig("", "1", "", -1); code != jute.ErrUnimplemented {
		t.Errorf("an ensemble of one: %v", code)
	}
	three := newEnsemble(t, 3, superDigest)
	three.startAll()
	c = three.connect(1, 30*time.Second, nil)
	c.auth(superUser)
	if _, _, code := c.reconfig("", "1", "", -1); code != jute.ErrReconfigDisabled {
		t.Errorf("without reconfigEnabled: %v", code)
	}
}

// A reconfig whose outcome can't be known costs the client its connection and
// nothing else.
func TestReconfigWithoutAMajority(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 3, "reconfigEnabled=true\n"+superDigest)
	e.startAll()
	for n := 2; n <= 3; n++ {
		e.stop(n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if code, err := e.members[0].reconfig(ctx, jute.ReconfigRequest{Leaving: "3", CurConfigID: -1}, true); err == nil && code == jute.OK {
		t.Error("the membership was changed by a minority")
	}
	if got := e.voters(1); got != 3 {
		t.Errorf("%d voters", got)
	}
}

// A server that was started the way ZooKeeper wants it, with the lines of all
// and its own, is no business of the ensemble's until a client says so.
func TestReconfigTakesInAConfiguredServer(t *testing.T) {
	t.Parallel()
	e := newEnsemble(t, 4, "reconfigEnabled=true\n"+superDigest)
	lines := strings.SplitAfter(e.servers, "\n")
	all := e.servers
	e.servers = strings.Join(lines[:3], "")
	for n := 1; n <= 3; n++ {
		e.start(n)
	}
	e.ready()
	e.servers = all
	e.start(4)
	eventually(t, "the fourth does not say what it waits for", func() bool {
		return strings.Contains(e.source(4).Status().MembershipReason, "does not have server.4")
	})
	c := e.connect(1, 30*time.Second, nil)
	c.auth(superUser)
	data, _, code := c.reconfig(strings.TrimSpace(lines[3]), "", "", -1)
	if code != jute.OK || strings.Count(data, ":participant") != 4 {
		t.Fatalf("%v\n%s", code, data)
	}
	e.ready()
	// It knows where it belongs, also after a restart.
	e.stop(4)
	e.start(4)
	e.ready()
	// And when it comes back on a new disk, as another, it gets its seat back.
	old := e.id(4)
	e.stop(4)
	check(t, os.RemoveAll(filepath.Join(e.dir, "4", "conclave")))
	e.start(4)
	eventually(t, "it does not get its seat back", func() bool {
		data, _, code := c.reconfig(strings.TrimSpace(lines[3]), "", "", -1)
		if code != jute.OK || strings.Count(data, ":participant") != 4 {
			t.Fatalf("%v\n%s", code, data)
		}
		return e.isVoter(1, 4) // at first the one before it is not silent for long enough
	})
	if _, ok := e.members[0].node.Load().Members().Get(old); ok {
		t.Error("its old id is still a member")
	}
	e.ready()
	e.sameState()
}
