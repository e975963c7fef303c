//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/conclave-dev/conclave/internal/admin"
	"github.com/conclave-dev/conclave/internal/admin/adminpb"
	"github.com/conclave-dev/conclave/test/conformance/proc"
	"github.com/conclave-dev/conclave/test/conformance/wire"
	"github.com/conclave-dev/conclave/test/faults/check"
	"github.com/conclave-dev/conclave/test/faults/history"
)

// cluster is an ensemble, its network, its clients and their history.
type cluster struct {
	t       *testing.T
	dir     string
	net     *network
	members []*member
	history *history.History
	load    *load
	// hunt is on if members die at points.
	hunt *hunt
}

// smallDisk is the size of a disk that can be filled: the log's files take up to
// two times 64 MiB.
const smallDisk = "size=200m"

// newCluster prepares an ensemble without starting it. Members in smallDisks
// have a file system of their own.
func newCluster(t *testing.T, size int, smallDisks ...int) *cluster {
	t.Helper()
	bin := os.Getenv("CONCLAVE_BIN")
	if bin == "" {
		t.Fatal("CONCLAVE_BIN is not set: run make test-faults, or name a conclave-server")
	}
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, net: newNetwork(t, size), history: history.New()}
	for id := 1; id <= size; id++ {
		c.members = append(c.members, &member{id: id, dir: filepath.Join(dir, fmt.Sprintf("m%d", id)), program: []string{bin}, electionMs: 1000})
	}
	for _, id := range smallDisks {
		place := c.member(id).dir
		if err := errors.Join(os.MkdirAll(place, 0o755), unix.Mount("small", place, "tmpfs", 0, smallDisk)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(place, unix.MNT_DETACH) })
	}
	t.Cleanup(c.end)
	return c
}

// static lets the members form an ensemble by their server lines.
func (c *cluster) static() *cluster {
	c.t.Helper()
	var ids []int
	for _, m := range c.members {
		ids = append(ids, m.id)
	}
	for _, m := range c.members {
		c.must(m.configure(ids))
		c.must(m.start())
	}
	c.ready()
	return c
}

func (c *cluster) member(id int) *member { return c.members[id-1] }

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// end ends everything, and keeps it if the test has failed.
func (c *cluster) end() {
	if c.load != nil {
		c.load.end()
	}
	for _, m := range c.members {
		if m.fell() && !c.t.Failed() {
			c.t.Errorf("member %d has ended by itself", m.id)
		}
		if err := m.close(); err != nil {
			c.t.Error(err)
		}
	}
	if !c.t.Failed() {
		_ = os.RemoveAll(c.dir)
		return
	}
	path := filepath.Join(c.dir, "history.jsonl")
	if f, err := os.Create(path); err == nil {
		err = errors.Join(c.history.Write(f), f.Close())
		c.t.Logf("the history is in %s (%v), and the members' files beside it", path, err)
	}
	for _, m := range c.members {
		c.t.Logf("=== member %d: %s\n%s", m.id, m.logPath(), proc.Tail(m.logPath(), 25))
		c.keep(m)
	}
}

// keep saves what would go with a small disk, but for its ballast.
func (c *cluster) keep(m *member) {
	var st unix.Statfs_t
	if unix.Statfs(m.dir, &st) != nil || st.Type != unix.TMPFS_MAGIC {
		return
	}
	_ = os.Remove(ballast(m))
	_ = os.Remove(admin.SocketPath(m.dataDir())) // a socket can't be copied
	if err := os.CopyFS(m.dir+".kept", os.DirFS(m.dir)); err != nil {
		c.t.Logf("keep %s: %v", m.dir, err)
	}
}

// ready waits until every member that runs takes part and is caught up.
func (c *cluster) ready() {
	c.t.Helper()
	c.must(c.awaitReady())
}

func (c *cluster) awaitReady() error { return c.awaitReadyOf(c.members...) }

