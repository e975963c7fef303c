package formation

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Config is what a member knows before there is an ensemble.
type Config struct {
	// Self is this member. Its id must be durable before it is used here.
	Self Identity
	// Servers are all server lines, this member's own among them.
	Servers []Server
}

// Validate names what is wrong with the configuration.
func (c *Config) Validate() error {
	if len(c.Servers) == 0 || len(c.Servers) > MaxServers {
		return fmt.Errorf("%d server lines: there must be between 1 and %d", len(c.Servers), MaxServers)
	}
	if c.Self.MemberID == 0 {
		return errors.New("the member has no id: one is made, at random, for every new data directory")
	}
	names, addrs := map[uint64]Server{}, map[string]Server{}
	for _, s := range c.Servers {
		if other, ok := names[s.N]; ok {
			return fmt.Errorf("two lines for one server: %v and %v", other, s)
		}
		if other, ok := addrs[s.Addr]; ok {
			return fmt.Errorf("two servers with one address: %v and %v", other, s)
		}
		if s.Addr == "" || len(s.Addr) > MaxAddr {
			return fmt.Errorf("server.%d: an address of %d bytes: it must have between 1 and %d", s.N, len(s.Addr), MaxAddr)
		}
		names[s.N], addrs[s.Addr] = s, s
	}
	if _, ok := names[c.Self.N]; !ok {
		return fmt.Errorf("this is server.%d (see myid), but there is no line for it: the lines are %v", c.Self.N, c.Servers)
	}
	if len(c.voters()) == 0 {
		return errors.New("all servers are observers: at least one has to vote")
	}
	return nil
}

// voters returns the configured voters, ascending by N.
func (c *Config) voters() []Server {
	var out []Server
	for _, s := range c.Servers {
		if !s.Observer {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Server) int { return compare(a.N, b.N) })
	return out
}

func (c *Config) majority() int { return Majority(len(c.voters())) }

func (c *Config) server(n uint64) (Server, bool) { return find(c.Servers, n) }

func find(servers []Server, n uint64) (Server, bool) {
	for _, s := range servers {
		if s.N == n {
			return s, true
		}
	}
	return Server{}, false
}

func (c *Config) isVoter(n uint64) bool {
	s, ok := c.server(n)
	return ok && !s.Observer
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// differences compares two members' lists of servers: for each line that
// differs, what each has. A member may have an address that stands for all
// interfaces in its own line (a custom among ZooKeeper's users), with the same
// port as the others have there.
func differences(mine []Server, me uint64, theirs []Server, they uint64) []string {
	var out []string
	for _, s := range mine {
		o, ok := find(theirs, s.N)
		if !ok {
			out = append(out, fmt.Sprintf("%v stands here only", s))
			continue
		}
		if s.Observer != o.Observer || !sameAddr(s.Addr, s.N == me, o.Addr, o.N == they) {
			out = append(out, fmt.Sprintf("here %v, there %v", s, o))
		}
	}
	for _, o := range theirs {
		if _, ok := find(mine, o.N); !ok {
			out = append(out, fmt.Sprintf("%v stands there only", o))
		}
	}
	return out
}

func sameAddr(a string, aOwn bool, b string, bOwn bool) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	if aOwn && isWildcard(a) || bOwn && isWildcard(b) {
		_, aPort, aErr := net.SplitHostPort(a)
		_, bPort, bErr := net.SplitHostPort(b)
		return aErr == nil && bErr == nil && aPort == bPort
	}
	return false
}

// isWildcard: the address stands for all interfaces, so nobody else can use it.
func isWildcard(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
