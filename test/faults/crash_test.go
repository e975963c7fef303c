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

	"github.com/go-zookeeper/zk"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// eventually waits until cond returns nil. Meanwhile members that die at points
// are started again.
func (c *cluster) eventually(what string, cond func() error) {
	c.t.Helper()
	c.must(eventually(what, func() error {
		if c.hunt != nil {
			c.hunt.look()
		}
		return cond()
	}))
}

// allReady waits until every member is, with no regard to how often one dies.
func (c *cluster) allReady() {
	c.t.Helper()
	c.eventually("everybody is ready", func() error {
		for _, m := range c.members {
			if st, err := m.status(); err != nil || !st.GetReady() {
				return fmt.Errorf("member %d is not: %v, %s %s", m.id, err, st.GetNotReadyReason(), st.GetMembershipReason())
			}
		}
		return nil
	})
}

// cease lets the members live from now on.
func (h *hunt) cease() {
	h.c.t.Helper()
	prey := h.prey
	h.arm(nil)
	if prey != nil {
		h.restart(prey)
	}
}

// Three members form an ensemble, one of which dies at every step of it, once.
// In the end it is one ensemble.
func TestCrashWhileForming(t *testing.T) {
	c := newCluster(t, 3)
	h := c.victims()
	h.arm(c.member(1))
	for _, m := range c.members {
		c.must(m.configure([]int{1, 2, 3}))
		c.must(m.start())
	}
	c.allReady()
	h.cease()
	c.allReady()
	c.newLoad(seed(t), 30*time.Second, 30*time.Second)
	c.must(c.load.progress())
	c.judge()
	h.passed("rename to identity (boot, memberID", "rename to identity (formation promised", "rename to identity (formation accepted",
		"write of identity.tmp", "sync of identity.tmp", "sync of directory conclave after identity (",
		"rename to identity (clusterID", "rename to identity (logID", "rename to a snapshot")
}

// Members of an ensemble under load die at every step of writing their logs and
// snapshots, one after the other, the leader too.
func TestCrashWhileServing(t *testing.T) {
	c := newCluster(t, 3)
	h := c.victims()
	for _, m := range c.members {
		c.must(m.configure([]int{1, 2, 3}))
		c.must(m.start())
	}
	c.allReady()
	c.newLoad(seed(t), 30*time.Second, 30*time.Second, 30*time.Second)
	c.must(c.load.progress())
	essential := []string{
		"half a write of the log (entries)", "write of the log (entries)", "sync of the log", "write of the log (a seal)", "write of the log (an opening)",
		"write of the log (a compaction)", "write of the log (a reset)", "write of the log (entries over others)",
		"create of the next segment", "sync of the next segment", "rename to the log", "sync of directory log",
		"rename to a spare segment", "create of a snapshot", "half a write of a snapshot", "sync of a snapshot", "rename to a snapshot", "sync of directory snap",
		"removal of a snapshot", "rename to identity (boot)",
	}
	h.next = func(died *member) *member { return c.member(died.id%3 + 1) }
	h.arm(c.member(1))
	h.restart(c.member(1))
	tries := 0
	c.eventually("the members have died at every point", func() error {
		missing := h.missing(essential)
		if len(missing) == 0 {
			return nil
		}
		if len(missing) <= 4 { // the rest comes by itself
			tries++
			h.provoke(missing[tries%len(missing)])
		}
		return fmt.Errorf("nobody has died at %q", missing)
	})
	h.cease()
	c.allReady()
	c.judge()
	h.passed(essential...)
}

// provoke sees to it that the prey comes to a point that is seldom passed.
func (h *hunt) provoke(point string) {
	c, m := h.c, h.prey
	c.t.Helper()
	others := func() error { // at least as far as the log reaches back
		before := c.load.total()
		return eventually("the others go on", func() error {
			if n := c.load.total() - before; n < 10*victimKeepEntries {
				return fmt.Errorf("by %d writes", n)
			}
			return nil
		})
	}
	switch {
	case strings.Contains(point, "a reset"):
		// One that was away for long enough is sent a snapshot.
		c.must(m.kill())
		_ = os.Remove(m.report())
		c.must(others())
		c.must(m.start())
	case strings.Contains(point, "over others"):
		// A leader that is not heard, and hears that all it has said has come, says
		// one thing more; nobody has that, and it is made to forget it.
		if err := c.transfer(m); err != nil {
			c.t.Logf("transfer: %v", err)
		}
		if lead, _ := c.leader(); lead != m {
			return // it is tried again
		}
		c.must(c.load.progress())
		s := &storm{c: c}
		mend, err := s.paths(m, true, false)
		c.must(err)
		c.must(eventually("another one leads, or it is dead", func() error {
			for _, o := range c.members {
				if st, err := o.status(); o != m && err == nil && st.GetRole() == adminpb.Role_ROLE_LEADER || !m.up() {
					return nil
				}
			}
			return errors.New("none does")
		}))
		c.must(mend())
	default:
		c.must(others())
	}
	_ = eventually("it is ready, or dead", func() error {
		if st, err := m.status(); m.up() && (err != nil || !st.GetReady()) {
			return errors.New("it is neither")
		}
		return nil
	})
}

