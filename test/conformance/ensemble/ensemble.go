package ensemble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/proc"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// Size is the number of members.
const Size = 3

// ReadyTimeout bounds every wait for an ensemble to serve: a genuine one needs
// about five seconds on a slow machine.
const ReadyTimeout = 90 * time.Second

// Ensemble is a set of members that know each other. Close ends them.
type Ensemble struct {
	Target  Target
	Members []*Member
	dir     string
}

// New prepares an ensemble below a fresh directory of its own, without starting
// it. extra are further lines of its configuration.
func New(target Target, extra ...string) (*Ensemble, error) {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return nil, err
	}
	hosts, err := freeHosts()
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	e := &Ensemble{Target: target, dir: dir}
	for i, host := range hosts {
		m := &Member{ID: i + 1, target: target, host: host, dir: filepath.Join(dir, fmt.Sprintf("member%d", i+1))}
		if m.cfg, err = writeConfig(m.dir, m.ID, hosts, extra...); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
		e.Members = append(e.Members, m)
	}
	return e, nil
}

// freeHosts picks an unused loopback address for every member. Members share
// their port numbers and differ by address: a port picked with ":0" could be
// taken by any outgoing connection while its member is down, and members here
// go down all the time.
func freeHosts() ([]string, error) {
	for range 100 {
		a, b := 1+rand.IntN(254), rand.IntN(255)
		var hosts []string
		for i := range Size {
			host := fmt.Sprintf("127.%d.%d.%d", a, b, i+1)
			if !unused(host) {
				break
			}
			hosts = append(hosts, host)
		}
		if len(hosts) == Size {
			return hosts, nil
		}
	}
	return nil, errors.New("found no free loopback addresses below 127.0.0.0/8; the suite needs Linux")
}

func unused(host string) bool {
	for _, port := range []int{clientPort, peerPort, electionPort, adminPort} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// StartAll starts every stopped member, lets every paused one go on, and waits
// until all of them serve.
func (e *Ensemble) StartAll() error {
	for _, m := range e.Members {
		act := m.Resume
		if m.Stopped() {
			act = m.Start
		}
		if err := act(); err != nil {
			return err
		}
	}
	return e.WaitReady()
}

// Addrs lists the members' client addresses.
func (e *Ensemble) Addrs() []string {
	var addrs []string
	for _, m := range e.Members {
		addrs = append(addrs, m.Addr())
	}
	return addrs
}

// ConnectString is what a client is given to find the ensemble.
func (e *Ensemble) ConnectString() string { return strings.Join(e.Addrs(), ",") }

// poll calls cond until it returns nil; after timeout it returns cond's last
// error.
func poll(timeout time.Duration, cond func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", timeout, err)
		case <-tick.C:
		}
	}
}

// WaitReady waits until every running member serves: it has a role, and opens
// and closes a session. Members that were killed or paused are not asked, but
// one that ended by itself is an error.
func (e *Ensemble) WaitReady() error {
	for _, m := range e.Members {
		var died error
		err := poll(ReadyTimeout, func() error {
			if died = m.ended(); died != nil || !m.Running() {
				return nil
			}
			return m.serves()
		})
		if err = errors.Join(err, died); err != nil {
			return fmt.Errorf("member %d is not ready: %w\n%s", m.ID, err, e.LogTails(30))
		}
	}
	return nil
}

// serves is nil when the member has a role and gives out sessions.
func (m *Member) serves() error {
	if role, err := m.Role(); err != nil || role == "" {
		return fmt.Errorf("role %q: %w", role, err)
	}
	c, err := wire.Dial(m.Addr(), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := c.Handshake(wire.ConnectRequest{Timeout: 10 * time.Second})
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	if resp.SessionID == 0 {
		return errors.New("open a session: got an expired one")
	}
	reply, err := c.Call(wire.OpCloseSession, nil)
	if err != nil || reply.Err != wire.OK {
		return fmt.Errorf("close a session: %+v, %w", reply, err)
	}
	return nil
}

// Leader returns the member that says that it leads, waiting until exactly one
// of the running ones does.
func (e *Ensemble) Leader() (*Member, error) {
	var leader *Member
	err := poll(ReadyTimeout, func() error {
		leader = nil
		for _, m := range e.Members {
			if !m.Running() {
				continue
			}
			role, err := m.Role()
			if err != nil || role != "leader" {
				continue
			}
			if leader != nil {
				return fmt.Errorf("both member %d and member %d say that they lead", leader.ID, m.ID)
			}
			leader = m
		}
		if leader == nil {
			return errors.New("no running member says that it leads")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w\n%s", err, e.LogTails(30))
	}
	return leader, nil
}

// Followers returns the running members that are not the leader.
func (e *Ensemble) Followers() ([]*Member, error) {
	leader, err := e.Leader()
	if err != nil {
		return nil, err
	}
	var out []*Member
	for _, m := range e.Members {
		if m != leader && m.Running() {
			out = append(out, m)
		}
	}
	return out, nil
}

// LogTails returns the last n lines of every member's log.
func (e *Ensemble) LogTails(n int) string {
	var b strings.Builder
	for _, m := range e.Members {
		fmt.Fprintf(&b, "=== member %d (%s), %s\n%s\n", m.ID, m.Addr(), m.LogPath(), proc.Tail(m.LogPath(), n))
	}
	return b.String()
}

// Close kills every member and removes their files, or keeps the files and says
// where they are.
func (e *Ensemble) Close(keepFiles bool) error {
	var errs []error
	for _, m := range e.Members {
		errs = append(errs, m.Kill())
	}
	if keepFiles {
		fmt.Fprintf(os.Stderr, "conformance: logs and data are kept in %s\n", e.dir)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}