func (c *cluster) awaitReadyOf(members ...*member) error {
	for _, m := range members {
		if !m.up() {
			continue
		}
		err := eventually(fmt.Sprintf("member %d is ready", m.id), func() error {
			st, err := m.status()
			switch {
			case err != nil:
				return err
			case !st.GetReady():
				return fmt.Errorf("it is not: %s; %s", st.GetNotReadyReason(), st.GetMembershipReason())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leader returns the member that leads, and nil if there is none at the moment.
func (c *cluster) leader() (*member, *adminpb.StatusResponse) {
	for _, m := range c.members {
		if st, err := m.status(); err == nil && st.GetHasQuorum() && (st.GetRole() == adminpb.Role_ROLE_LEADER || st.GetRole() == adminpb.Role_ROLE_STANDALONE) {
			return m, st
		}
	}
	return nil, nil
}

// awaitLeader waits for one.
func (c *cluster) awaitLeader() *member {
	c.t.Helper()
	var lead *member
	c.must(eventually("somebody leads", func() error {
		if lead, _ = c.leader(); lead == nil {
			return errors.New("nobody does")
		}
		return nil
	}))
	return lead
}

// transfer hands leadership to a member, or to whoever is furthest.
func (c *cluster) transfer(to *member) error {
	lead, st := c.leader()
	if lead == nil || lead == to {
		return nil
	}
	id := uint64(0)
	if to != nil {
		for _, v := range st.GetVoters() {
			if int(v.GetName()) == to.id {
				id = v.GetId()
			}
		}
	}
	api, err := lead.admin()
	if err != nil {
		return err
	}
	// A transfer to a member that dies meanwhile is waited for as long as one
	// is ready to wait.
	ctx, cancel := context.WithTimeout(context.Background(), orderTime/5)
	defer cancel()
	_, err = api.TransferLeadership(ctx, &adminpb.TransferLeadershipRequest{TargetMemberId: id})
	return err
}

// agree waits until the members that run have applied the same entries, and have
// the same tree then, byte for byte, and the same digests at every zxid that
// several have kept one of.
func (c *cluster) agree() {
	c.t.Helper()
	c.must(c.awaitReady())
	c.must(eventually("all members have the same tree", func() error {
		first := ""
		for _, m := range c.members {
			if !m.up() {
				continue
			}
			tree, err := walk(m.addr())
			if err != nil {
				return err
			}
			if first == "" {
				first = tree
			}
			if tree != first {
				return fmt.Errorf("member %d differs:\n%s", m.id, difference(first, tree))
			}
		}
		return nil
	}))
	c.must(eventually("all members are equally far", func() error {
		var first *adminpb.StatusResponse
		for _, m := range c.members {
			if !m.up() {
				continue
			}
			st, err := m.status()
			if err != nil {
				return err
			}
			if first == nil {
				first = st
			}
			if st.GetZxid() != first.GetZxid() || st.GetAppliedIndex() != first.GetAppliedIndex() || st.GetClusterId() != first.GetClusterId() || st.GetConfigurationIndex() != first.GetConfigurationIndex() {
				return fmt.Errorf("member %d has %v\nanother one %v", m.id, st, first)
			}
		}
		return nil
	}))
	c.compareDigests()
}

func (c *cluster) compareDigests() {
	c.t.Helper()
	digests := map[string]string{}
	up, compared := 0, 0
	for _, m := range c.members {
		if !m.up() {
			continue
		}
		up++
		text, err := m.word("hash")
		c.must(err)
		for line := range strings.Lines(text) {
			zxid, digest, _ := strings.Cut(line, ":")
			if old, ok := digests[zxid]; ok {
				compared++
				if old != digest {
					c.t.Errorf("member %d has digest %s at zxid %s, another one %s", m.id, digest, zxid, old)
				}
			}
			digests[zxid] = digest
		}
	}
	if up > 1 && compared == 0 {
		c.t.Errorf("%d members have no zxid in common of which they know the digest", up)
	}
	c.t.Logf("the members agree; %d digests compared", compared)
}

func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] + "\n" + bs[i]
		}
	}
	return fmt.Sprintf("%d nodes and %d", len(as), len(bs))
}

// walk returns a member's tree in text, read without a session's leaving a
// trace: the session is closed only with its connection.
func walk(addr string) (string, error) {
	c, err := wire.Dial(addr, orderTime)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Handshake(wire.ConnectRequest{Timeout: orderTime})
	if err != nil || r.SessionID == 0 {
		return "", fmt.Errorf("connect to %s: %+v, %w", addr, r, err)
	}
	if reply, err := c.Call(wire.OpSync, wire.PathBody("/")); err != nil || reply.Err != wire.OK {
		return "", fmt.Errorf("sync on %s: %+v, %w", addr, reply, err)
	}
	var b strings.Builder
	var visit func(path string) error
	visit = func(path string) error {
		reply, err := c.Call(wire.OpGetData, wire.WatchBody(path, false))
		if err != nil || reply.Err != wire.OK {
			return fmt.Errorf("get %s on %s: error %d, %w", path, addr, reply.Err, err)
		}
		d := wire.NewReader(reply.Body)
		data, stat := d.String(), d.Stat()
		fmt.Fprintf(&b, "%s %q %+v\n", path, data, stat)
		reply, err = c.Call(wire.OpGetChildren, wire.WatchBody(path, false))
		if err != nil || reply.Err != wire.OK {
			return fmt.Errorf("children of %s on %s: error %d, %w", path, addr, reply.Err, err)
		}
		for _, name := range sorted(wire.NewReader(reply.Body).Strings()) {
			if err := visit(strings.TrimSuffix(path, "/") + "/" + name); err != nil {
				return err
			}
		}
		return nil
	}
	err = visit("/")
	if reply, cerr := c.Call(wire.OpCloseSession, nil); err == nil && (cerr != nil || reply.Err != wire.OK) {
		err = fmt.Errorf("close the session: %w", cerr)
	}
	return b.String(), err
}

// judge ends the load and judges its history.
func (c *cluster) judge() {
	c.t.Helper()
	c.load.conclude(c)
	c.agree()
	began := time.Now()
	conns := c.history.Connections()
	for name, vs := range map[string][]check.Violation{
		"linearizable": check.Linearizable(conns, "/reg/"),
		"order":        check.Order(conns),
		"expiry":       check.Expiry(conns),
		"ephemerals":   check.Ephemerals(conns),
		"watches":      check.Watches(conns),
		"appended":     check.Appended(conns, "/log", c.load.appended),
	} {
		for i, v := range vs {
			if i == 5 {
				c.t.Errorf("%s: and %d more", name, len(vs)-i)
				break
			}
			c.t.Error(v)
		}
	}
	c.t.Logf("%s; judged in %v", summary(conns), time.Since(began).Round(time.Millisecond))
}