// missing returns the points at which nobody has died.
func (h *hunt) missing(points []string) (out []string) {
	for _, p := range points {
		found := false
		for _, d := range h.done {
			found = found || strings.HasPrefix(d, p)
		}
		if !found {
			out = append(out, p)
		}
	}
	return out
}

// total is how many writes were acknowledged.
func (l *load) total() (n int64) {
	for _, c := range l.clients {
		n += c.writes.Load()
	}
	return n
}

// A member is made an ensemble, another one is taken in, is removed, starts
// clean and is taken in again: each dies at every step of what it is ordered.
func TestCrashWhileFollowingOrders(t *testing.T) {
	c := newCluster(t, 2)
	h := c.victims()
	h.arm(c.member(1))
	c.bootstrap()
	h.cease()
	c.newLoad(seed(t), 30*time.Second, 30*time.Second)
	c.must(c.load.progress())
	m := c.member(2)
	h.arm(m)
	c.join(m)
	c.leave(m)
	st := c.refuses(m, adminpb.Membership_MEMBERSHIP_REMOVED)
	c.eventually("member 2 starts clean", func() error {
		now, err := m.status()
		switch {
		case err != nil:
			return err
		case now.GetMembership() == adminpb.Membership_MEMBERSHIP_AWAITING && now.GetMemberId() != st.GetMemberId():
			return nil
		}
		api, err := m.admin()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderTime)
		defer cancel()
		_, err = api.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: st.GetClusterId(), MemberId: st.GetMemberId()})
		return errors.Join(err, errors.New("it has not begun anew yet"))
	})
	c.join(m)
	c.allReady()
	h.cease()
	c.allReady()
	c.judge()
	h.passed("rename to identity (boot, memberID", "rename to identity (clusterID", "rename to identity (clusterID, hosts", "rename to identity (logID",
		"rename to identity (removed", "half a write of identity.tmp (removed",
		"rename to identity (moveAside", "rename to a file moved aside", "write of the log (a reset)")
}

// The survivor of a lost majority dies at every step of its recovery, and the
// one that was given up at every step of noting it. What the survivor had is
// there, once; there was one recovery.
func TestCrashWhileRecovering(t *testing.T) {
	c := newCluster(t, 2)
	h := c.victims()
	c.bootstrap()
	c.join(c.member(2))
	client, _, err := zk.Connect([]string{c.member(1).addr()}, time.Minute, zk.WithLogger(silence{}), zk.WithLogInfo(false))
	c.must(err)
	defer client.Close()
	for i := range 50 {
		_, err := client.Create(fmt.Sprintf("/n%d", i), nil, 0, anybody)
		c.must(err)
	}
	// What both have is what the survivor has.
	c.agree()
	m := c.member(1)
	c.must(c.member(2).stop())
	before, err := m.status()
	c.must(err)
	c.must(m.kill())
	h.arm(m)
	c.must(m.start())
	var first int64
	c.eventually("the survivor goes on alone", func() error {
		st, err := m.status()
		switch {
		case err != nil:
			return err
		case st.GetClusterId() != before.GetClusterId() && st.GetReady():
			first = st.GetZxid()
			return nil
		}
		api, err := m.admin()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderTime)
		defer cancel()
		_, err = api.RecoverLostMajority(ctx, &adminpb.RecoverLostMajorityRequest{ClusterId: before.GetClusterId(), MemberId: before.GetMemberId(), Reason: "a test of it"})
		return errors.Join(err, errors.New("it does not yet"))
	})
	h.cease()
	c.must(c.awaitReadyOf(m))
	if first>>32 <= before.GetZxid()>>32 {
		t.Errorf("the new ensemble begins with zxid %#x, the old one had %#x", first, before.GetZxid())
	}
	names, _, err := client.Children("/")
	c.must(err)
	for i := range 50 {
		if name := fmt.Sprintf("n%d", i); !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") {
			t.Errorf("%s is lost", name)
		}
	}
	audit, err := os.ReadFile(filepath.Join(m.dataDir(), "conclave", "audit.log"))
	c.must(err)
	if n := strings.Count(string(audit), "\n"); n != 1 {
		t.Errorf("the audit trail has %d lines:\n%s", n, audit)
	}
	h.arm(c.member(2))
	c.must(c.member(2).start())
	c.refuses(c.member(2), adminpb.Membership_MEMBERSHIP_SUPERSEDED)
	h.cease()
	c.refuses(c.member(2), adminpb.Membership_MEMBERSHIP_SUPERSEDED)
	c.must(c.member(2).kill())
	h.passed("rename to identity (recovery", "rename to a snapshot", "rename to the audit trail", "rename to identity (clusterID, formerClusterIDs",
		"half a write of identity.tmp (supersededBy", "rename to identity (supersededBy")
}
