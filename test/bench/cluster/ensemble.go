package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/conclave-dev/conclave/test/conformance/ensemble"
	"github.com/conclave-dev/conclave/test/conformance/proc"
	"github.com/conclave-dev/conclave/test/conformance/wire"
)

// ReadyTimeout bounds every wait for an ensemble.
const ReadyTimeout = 3 * time.Minute

// Ensemble is three members that know each other. Close ends them.
type Ensemble struct {
	Kind    Kind
	Members []*Member
	dir     string
}

// New prepares an ensemble in a fresh directory below o.Dir, without starting it.
func New(kind Kind, o Options) (*Ensemble, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, string(kind)+"-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	e := &Ensemble{Kind: kind, dir: dir}
	hosts, err := freeHosts()
	for i, host := range hosts {
		m := &Member{ID: i + 1, Addr: netip.AddrPortFrom(netip.MustParseAddr(host), clientPort), dir: filepath.Join(dir, fmt.Sprintf("member%d", i+1))}
		if m.path, m.args, err = o.command(kind, m.dir); err == nil {
			err = writeConfig(m.dir, m.ID, hosts)
		}
		if err != nil {
			break
		}
		e.Members = append(e.Members, m)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return e, nil
}

// Start prepares an ensemble, starts it and waits until it serves.
func Start(kind Kind, o Options) (*Ensemble, error) {
	e, err := New(kind, o)
	if err != nil {
		return nil, err
	}
	if err := e.StartAll(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// freeHosts picks unused addresses on the loopback network, one a member: they
// share their port numbers, and none of them is a port that an outgoing
// connection could be given while its member is down.
func freeHosts() ([]string, error) {
	for range 100 {
		a, b := 1+rand.IntN(254), rand.IntN(255)
		var hosts []string
		for i := range Size {
			hosts = append(hosts, fmt.Sprintf("127.%d.%d.%d", a, b, i+1))
		}
		if unused(hosts) {
			return hosts, nil
		}
	}
	return nil, errors.New("no free loopback addresses below 127.0.0.0/8: the bench needs Linux")
}

func unused(hosts []string) bool {
	for _, host := range hosts {
		for _, port := range []int{clientPort, peerPort, electionPort} {
			l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
			if err != nil {
				return false
			}
			l.Close()
		}
	}
	return true
}

// StartAll starts every member that does not run, and waits until all serve.
func (e *Ensemble) StartAll() error {
	for _, m := range e.Members {
		if m.running() {
			continue
		}
		if err := m.Start(); err != nil {
			return err
		}
	}
	return e.WaitReady()
}

// WaitReady waits until every member has a role and gives out sessions.
func (e *Ensemble) WaitReady() error {
	err := Poll(ReadyTimeout, func() error {
		for _, m := range e.Members {
			if err := m.Serves(); err != nil {
				return fmt.Errorf("member %d does not serve: %w", m.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", e.Kind, err, e.Logs())
	}
	return nil
}

// Poll calls cond every 10 ms until it returns nil; after timeout it returns
// cond's last error.
func Poll(timeout time.Duration, cond func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", timeout, err)
		case <-every.C:
		}
	}
}

// Addrs are the members' client addresses.
func (e *Ensemble) Addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, m := range e.Members {
		out = append(out, m.Addr)
	}
	return out
}

// PIDs are the running members' process ids.
func (e *Ensemble) PIDs() []int {
	var out []int
	for _, m := range e.Members {
		if m.running() {
			out = append(out, m.PID())
		}
	}
	return out
}

// Leader returns the member that leads, once exactly one says so.
func (e *Ensemble) Leader() (*Member, error) {
	var leader *Member
	err := Poll(ReadyTimeout, func() error {
		leader = nil
		for _, m := range e.Members {
			if !m.running() {
				continue
			}
			mntr, err := m.mntr()
			if err != nil {
				return err
			}
			switch {
			case mntr["server_state"] != "leader":
			case leader != nil:
				return fmt.Errorf("both member %d and member %d say that they lead", leader.ID, m.ID)
			default:
				leader = m
			}
		}
		if leader == nil {
			return errors.New("nobody leads")
		}
		return nil
	})
	return leader, err
}

// Logs returns the end of every member's log, for messages.
func (e *Ensemble) Logs() string {
	var b strings.Builder
	for _, m := range e.Members {
		fmt.Fprintf(&b, "--- %s, member %d:\n%s\n", e.Kind, m.ID, proc.Tail(m.logPath(), 15))
	}
	return b.String()
}

// Close kills the members and removes their files.
func (e *Ensemble) Close() error {
	var errs []error
	for _, m := range e.Members {
		errs = append(errs, m.Kill())
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}

// Serves is nil when the member has a role and gives out sessions.
func (m *Member) Serves() error {
	if m.ended() {
		return fmt.Errorf("its process has ended")
	}
	mntr, err := m.mntr()
	if err != nil {
		return err
	}
	if mntr["server_state"] == "" {
		return errors.New("it has no role yet")
	}
	c, err := wire.Dial(m.Addr.String(), 5*time.Second)
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

func (m *Member) mntr() (map[string]string, error) {
	answer, err := ensemble.FourLetterWord(m.Addr.String(), "mntr", 5*time.Second)
	return ensemble.ParseMntr(answer), err
}

// Syncs is how often the members have synced their logs since they started, by
// their own account.
func (e *Ensemble) Syncs() (float64, error) {
	sum := 0.0
	for _, m := range e.Members {
		mntr, err := m.mntr()
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseFloat(mntr["cnt_fsynctime"], 64)
		if err != nil {
			return 0, fmt.Errorf("%s, member %d: mntr says nothing about cnt_fsynctime: %w", e.Kind, m.ID, err)
		}
		sum += n
	}
	return sum, nil
}
