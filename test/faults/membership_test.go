//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/conclave-dev/conclave/internal/admin/adminpb"
)

// order gives the leader an order that names the configuration as it is now, and
// gives it again until it succeeds or is refused for good.
func (c *cluster) order(what string, f func(ctx context.Context, api adminpb.AdminClient, st *adminpb.StatusResponse) error) {
	c.t.Helper()
	c.eventually(what, func() error {
		lead, st := c.leader()
		if lead == nil {
			return errors.New("nobody leads")
		}
		api, err := lead.admin()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderTime)
		defer cancel()
		return f(ctx, api, st)
	})
}

// join takes an empty member in and gives it a vote.
func (c *cluster) join(m *member) {
	c.t.Helper()
	c.must(m.configure(nil))
	c.must(m.start())
	var id uint64
	c.eventually(fmt.Sprintf("member %d waits", m.id), func() error {
		st, err := m.status()
		if err != nil {
			return err
		}
		if st.GetMembership() != adminpb.Membership_MEMBERSHIP_AWAITING || st.GetMemberId() == 0 {
			return fmt.Errorf("its membership is %v", st.GetMembership())
		}
		id = st.GetMemberId()
		return nil
	})
	c.order(fmt.Sprintf("add member %d", m.id), func(ctx context.Context, api adminpb.AdminClient, st *adminpb.StatusResponse) error {
		_, err := api.AddLearner(ctx, &adminpb.AddLearnerRequest{
			ConfigurationIndex: st.GetConfigurationIndex(), MemberId: id, Name: int32(m.id), PeerAddress: address(m.id) + ":2888", ClientAddress: m.addr(),
		})
		return err
	})
	c.order(fmt.Sprintf("promote member %d", m.id), func(ctx context.Context, api adminpb.AdminClient, st *adminpb.StatusResponse) error {
		_, err := api.Promote(ctx, &adminpb.PromoteRequest{ConfigurationIndex: st.GetConfigurationIndex(), MemberId: id})
		return err
	})
	c.t.Logf("%s: member %d votes", time.Now().Format("15:04:05.000"), m.id)
}

// leave takes a member out for good.
func (c *cluster) leave(m *member) {
	c.t.Helper()
	var id uint64
	c.eventually(fmt.Sprintf("member %d says who it is", m.id), func() error {
		st, err := m.status()
		id = st.GetMemberId()
		return err
	})
	c.eventually("leadership is elsewhere", func() error {
		lead, _ := c.leader()
		if lead == m {
			return errors.Join(errors.New("the one that is to leave leads"), c.transfer(nil))
		}
		return nil
	})
	c.order(fmt.Sprintf("remove member %d", m.id), func(ctx context.Context, api adminpb.AdminClient, st *adminpb.StatusResponse) error {
		_, err := api.Remove(ctx, &adminpb.RemoveRequest{ConfigurationIndex: st.GetConfigurationIndex(), MemberId: id})
		return err
	})
	c.t.Logf("%s: member %d is removed", time.Now().Format("15:04:05.000"), m.id)
}

// bootstrap makes an ensemble of member 1, the others being down.
func (c *cluster) bootstrap() {
	c.t.Helper()
	m := c.member(1)
	c.must(m.configure(nil))
	c.must(m.start())
	c.eventually("member 1 is an ensemble", func() error {
		st, err := m.status()
		if err != nil || st.GetReady() {
			return err
		}
		api, err := m.admin()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderTime)
		defer cancel()
		_, err = api.Bootstrap(ctx, &adminpb.BootstrapRequest{ClusterId: "0123456789abcdef0123456789abcdef", MemberId: st.GetMemberId()})
		return errors.Join(err, errors.New("it is not ready yet"))
	})
}

// refuses waits until a member says that it has been removed.
func (c *cluster) refuses(m *member, want adminpb.Membership) *adminpb.StatusResponse {
	c.t.Helper()
	var out *adminpb.StatusResponse
	c.eventually(fmt.Sprintf("member %d refuses to serve", m.id), func() error {
		st, err := m.status()
		if err != nil {
			return err
		}
		out = st
		if st.GetMembership() != want || st.GetReady() || st.GetMembershipReason() == "" {
			return fmt.Errorf("its membership is %v (%s), ready %v", st.GetMembership(), st.GetMembershipReason(), st.GetReady())
		}
		return nil
	})
	return out
}

// An ensemble grows from one to five and shrinks to one again under load, with a
// change of leader and a crash at each size. Members that were removed refuse to
// serve, also on an older volume, and join again once they are told to start
// clean.
func TestMembershipUnderLoad(t *testing.T) {
	c := newCluster(t, 5)
	c.bootstrap()
	c.newLoad(seed(t), 20*time.Second, 20*time.Second, 30*time.Second)
	c.must(c.load.progress())
	all := []int{1, 2, 3, 4, 5}
	expect := func(n int) {
		t.Helper()
		c.must(eventually(fmt.Sprintf("%d members vote", n), func() error {
			if _, st := c.leader(); st == nil || !slices.Equal(voters(st), all[:n]) {
				return fmt.Errorf("the voters are %v", voters(st))
			}
			return nil
		}))
		// Clients find the members that there are by now.
		for _, cl := range c.load.clients {
			cl.unplug(true)
			cl.unplug(false)
		}
		c.must(c.load.progress())
	}
	trouble := func(n int) {
		t.Helper()
		c.must(eventually("leadership is handed over", func() error { return c.transfer(c.member(n)) }))
		m := c.awaitLeader()
		t.Logf("%s: member %d, which leads, is killed", time.Now().Format("15:04:05.000"), m.id)
		c.must(m.kill())
		c.must(c.load.progress())
		c.must(m.start())
		c.ready()
	}
	expect(1)
	c.join(c.member(2))
	c.join(c.member(3))
	expect(3)
	trouble(3)
	c.join(c.member(4))
	c.join(c.member(5))
	expect(5)
	trouble(5)

	// Member 4 leaves, and comes back on a volume of before.
	c.must(c.member(4).stop())
	old := c.member(4).dir + ".old"
	c.must(copyDir(c.member(4), old))
	c.must(c.member(4).start())
	c.ready()
	for _, id := range []int{5, 4} {
		c.leave(c.member(id))
		c.refuses(c.member(id), adminpb.Membership_MEMBERSHIP_REMOVED)
		c.must(c.member(id).kill())
	}
	expect(3)
	c.must(replaceDir(c.member(4), old))
	c.must(c.member(4).start())
	st := c.refuses(c.member(4), adminpb.Membership_MEMBERSHIP_REMOVED)
	api, err := c.member(4).admin()
	c.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), orderTime)
	_, err = api.StartClean(ctx, &adminpb.StartCleanRequest{ClusterId: st.GetClusterId(), MemberId: st.GetMemberId()})
	cancel()
	c.must(err)
	c.join(c.member(4))
	expect(4)
	c.leave(c.member(4))
	c.must(c.member(4).kill())

	trouble(3)
	for _, id := range []int{3, 2} {
		c.leave(c.member(id))
		c.must(c.member(id).kill())
	}
	expect(1)
	c.judge()
}
