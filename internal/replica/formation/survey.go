package formation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The first half of a Former: asking who is there, and whether, and when, to
// propose. The other half, in former.go, is the proposal.

// view is what is known of a server from its last probe.
type view struct {
	probing bool
	// settled: it has answered or failed to, at least once.
	settled bool
	reply   *Reply
	err     error
}

// probe asks everybody who is not being asked.
func (f *Former) probe() {
	f.probeAt = f.now.Add(f.timing.Retry)
	for _, s := range f.cfg.Servers {
		if v := f.servers[s.N]; !v.probing {
			v.probing = true
			f.call(s, Request{Op: OpProbe})
		}
		if s.N == f.cfg.Self.N && !isWildcard(s.Addr) && !f.loop.probing {
			f.loop.probing = true
			f.call(s, Request{Op: OpProbe})
			f.out[len(f.out)-1].Loop = true
		}
	}
}

// meet looks for an ensemble in a reply to whatever was asked, and reports
// whether there is one that this member belongs to or can join.
func (f *Former) meet(c Call, reply *Reply) bool {
	if reply.ClusterID.IsZero() || reply.Code == CodeSameN || reply.Code == CodeWrongServer {
		return false
	}
	switch {
	case reply.From == f.cfg.Self && reply.Decided:
		f.finish(&Outcome{Founded: reply.Value})
	case reply.Decided && reply.Value.Names(f.cfg.Self):
		if f.phase != closing {
			f.value = reply.Value
			f.begin(closing)
			f.announce()
		}
	case f.stranger(reply) != "":
		if f.phase != surveying {
			f.retreat(f.stranger(reply))
		}
	default:
		f.finish(&Outcome{ClusterID: reply.ClusterID, Via: c.To.Addr})
	}
	return true
}

// stranger: an ensemble that does not know of this server is not to be joined:
// one of the two has a wrong address in its configuration.
func (f *Former) stranger(reply *Reply) string {
	mine, _ := f.cfg.server(f.cfg.Self.N)
	there, ok := find(reply.Servers, mine.N)
	if ok && there.Observer == mine.Observer && sameAddr(mine.Addr, true, there.Addr, false) {
		return ""
	}
	return fmt.Sprintf("server.%d belongs to ensemble %v, whose configuration does not have %v: add the line there, or correct it here", reply.From.N, reply.ClusterID, mine)
}

// answers are the voters that have answered, empty and under this very
// configuration; ascending by N. conflicts are answers that forbid to go on.
func (f *Former) answers() (voters []*Reply, conflicts []string) {
	for _, n := range slices.Sorted(maps.Keys(f.servers)) {
		v := f.servers[n]
		switch {
		case v.reply == nil:
		case v.reply.Code != CodeOK:
			conflicts = append(conflicts, v.reply.Reason)
		case !v.reply.ClusterID.IsZero():
			conflicts = append(conflicts, f.stranger(v.reply))
		case f.cfg.isVoter(n):
			voters = append(voters, v.reply)
		}
	}
	if r := f.loop.reply; r != nil && r.Code != CodeOK {
		conflicts = append(conflicts, r.Reason)
	}
	return voters, conflicts
}

func (f *Former) graceEnd() time.Time {
	if f.majoritySince.IsZero() {
		return time.Time{}
	}
	return f.majoritySince.Add(f.timing.Grace)
}

// consider decides whether to propose now.
func (f *Former) consider() {
	voters, conflicts := f.answers()
	self := slices.IndexFunc(voters, func(r *Reply) bool { return r.From == f.cfg.Self })
	if len(conflicts) > 0 || len(voters) < f.cfg.majority() {
		f.majoritySince, f.turnAt = time.Time{}, time.Time{}
		return
	}
	if f.majoritySince.IsZero() {
		f.majoritySince = f.now
	}
	if self < 0 || !f.complete(voters) && f.now.Before(f.graceEnd()) {
		f.turnAt = time.Time{}
		return
	}
	if f.turnAt.IsZero() {
		f.turnAt = f.now
		if self > 0 {
			f.turnAt = f.now.Add(f.jitter(f.timing.Stagger * time.Duration(self)))
		}
	}
	if f.now.Before(f.turnAt) || f.now.Before(f.quietUntil) {
		return
	}
	f.propose(voters)
}

// complete: nobody is to be waited for. A founding that is under way already
// has its founders.
func (f *Former) complete(voters []*Reply) bool {
	for _, r := range voters {
		if !r.Accepted.IsZero() {
			return true
		}
	}
	for _, s := range f.cfg.Servers {
		if s.Observer && !f.servers[s.N].settled {
			return false // it might have the ensemble's data
		}
	}
	return len(voters) == len(f.cfg.voters())
}

// jitter spreads d between d and one and a half of it: who is earlier in line
// stays so.
func (f *Former) jitter(d time.Duration) time.Duration {
	return d + time.Duration(f.rand()%uint64(d/2+1))
}

// Status describes the formation.
func (f *Former) Status() Status {
	var st Status
	voters, conflicts := f.answers()
	for _, s := range f.cfg.voters() {
		if slices.ContainsFunc(voters, func(r *Reply) bool { return r.From.N == s.N }) {
			st.Answered = append(st.Answered, s.N)
		} else {
			st.Missing = append(st.Missing, s.N)
		}
	}
	switch {
	case f.phase == finished:
	case len(conflicts) > 0:
		st.Problem = strings.Join(slices.Compact(conflicts), "; ")
	case f.problem != "":
		st.Problem = f.problem
	case len(voters) < f.cfg.majority():
		st.Problem = fmt.Sprintf("%d of %d voters have answered, a majority is %d", len(voters), len(f.cfg.voters()), f.cfg.majority())
		for _, n := range st.Missing {
			if err := f.servers[n].err; err != nil {
				s, _ := f.cfg.server(n)
				st.Problem += fmt.Sprintf("; %v: %v", s, err)
			}
		}
	}
	return st
}
