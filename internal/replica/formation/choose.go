package formation

import (
	"fmt"
	"slices"
	"strings"
)

// choose is the proposer's rule. It has the promises for one ballot, which was
// prepared with seats: the voters that had answered, by the ids they had. It
// returns the value to propose, or why there is none yet.
//
// The rule is that of Paxos, on a majority of the configured voters: a value
// that one of them has accepted, in the latest ballot, must be kept; else the
// proposer is free. But an acceptor that has lost its disk has forgotten what
// it promised and accepted, and must not count. It has a new member id, and it
// is found out by those that remember the old one: every acceptor keeps the
// first id that a proposal named each voter by. So a voter is counted only if
// nobody that promises has known it under another id.
//
// The founders are those that are counted. What follows is in doc.go.
func choose(cfg *Config, seats []Identity, promises []*Reply, found func(founders []Identity) *Value) (*Value, string) {
	lost := map[uint64]bool{}
	var counted []Identity
	var accepted *Reply
	for _, p := range promises {
		for _, remembered := range p.Seats {
			if id, ok := memberIn(seats, remembered.N); ok && id != remembered.MemberID {
				lost[remembered.N] = true
			}
		}
		if !p.Accepted.IsZero() && (accepted == nil || p.Accepted.Compare(accepted.Accepted) > 0) {
			accepted = p
		}
	}
	for _, p := range promises {
		if id, ok := memberIn(seats, p.From.N); ok && id == p.From.MemberID && !lost[p.From.N] {
			counted = append(counted, p.From)
		}
	}
	if len(counted) < cfg.majority() {
		if len(lost) > 0 {
			return nil, lostDisks(lost, cfg)
		}
		return nil, fmt.Sprintf("%d of %d voters have promised, a majority is %d", len(counted), len(cfg.voters()), cfg.majority())
	}
	if accepted != nil {
		return accepted.Value, ""
	}
	slices.SortFunc(counted, func(a, b Identity) int { return compare(a.N, b.N) })
	return found(counted), ""
}

func lostDisks(lost map[uint64]bool, cfg *Config) string {
	var names []string
	for _, s := range cfg.voters() {
		if lost[s.N] {
			names = append(names, fmt.Sprintf("server.%d", s.N))
		}
	}
	return fmt.Sprintf("%s took part in founding the ensemble under another member id and has lost its disk since, or there are two processes of that name; the others are too few to tell whether an ensemble was founded with it. "+
		"Start the servers that are missing: if one of them has the ensemble, the others join it. If none has any data, stop all, empty all data directories, and start again", strings.Join(names, ", "))
}
